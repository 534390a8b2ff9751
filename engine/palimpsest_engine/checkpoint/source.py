"""Choose where the tensors of a checkpoint come from, by what its config says of its files. Knows no format itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest_engine.checkpoint.header import Shapes, floats_in, for_pictures, has_mixture
from palimpsest_engine.checkpoint.locate import locate, read_json, weight_files
from palimpsest_engine.checkpoint.memory import Fill, fill_of, is_behind
from palimpsest_engine.checkpoint.quantised_layout import Layout, layout_of
from palimpsest_engine.checkpoint.quantization_config import scheme_in
from palimpsest_engine.checkpoint.spec import Spec
from palimpsest_engine.engine import EngineSettings

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint.weights import Source


def is_quantised(folder: Path) -> bool:
    """Return whether the files of a checkpoint are quantised. Raises UnsupportedCheckpoint if in a way that is not loaded."""
    return scheme_in(read_json(folder / "config.json"), folder) is not None


def shapes_in(folder: Path) -> Shapes:
    """Return the shapes of all tensors of a checkpoint by the names of the class; nothing but headers is read."""
    layout = layout_in(folder)
    return floats_in(weight_files(folder)) if layout is None else layout.shapes


def shapes_of(settings: EngineSettings) -> Shapes:
    """Return the shapes of all tensors of the checkpoint that the settings choose."""
    return shapes_in(locate(settings.checkpoint))


def fill_in(folder: Path, shapes: Shapes, dtype: str, spec: Spec) -> Fill | None:
    """Return what a fill takes beside the weights of a mixture; None for a model without one, which takes little."""
    if not has_mixture(shapes):
        return None
    return fill_of(shapes, read_json(folder / "config.json"), dtype, max(spec.canvas, sum(spec.hole_sizes)))


def mixture(settings: EngineSettings, dtype: str) -> tuple[Shapes, Fill] | None:
    """Return (shapes, what a fill takes) of the checkpoint that the settings choose, if it is a mixture of experts."""
    from palimpsest_engine.checkpoint.description import read_spec

    folder = locate(settings.checkpoint)
    shapes = shapes_in(folder) if folder.is_dir() else {}
    fill = fill_in(folder, shapes, dtype, read_spec(folder)) if has_mixture(shapes) else None
    return None if fill is None else (shapes, fill)


def source_in(folder: Path, layers: int | None = None) -> Source:
    """Return the tensors of text of a checkpoint: of all layers, or of the first so many."""
    from palimpsest_engine.checkpoint.quantised_files import QuantisedFiles
    from palimpsest_engine.checkpoint.weights import Files

    layout = layout_in(folder)
    if layout is None:
        return Files(folder, weight_files(folder), lambda name: for_pictures(name) or is_behind(name, layers))
    names = [name for name in layout.shapes if not is_behind(name, layers)]
    return QuantisedFiles(folder, Files(folder, weight_files(folder)), layout, names)


def layout_in(folder: Path) -> Layout | None:
    """Return what the quantised files of a folder hold; None if its config does not say that they are quantised."""
    scheme = scheme_in(read_json(folder / "config.json"), folder)
    return None if scheme is None else layout_of(weight_files(folder), scheme, folder)

"""Open the parts of a diffusion checkpoint, whatever its files are: config, description, tokenizer, tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palimpsest_engine.checkpoint.chat_template import LARGEST, turns_by
from palimpsest_engine.checkpoint.description import read_spec
from palimpsest_engine.checkpoint.gguf.diffusion import GgufSource, open_gguf
from palimpsest_engine.checkpoint.gguf.tokenizer import read_tokenizer, tokenizer_in
from palimpsest_engine.checkpoint.header import Shapes, floats_in, for_pictures, has_mixture
from palimpsest_engine.checkpoint.locate import locate, read_json, weight_files
from palimpsest_engine.checkpoint.memory import Fill, fill_of, is_behind
from palimpsest_engine.checkpoint.quantised_layout import Layout, layout_of
from palimpsest_engine.checkpoint.quantization_config import scheme_in
from palimpsest_engine.checkpoint.spec import Spec, spec_of_chat
from palimpsest_engine.engine import EngineSettings, Quantization

if TYPE_CHECKING:
    from palimpsest_engine.checkpoint.weights import Source


def is_quantised(place: Path) -> bool:
    """Return whether the files of a checkpoint are quantised. Raises UnsupportedCheckpoint if in a way that is not loaded."""
    return place.is_file() or scheme_in(read_json(place / "config.json"), place) is not None


def coarsest_in(place: Path) -> Quantization:
    """Return the format of ours that is about as coarse as the coarsest weights in a checkpoint's files; "none" if all have
    sixteen bits or more."""
    if place.is_file():
        kinds = open_gguf(place).kinds - {"F32", "F16", "BF16"}
        return "none" if not kinds else "int8" if kinds == {"Q8_0"} else "int4"
    layout = layout_in(place)
    if layout is None:
        return "none"
    found = {each.kind for rows in layout.experts.values() for row in rows for each in row} - {"plain"}
    found |= {each.kind for each in layout.maps.values()}
    if found - {"int8", "fp8"}:
        return "int4"
    return "fp8" if "fp8" in found else "int8" if found else "none"


def files_of(place: Path) -> list[Path]:
    """Return the files of a checkpoint's weights."""
    return [place] if place.is_file() else weight_files(place)


def spec_in(place: Path, device: str = "cpu") -> Spec:
    """Return what a checkpoint says of itself, for a device. A GGUF file has the chat template, and no description."""
    if not place.is_file():
        return read_spec(place, device)
    file, spec = open_gguf(place), spec_of_chat(place.stem, device)
    template, tokens = file.field("tokenizer.chat_template", ""), file.field("tokenizer.ggml.tokens")
    if not isinstance(template, str) or not template or len(template) > LARGEST:
        return spec
    special = {f"{role}_token": f"<{role}>" for role in ("bos", "eos", "pad", "unk")}
    named = {"bos": "bos", "eos": "eos", "padding": "pad", "unknown": "unk"}
    for role, ours in named.items():
        number = file.field(f"tokenizer.ggml.{role}_token_id", -1)
        if type(number) is int and isinstance(tokens, list) and 0 <= number < len(tokens):
            special[f"{ours}_token"] = str(tokens[number])
    return replace(spec, chat=replace(spec.chat, turns=turns_by(template, spec.chat, special, f"in {place}")))


def tokenizer_of(place: Path) -> Any:
    """Return the tokenizer of a checkpoint."""
    return tokenizer_in(open_gguf(place)) if place.is_file() else read_tokenizer(place / "tokenizer.json")


def config_of(place: Path) -> Any:
    """Return the class's config of a checkpoint."""
    from transformers import DiffusionGemmaConfig

    if place.is_file():
        return DiffusionGemmaConfig.from_dict(open_gguf(place).config())
    return DiffusionGemmaConfig.from_pretrained(place, local_files_only=True)


def shapes_in(place: Path) -> Shapes:
    """Return the shapes of all tensors of a checkpoint by the names of the class; nothing but headers is read."""
    if place.is_file():
        file = open_gguf(place)
        return {name: file.shape(name) for name in file.names}
    layout = layout_in(place)
    return floats_in(weight_files(place)) if layout is None else layout.shapes


def fill_in(place: Path, shapes: Shapes, dtype: str, spec: Spec) -> Fill | None:
    """Return what a fill takes beside the weights of a mixture; None for a model without one, which takes little."""
    if not has_mixture(shapes):
        return None
    config = open_gguf(place).config() if place.is_file() else read_json(place / "config.json")
    return fill_of(shapes, config, dtype, max(spec.canvas, sum(spec.hole_sizes)))


def mixture(settings: EngineSettings, device: str, dtype: str) -> tuple[Shapes, Fill] | None:
    """Return (shapes, what a fill takes) of the checkpoint that the settings choose, if it is a mixture of experts."""
    from palimpsest_engine.checkpoint.load_causal import is_causal

    place = locate(settings.checkpoint)
    if is_causal(place) or not has_mixture(shapes := shapes_in(place)):
        return None
    fill = fill_in(place, shapes, dtype, spec_in(place, device))
    return None if fill is None else (shapes, fill)


def source_in(place: Path, layers: int | None = None) -> Source:
    """Return the tensors of text of a checkpoint: of all layers, or of the first so many."""
    from palimpsest_engine.checkpoint.quantised_files import QuantisedFiles
    from palimpsest_engine.checkpoint.weights import Files

    if place.is_file():
        file = open_gguf(place)
        return GgufSource(file, [name for name in file.names if not is_behind(name, layers)])
    layout = layout_in(place)
    if layout is None:
        return Files(place, weight_files(place), lambda name: for_pictures(name) or is_behind(name, layers))
    names = [name for name in layout.shapes if not is_behind(name, layers)]
    return QuantisedFiles(place, Files(place, weight_files(place)), layout, names)


def layout_in(folder: Path) -> Layout | None:
    """Return what the quantised files of a folder hold; None if its config does not say that they are quantised."""
    scheme = scheme_in(read_json(folder / "config.json"), folder)
    return None if scheme is None else layout_of(weight_files(folder), scheme, folder)

"""Keep what loading has made of a model's weights, in fewer bits, for the next start. Reads no weights, imports no torch.

A copy lies beside a model that was pulled. For files of the user's own it lies among the models, not in the user's folders.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from safetensors import SafetensorError

from palimpsest_engine.checkpoint import store
from palimpsest_engine.checkpoint.locate import tokenizer_files, weight_files
from palimpsest_engine.engine import Quantization

NOTE = "palimpsest-int8.json"  # in every copy, whatever its format
Rounding = dict[str, Any]


def eight_bits(exact: bool) -> Rounding:
    """Say how a left-to-right model is rounded for a CPU. exact: to eight bits, not to seven."""
    return {"format": "palimpsest-int8-1", "exact": exact}


def quantised(quantization: Quantization, dtype: str) -> Rounding:
    """Say how a mixture is quantised, and in which number format everything else is."""
    return {"format": "palimpsest-quantised-1", "quantization": quantization, "dtype": dtype}


def place_of(source: Path, kind: str = "int8") -> Path:
    """Return the folder for the copy of a GGUF file or a checkpoint folder, of a kind: `int8` or another quantization."""
    root = store.root().resolve()
    own = source.resolve()
    if own.is_relative_to(root):
        return own.with_name(f"{own.name}.{kind}") if own.is_file() else own / f".{kind}"
    return root / f".{kind}" / f"{own.name}-{hashlib.sha256(str(own).encode()).hexdigest()[:12]}"


def kept(source: Path, rounding: Rounding, kind: str = "int8") -> Path | None:
    """Return the folder of a copy of these very files, rounded so, if there is one."""
    folder = place_of(source, kind)
    try:
        same = json.loads((folder / NOTE).read_text("utf-8")) == identity(source, rounding)
    except (OSError, ValueError):
        return None
    return folder if same else None


def keep(source: Path, rounding: Rounding, write: Callable[[Path], None], kind: str = "int8") -> Path | None:
    """Write a copy where the next start finds it, whole or not at all; return its folder, or None where there is no place or
    the disk is full. write: writes the files into a folder that it is given."""
    folder = place_of(source, kind)
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        write(scratch)
        (scratch / NOTE).write_text(json.dumps(identity(source, rounding)), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    except (OSError, SafetensorError):
        return None
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def has_room(source: Path, size: float, kind: str = "int8") -> bool:
    """Return whether a copy of so many bytes leaves at least as many free on its disk, and 4 GiB."""
    there = place_of(source, kind)
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free > 2 * size + 2**32


def identity(source: Path, rounding: Rounding) -> dict[str, Any]:
    """Say which files these are, by sizes and times, and how they were rounded."""
    files = [source]
    if source.is_dir():
        files = [*weight_files(source), source / "config.json", *tokenizer_files(source)]
    facts = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files if path.exists()}
    return {**rounding, "files": facts}


def forget(source: Path) -> None:
    """Remove all copies of a model."""
    for kind in get_args(Quantization):
        shutil.rmtree(place_of(source, kind), ignore_errors=True)


def copies(source: Path) -> list[tuple[str, Path, int]]:
    """Return (kind, folder, bytes) of all copies of a model."""
    folders = {kind: place_of(source, kind) for kind in get_args(Quantization)}
    return [
        (kind, folder, sum(path.stat().st_size for path in folder.iterdir()))
        for kind, folder in folders.items()
        if (folder / NOTE).exists()
    ]

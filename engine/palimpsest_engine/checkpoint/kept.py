"""Find the copy of a model's weights in eight bits that an earlier start has made. Reads no weights, imports no torch.

It lies beside a model that was pulled. For files of the user's own it lies among the models, not in the user's folders.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint import store
from palimpsest_engine.checkpoint.locate import tokenizer_files, weight_files

NOTE = "palimpsest-int8.json"
FORMAT = "palimpsest-int8-1"


def place_of(source: Path) -> Path:
    """Return the folder for the copy of a GGUF file or a checkpoint folder."""
    root = store.root().resolve()
    own = source.resolve()
    if own.is_relative_to(root):
        return own.with_name(own.name + ".int8") if own.is_file() else own / ".int8"
    return root / ".int8" / f"{own.name}-{hashlib.sha256(str(own).encode()).hexdigest()[:12]}"


def kept(source: Path, exact: bool) -> Path | None:
    """Return the folder of a copy of these very files, if there is one. exact: as in `identity`."""
    folder = place_of(source)
    try:
        same = json.loads((folder / NOTE).read_text("utf-8")) == identity(source, exact)
    except (OSError, ValueError):
        return None
    return folder if same else None


def identity(source: Path, exact: bool) -> dict[str, Any]:
    """Say which files these are, by sizes and times, and how they were rounded. exact: to eight bits, not to seven."""
    files = [source]
    if source.is_dir():
        files = [*weight_files(source), source / "config.json", *tokenizer_files(source)]
    facts = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in files if path.exists()}
    return {"format": FORMAT, "exact": exact, "files": facts}


def forget(source: Path) -> None:
    """Remove the copy of a model."""
    shutil.rmtree(place_of(source), ignore_errors=True)

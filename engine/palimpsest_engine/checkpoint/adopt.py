"""Add the user's own checkpoint to the store: check it cheaply, identify it, record where it is. Copies nothing."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from palimpsest_engine.checkpoint import catalogue, store
from palimpsest_engine.checkpoint.header import digest, read_header
from palimpsest_engine.checkpoint.locate import PICKLES, read_json, refuse_pipes, runs_code, weight_files
from palimpsest_engine.checkpoint.published import found_in
from palimpsest_engine.errors import CheckpointBroken, CheckpointMissing, DataError, UnsupportedCheckpoint

_GGUF, _VERSIONS = b"GGUF", (2, 3)


def add(path: Path, name: str | None = None) -> store.Installed:
    """Record a checkpoint folder or a GGUF file under a name, by default its own; return the model.

    A file of a size that the catalogue knows is hashed. If it is that model, it also has its name and licence.
    Raises CheckpointError, and DataError for a name that is taken or cannot be one.
    """
    path = path.expanduser().absolute()
    if path.is_dir():
        files, load, known = _folder(path), None, None
    elif path.is_file():
        check_gguf(path)
        known = _known(path)
        sha256 = known.files[0].sha256 if known else None
        files, load = (store.StoredFile(path.name, path.stat().st_size, sha256),), path.name
    else:
        raise CheckpointMissing(f"There is no file or folder {path}.")
    name = name or (known.name if known else _name_from(path))
    folder = store.folder_of(name)
    if catalogue.entry(name) and (known is None or known.name != name):
        raise DataError(
            f"{name} is the name of a model in the catalogue, and {path} is not that model; choose another one."
        )
    if name in store.names():
        raise DataError(f"There is a model {name} already; choose another name, or remove it first.")
    licence = known.licence if known else None
    store.write_record(folder, store.Record(name, "added", str(path), None, files, load, licence))
    model = store.find(name)
    assert model is not None
    return model


def check_gguf(path: Path) -> None:
    """Check the first bytes of a file. Raises UnsupportedCheckpoint, and CheckpointBroken if it is cut short."""
    with path.open("rb") as file:
        start = file.read(24)
    if start[:4] != _GGUF:
        if path.suffix in PICKLES or start[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
            raise UnsupportedCheckpoint(
                f"{path} is a pickle; only safetensors and GGUF are loaded, as a pickle can run code."
            )
        if path.suffix == ".safetensors":
            raise UnsupportedCheckpoint(
                f"{path} is only a part of a checkpoint; add its folder, which has config.json."
            )
        raise UnsupportedCheckpoint(f"{path} is not a GGUF file.")
    if len(start) < 24:
        raise CheckpointBroken(f"{path} is truncated ({len(start)} bytes).")
    version = struct.unpack("<I", start[4:8])[0]
    if version not in _VERSIONS:
        raise UnsupportedCheckpoint(f"{path} is GGUF of version {version}; versions 2 and 3 are known.")


def _folder(path: Path) -> tuple[store.StoredFile, ...]:
    """Check a checkpoint folder: its config, and the headers of its weights."""
    refuse_pipes(path)
    config = read_json(path / "config.json")
    if (model := found_in(path)) is not None:
        model.stock()  # the code that it names is not run
    elif runs_code(config):
        raise UnsupportedCheckpoint(
            f"{path} wants to run code of its own (auto_map in config.json); that is never done."
        )
    weights = weight_files(path)
    for each in weights:
        read_header(each)
    found = [path / "config.json", *weights]
    return tuple(store.StoredFile(each.relative_to(path).as_posix(), each.stat().st_size) for each in found)


def _known(path: Path) -> catalogue.Entry | None:
    """Return the model of the catalogue that a file is, byte for byte."""
    size = path.stat().st_size
    alike = [each for each in catalogue.entries() if len(each.files) == 1 and each.files[0].size == size]
    sha256 = digest(path) if alike else ""
    return next((each for each in alike if each.files[0].sha256 == sha256), None)


def _name_from(path: Path) -> str:
    stem = path.name if path.is_dir() else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100] or "model"

"""The models on this machine: one folder each, with a record of its files. Knows nothing of weights or networks.

`PALIMPSEST_MODELS` names the folder of them all; without it, it is in the user's data. A model that was pulled lies in its
folder. Of one that was added, only the record does, with the path of the user's own file or folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from palimpsest_engine.errors import CheckpointBroken, CheckpointMissing, DataError
from palimpsest_engine.replacing import replace

EMBEDDED_NAME = "embedded"  # the checkpoint that comes with the package, as a name to choose
RECORD, CHOSEN, PART = "model.json", "chosen.json", ".part"
_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Kind = Literal["hub", "packages", "added"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a model. sha256 is None if nobody has computed it."""

    name: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a model on this machine.

    source: the hub's repository, or the packages, or the path that was added. load: the file to load; None loads the folder.
    """

    name: str
    kind: Kind
    source: str
    revision: str | None
    files: tuple[StoredFile, ...]
    load: str | None = None
    licence: str | None = None

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class Installed:
    """A model on this machine. path: the file or the folder to load."""

    name: str
    path: Path
    record: Record

    @property
    def problem(self) -> str:
        """Return a sentence about files that are gone or have another size, or an empty string."""
        folder = self.path.parent if self.record.load else self.path
        for file in self.record.files:
            where = folder / file.name
            if not where.is_file():
                return f"{where} is gone."
            if where.stat().st_size != file.size:
                return f"{where} has {where.stat().st_size} bytes, not the {file.size} of its record."
        return ""


def root() -> Path:
    """Return the folder of all models. It may not exist yet. Raises DataError for one that depends on the working folder."""
    if chosen := os.environ.get("PALIMPSEST_MODELS"):
        if not os.path.isabs(folder := os.path.expanduser(chosen)):
            raise DataError(f"PALIMPSEST_MODELS has to be an absolute path, not {chosen}.")
        return Path(folder)
    from platformdirs import user_data_path

    return user_data_path("palimpsest", appauthor=False) / "models"


def folder_of(name: str) -> Path:
    """Return the folder of a model. Raises DataError for a name that is none."""
    if not _NAME.fullmatch(name) or name.endswith(PART) or name in (EMBEDDED_NAME, CHOSEN):
        raise DataError(f"{name!r} cannot be a model's name: use letters, digits, dots, hyphens and underscores.")
    return root() / name


def find(name: str) -> Installed | None:
    """Return the model of that name. Raises CheckpointBroken if its record is damaged."""
    if not _NAME.fullmatch(name) or name.endswith(PART) or name == EMBEDDED_NAME:
        return None
    path = root() / name / RECORD
    try:
        data = _read(path)
        files = tuple(StoredFile(**file) for file in data.pop("files"))
        record = Record(**data, files=files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError):
        raise CheckpointBroken(f"{path} is damaged; `palimpsest models remove {name}` removes it.") from None
    where = Path(record.source) if record.kind == "added" else path.parent / (record.load or "")
    return Installed(name, where, record)


def names() -> list[str]:
    """Return the names of all models, also of those whose record is damaged."""
    return sorted(path.parent.name for path in root().glob(f"*/{RECORD}") if not path.parent.name.endswith(PART))


def installed() -> list[Installed]:
    """Return all models whose record can be read, by name."""
    found = []
    for name in names():
        try:
            model = find(name)
        except CheckpointBroken:
            continue
        if model is not None:
            found.append(model)
    return found


def write_record(folder: Path, record: Record) -> None:
    """Write the record of a model into its folder, atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / RECORD, {"format": _FORMAT, **asdict(record)})


def remove(name: str) -> int:
    """Remove a model, and what an unfinished download left of it; return the bytes that are free now.

    Files of a model that was added stay. If it was the chosen one, none is. Raises CheckpointMissing.
    """
    folders = [each for each in (folder_of(name), part_of(name)) if each.is_dir()]
    if not folders:
        raise CheckpointMissing(
            f"There is no model {name} on this machine; `palimpsest models list` shows those there are."
        )
    freed = sum(path.stat().st_size for each in folders for path in each.rglob("*") if path.is_file())
    if chosen() == name:
        choose(None)
    for each in folders:
        shutil.rmtree(each)
    return freed


def part_of(name: str) -> Path:
    """Return the folder of an unfinished download."""
    return folder_of(name).with_name(name + PART)


def chosen() -> str | None:
    """Return the name of the model that the user has chosen; None is the embedded one. Raises CheckpointBroken."""
    path = root() / CHOSEN
    try:
        name = _read(path)["name"]
        if name is not None and not isinstance(name, str):
            raise ValueError(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError):
        raise CheckpointBroken(f"{path} is damaged; `palimpsest models use NAME` writes it anew.") from None
    return name


def choose(name: str | None) -> None:
    """Write down the user's choice, atomically; None is the embedded one."""
    root().mkdir(parents=True, exist_ok=True)
    _write(root() / CHOSEN, {"format": _FORMAT, "name": name})


def _read(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text("utf-8"))
    if not isinstance(value, dict) or value.pop("format", None) != _FORMAT:
        raise ValueError(path)
    return value


def _write(path: Path, value: Mapping[str, Any]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

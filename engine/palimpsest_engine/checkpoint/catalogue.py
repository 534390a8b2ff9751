"""The models that can be fetched by name, read from `catalogue.toml`. Knows neither this machine nor any network."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

UNKNOWN = "not known here"
NOT_PINNED = "not pinned: not known here"
NOT_MEASURED = "not measured here"
NEVER_RUN = "never run with its real weights here"  # among the abilities
_DATA = Path(__file__).with_name("catalogue.toml")


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model. size and sha256 are None if they are not known; packages carry the same bytes, in parts."""

    name: str
    size: int | None = None
    sha256: str | None = None
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the catalogue.

    files: the files to fetch, or empty for a whole checkpoint folder. fills: whether this version of Palimpsest fills
    holes with it. ram, vram: the bytes that it needs in main memory, or on a GPU; vram_int8, vram_int4: on a GPU with the
    setting quantization. quality: measured by this project, and quality_of says how.
    """

    name: str
    title: str
    repository: str
    revision: str | None = None
    files: tuple[File, ...] = ()
    licence: str | None = None
    restriction: str = ""
    abilities: tuple[str, ...] = ()
    family: str = ""
    fills: bool = False
    ram: int | None = None
    vram: int | None = None
    vram_int8: int | None = None
    vram_int4: int | None = None
    quality: str = NOT_MEASURED
    quality_of: str = ""

    @property
    def pinned(self) -> bool:
        """Return whether revision, names and hashes of all files are known without asking the hub."""
        return bool(self.revision and self.files and all(file.sha256 and file.size for file in self.files))

    @property
    def size(self) -> int | None:
        """Return the bytes to fetch, None if they are not known."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if self.files and len(sizes) == len(self.files) else None


@cache
def entries() -> tuple[Entry, ...]:
    """Return all models of the catalogue, in its order."""
    return parse(_DATA.read_text("utf-8"))


def entry(name: str) -> Entry | None:
    """Return the model of that name."""
    return next((each for each in entries() if each.name == name), None)


def parse(text: str) -> tuple[Entry, ...]:
    """Parse a catalogue. A key that no field has is a TypeError: the file comes with the program."""
    return tuple(_entry(**table) for table in tomllib.loads(text)["model"])


def _entry(*, file: list[dict[str, Any]] | None = None, **fields: Any) -> Entry:
    files = tuple(File(**{**each, "packages": tuple(each.get("packages", ()))}) for each in file or ())
    fields["abilities"] = tuple(fields.get("abilities", ()))
    needs = {key: round(fields.pop(key) * 1e9) for key in ("ram", "vram", "vram_int8", "vram_int4") if key in fields}
    return Entry(**fields, files=files, **needs)


def size_text(size: int | None) -> str:
    """Write a size as download pages do, in powers of ten."""
    if size is None:
        return UNKNOWN
    for unit, of in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= of:
            return f"{size / of:.1f} {unit}" if size < 10 * of else f"{size / of:.0f} {unit}"
    return f"{size} bytes"

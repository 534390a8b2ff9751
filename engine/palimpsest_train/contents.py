"""Open a fetched package: its source files, its licence and its licence texts; judges no code and writes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from palimpsest_engine.syntax.grammars import language_of
from palimpsest_train.archives import read_members
from palimpsest_train.licences import DebianCopyright, Licence, Rules, of_npm_manifest, of_python_metadata, of_text
from palimpsest_train.packages import Group
from palimpsest_train.sources import Fetched

METADATA = {
    "pypi": re.compile(r"PKG-INFO|[^/]+\.dist-info/METADATA"),
    "npm": re.compile(r"package\.json"),
    "debian": re.compile(r"debian/copyright"),
}
LICENCE_FILE = re.compile(
    r"^([^/]+\.dist-info/(licen[cs]es/)?)?(licen[cs]es?|copying|unlicense|notice)([.-][^/]*)?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Contents:
    """The source files of a package by path, and its licence texts by path. refused: files whose own licence is not
    accepted although the package's is."""

    licence: Licence
    files: dict[str, bytes]
    texts: dict[str, str]
    refused: int = 0


def open_package(fetched: Fetched, group: Group, rules: Rules) -> Contents:
    """Read a package's archives. Raises CorpusError if one is broken."""
    metadata = METADATA[group.registry]
    members: dict[str, bytes] = {}
    for archive in fetched.archives:
        members |= read_members(
            archive,
            lambda path: bool(
                metadata.fullmatch(path) or LICENCE_FILE.match(path) or language_of(path, None) in group.languages
            ),
        )
    files = {n: data for n, data in members.items() if not metadata.fullmatch(n) and not LICENCE_FILE.match(n)}
    texts = {n: data.decode("utf-8", "replace") for n, data in members.items() if LICENCE_FILE.match(n)}
    stated = next((data.decode("utf-8", "replace") for n, data in members.items() if metadata.fullmatch(n)), "")
    if group.registry == "debian":
        return _of_debian(files, texts, stated, rules)
    licence = (of_npm_manifest if group.registry == "npm" else of_python_metadata)(stated, rules)
    return Contents(licence if licence.read_from else _of_texts(texts), files, texts)


def _of_texts(texts: dict[str, str]) -> Licence:
    """Return what the package's licence text is where the metadata says nothing, if there is one and it is common."""
    texts = {name: text for name, text in texts.items() if "notice" not in name.lower()}
    known = {of_text(text) for text in texts.values()}
    return Licence(known.pop(), min(texts)) if len(known) == 1 else Licence("", "")


def _of_debian(files: dict[str, bytes], texts: dict[str, str], stated: str, rules: Rules) -> Contents:
    """Judge each file by its own licence; the package's expression joins those of the files that may be used."""
    files = {name: data for name, data in files.items() if not name.startswith("debian/")}
    spdx_of = DebianCopyright(stated, rules).spdx
    licences = {name: spdx_of(name) for name in files}
    kept = {name: data for name, data in files.items() if rules.accepts(licences[name])}
    terms = sorted({f"({s})" if " OR " in s else s for s in (licences[name] for name in kept)})
    if not kept:  # say what stands in the way
        terms = sorted(set(licences.values()) - {""})
    licence = Licence(" AND ".join(terms), "debian/copyright" if stated else "")
    return Contents(licence, kept, {"debian/copyright": stated, **texts}, len(files) - len(kept))

"""Builds the corpus: permissively licensed code from named packages, filtered, each file once. Knows no tokens.

The corpus is never committed; `python -m palimpsest_train corpus` rebuilds it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TextIO

from palimpsest_engine.grammars import language_of
from palimpsest_train.archives import read_members
from palimpsest_train.decontaminate import BENCHMARK_PATH, Benchmarks
from palimpsest_train.duplicates import Duplicates
from palimpsest_train.filters import path_fault, text_fault
from palimpsest_train.grams import Words
from palimpsest_train.licences import Licence, of_python_metadata, of_text
from palimpsest_train.packages import Group, Plan
from palimpsest_train.sources import Fetched, fetch_wheels

LIBRARY = re.compile(r"(site-packages|lib2to3|idlelib/idle_test|test/|.*encodings/|ensurepip|__phello__)")
METADATA = re.compile(r"PKG-INFO|[^/]+\.dist-info/METADATA")
LICENCE_FILE = re.compile(
    r"^([^/]+\.dist-info/(licen[cs]es/)?)?(licen[cs]e|copying|unlicense)([.-][^/]*)?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Source:
    """One package of the corpus: where it came from, under which licence, and what was taken."""

    name: str
    version: str
    sha256: str
    spdx: str
    spdx_read_from: str
    group: str
    split: str
    files: int
    characters: int


@dataclass(slots=True)
class Report:
    """The manifest: sources, packages that were left out and why, and files that were dropped, by group and rule."""

    sources: list[Source] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    contaminated: list[dict[str, str]] = field(default_factory=list)
    benchmarks: list[dict[str, str]] = field(default_factory=list)


def in_any_order(names: Iterable[str]) -> list[str]:
    """The names in an order that is fixed but says nothing, so that a capped package is a fair sample of itself."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())


class Builder:
    """Takes files one package after the other; remembers what it took, so that nothing is taken twice."""

    def __init__(self, plan: Plan, benchmarks: Iterable[Path]) -> None:
        self.plan = plan
        self.report = Report()
        self._words = Words()
        self._benchmarks = Benchmarks(benchmarks := list(benchmarks), self._words)
        self._duplicates = Duplicates()
        for path in benchmarks:
            sha = hashlib.sha256(path.read_bytes()).hexdigest()
            self.report.benchmarks.append({"name": path.name, "sha256": sha})

    def take_archive(self, out: TextIO, fetched: Fetched, group: Group, split: str) -> None:
        """Take the files of one fetched package, if its licence allows it."""
        members = read_members(
            fetched.archive, lambda path: is_metadata(path) or language_of(path, None) in group.languages
        )
        licence = licence_of(members, self.plan)
        if not self.plan.rules.accepts(licence.spdx):
            reason = f"licence: {licence.spdx}" if licence.spdx else "licence unclear"
            self.report.left_out.append({"name": fetched.name, "version": fetched.version, "reason": reason})
            return
        names = in_any_order(name for name in members if not is_metadata(name))
        files = ((name, members[name]) for name in names)
        self.take(out, Source(fetched.name, fetched.version, fetched.sha256, licence.spdx, licence.read_from,
                              group.name, split, 0, 0), group, files)  # fmt: skip

    def take(self, out: TextIO, source: Source, group: Group, files: Iterable[tuple[str, bytes]]) -> None:
        """Take the files that nothing speaks against, until the package's share is used up."""
        dropped = Counter(self.report.dropped.get(source.group))
        count = characters = 0
        for path, data in files:
            if characters >= group.most_of_one:
                dropped["package's share used up"] += 1
                continue
            text, fault = self._text(source.name, path, data)
            if fault:
                dropped[fault] += 1
                continue
            row = {"package": source.name, "path": path, "group": group.name, "text": text}
            out.write(json.dumps(row) + "\n")
            count, characters = count + 1, characters + len(text)
        self.report.dropped[source.group] = dict(dropped)
        values = asdict(source) | {"files": count, "characters": characters}
        self.report.sources.append(Source(**values))

    def _text(self, package: str, path: str, data: bytes) -> tuple[str, str | None]:
        if fault := path_fault(path):
            return "", fault
        if BENCHMARK_PATH.search(path):
            self.report.contaminated.append({"package": package, "path": path, "shares": "its path"})
            return "", "benchmark"
        try:
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            return "", "not UTF-8"
        if fault := text_fault(text, language_of(path, None) or ""):
            return "", fault
        hashes = self._words.hashes(text)
        if hit := self._benchmarks.hit(text, hashes):
            self.report.contaminated.append({"package": package, "path": path, "shares": hit.words})
            return "", "benchmark"
        return text, self._duplicates.fault(text, hashes)


def is_metadata(path: str) -> bool:
    """The member that names a Python package's licence, or holds the licence's text."""
    return METADATA.fullmatch(path) is not None or LICENCE_FILE.search(path) is not None


def licence_of(members: dict[str, bytes], plan: Plan) -> Licence:
    """The licence that the package's own metadata names; if it names none, what its single licence text is."""
    metadata = next((data for name, data in members.items() if METADATA.fullmatch(name)), b"")
    licence = of_python_metadata(metadata.decode("utf-8", "replace"), plan.rules)
    if licence.read_from:
        return licence
    texts = {name: data for name, data in members.items() if LICENCE_FILE.search(name)}
    known = {of_text(data.decode("utf-8", "replace")) for data in texts.values()}
    return Licence(known.pop(), min(texts)) if len(known) == 1 else Licence("", "")


def library_files() -> Iterator[tuple[str, bytes]]:
    """(path inside, bytes) of each Python file of the running interpreter's standard library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for name in in_any_order(path.relative_to(root).as_posix() for path in root.rglob("*.py")):
        if not LIBRARY.match(name):
            yield name, (root / name).read_bytes()


def build(folder: Path, plan: Plan, benchmarks: Iterable[Path] = ()) -> Report:
    """Write `train.jsonl`, `held_out.jsonl` and `manifest.json` under folder; return the manifest.

    A row is `{"package", "path", "group", "text"}`. The held-out packages are read first, so that no file of theirs is in
    the training split, not even nearly. Raises CorpusError with nothing replaced and all that was fetched kept.
    """
    groups = [group for group in plan.groups if group.default]
    fetch = fetch_wheels([name for group in groups for name in (*group.held_out, *group.packages)], folder / "wheels")
    builder = Builder(plan, benchmarks)
    for name, reason in fetch.missing.items():
        builder.report.left_out.append({"name": name, "version": "", "reason": reason})
    for split in ("held_out", "train"):
        with (folder / f"{split}.jsonl.part").open("w", encoding="utf-8") as out:
            for group in groups:
                for name in sorted(group.held_out if split == "held_out" else group.packages):
                    if name in fetch.packages:
                        builder.take_archive(out, fetch.packages[name], group, split)
            if split == "train" and (python := plan.group("python")):
                library = Source("cpython", platform.python_version(), "", "PSF-2.0", "LICENSE", "python", split, 0, 0)
                builder.take(out, library, python, library_files())
    for split in ("held_out", "train"):
        (folder / f"{split}.jsonl.part").replace(folder / f"{split}.jsonl")
    (folder / "manifest.json").write_text(json.dumps(asdict(builder.report), indent=1) + "\n", "utf-8")
    return builder.report

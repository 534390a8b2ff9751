"""Build the corpus: permissively licensed code from named packages, filtered, each file once. Knows no tokens.

The corpus is never committed; `python -m palimpsest_train corpus` rebuilds it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TextIO

from palimpsest_engine.checkpoint.header import digest
from palimpsest_engine.syntax.grammars import language_of
from palimpsest_train.attribution import Attribution
from palimpsest_train.contents import open_package
from palimpsest_train.decontaminate import BENCHMARK_PATH, Benchmarks
from palimpsest_train.duplicates import Duplicates
from palimpsest_train.errors import CorpusError
from palimpsest_train.filters import path_fault, text_fault
from palimpsest_train.grams import Words
from palimpsest_train.packages import Group, Plan
from palimpsest_train.sources import Fetch, Fetched, fetch

LIBRARY = re.compile(r"(site-packages|lib2to3|idlelib/idle_test|test/|.*encodings/|ensurepip|__phello__)")


@dataclass(frozen=True, slots=True)
class Source:
    """One package of the corpus: where it came from, under which licence, and what was taken. archives: SHA-256 by name."""

    name: str
    version: str
    archives: dict[str, str]
    spdx: str
    spdx_read_from: str
    group: str
    split: str
    files: int = 0
    characters: int = 0


@dataclass(slots=True)
class Report:
    """The manifest: sources, packages that were left out and why, files that were dropped by group and rule, files that
    share text with a benchmark, and those benchmarks."""

    sources: list[Source] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    dropped: dict[str, dict[str, int]] = field(default_factory=dict)
    contaminated: list[dict[str, str]] = field(default_factory=list)
    benchmarks: list[dict[str, str]] = field(default_factory=list)

    def leave_out(self, name: str, version: str, group: str, reason: str) -> None:
        """Note that nothing is taken of a package."""
        self.left_out.append({"name": name, "version": version, "group": group, "reason": reason})


class Builder:
    """Takes files one package after the other; remembers what it took, so that nothing is taken twice."""

    def __init__(self, plan: Plan, benchmarks: Iterable[Path], attribution: Attribution) -> None:
        self.plan, self.attribution, self.report = plan, attribution, Report()
        self._words = Words()
        self._benchmarks = Benchmarks(benchmarks := list(benchmarks), self._words)
        self._duplicates = Duplicates()
        for path in benchmarks:
            self.report.benchmarks.append({"name": path.name, "sha256": digest(path)})

    def take_package(self, out: TextIO, fetched: Fetched, group: Group, split: str) -> None:
        """Take the files of one fetched package, if its licence and the group's share allow it."""
        contents = open_package(fetched, group, self.plan.rules)
        spdx = contents.licence.spdx
        if not self.plan.rules.accepts(spdx):
            reason = f"its licence is {spdx}" if spdx else "its licence is unclear"
            self.report.leave_out(fetched.name, fetched.version, group.name, reason)
            return
        self._drop(group.name, {"file's own licence": contents.refused})
        source = Source(
            fetched.name, fetched.version, fetched.sha256(), spdx, contents.licence.read_from, group.name, split
        )
        files = ((name, contents.files[name]) for name in in_any_order(contents.files))
        self.take(out, source, group, files, contents.texts)

    def take(
        self,
        out: TextIO,
        source: Source,
        group: Group,
        files: Iterable[tuple[str, bytes]],
        texts: Mapping[str, str],
    ) -> None:
        """Take the files that nothing speaks against, until the package's share, or the group's, is used up."""
        taken = sum(s.characters for s in self.report.sources if (s.group, s.split) == (group.name, source.split))
        share = min(group.most_of_one, group.characters - taken if group.characters else group.most_of_one)
        count = characters = 0
        dropped: Counter[str] = Counter()
        for path, data in files:
            text, fault = self._text(source.name, path, data) if characters < share else ("", "share used up")
            if fault:
                dropped[fault] += 1
                continue
            row = {"package": source.name, "path": path, "group": group.name, "text": text}
            out.write(json.dumps(row) + "\n")
            count, characters = count + 1, characters + len(text)
        self._drop(group.name, dropped)
        self.report.sources.append(replace(source, files=count, characters=characters))
        if count:
            self.attribution.add(source.name, source.version, source.spdx, texts)

    def _drop(self, group: str, counts: Mapping[str, int]) -> None:
        counter = Counter(self.report.dropped.get(group, {}))
        counter.update({fault: n for fault, n in counts.items() if n})
        self.report.dropped[group] = dict(sorted(counter.items()))

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
        if shared := self._benchmarks.shared(text, hashes):
            self.report.contaminated.append({"package": package, "path": path, "shares": shared})
            return "", "benchmark"
        return text, self._duplicates.fault(text, hashes)


def in_any_order(names: Iterable[str]) -> list[str]:
    """Return the names in an order that is fixed but says nothing, so that a capped package is a fair sample of itself."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode("utf-8", "replace")).digest())


def library_files() -> Iterator[tuple[str, bytes]]:
    """Yield (path inside, bytes) of each Python file of the running interpreter's standard library."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for name in in_any_order(path.relative_to(root).as_posix() for path in root.rglob("*.py")):
        if not LIBRARY.match(name):
            yield name, (root / name).read_bytes()


def take_library(builder: Builder, out: TextIO, group: Group) -> None:
    """Take the standard library of the running interpreter."""
    licence = Path(sysconfig.get_paths()["stdlib"]) / "LICENSE.txt"
    texts = {"LICENSE.txt": licence.read_text("utf-8", "replace")} if licence.is_file() else {}
    source = Source("cpython", platform.python_version(), {}, "PSF-2.0", "LICENSE.txt", group.name, "train")
    builder.take(out, source, group, library_files(), texts)


def fetch_groups(groups: Iterable[Group], folder: Path, versions: Mapping[str, Mapping[str, str]]) -> dict[str, Fetch]:
    """Fetch every group's packages; one that is not available is left out; a held-out one of a default group is an error."""
    found: dict[str, Fetch] = {}
    for group in groups:
        names = (*group.held_out, *group.packages)
        found[group.name] = fetch(group.registry, names, folder, versions.get(group.name))
        lost = [name for name in group.held_out if name in found[group.name].missing]
        if lost and group.default:
            raise CorpusError(
                f"the held-out package {lost[0]} cannot be fetched, and without it nothing can be compared"
            )
    return found


def build(
    folder: Path,
    plan: Plan,
    benchmarks: Iterable[Path] = (),
    versions: Mapping[str, Mapping[str, str]] | None = None,
    library: bool = True,
) -> Report:
    """Write the splits, `manifest.json` and `ATTRIBUTION.txt` under folder, of the plan's groups; return the manifest.

    The splits are `train.jsonl`, `held_out.jsonl` for groups of Python and `held_out.GROUP.jsonl` for each other one; a row
    is `{"package", "path", "group", "text"}`. Held-out packages are read first, so that no file of theirs is in the
    training split, not even nearly. versions: pins by group and package. library: take Python's own library, too.
    Raises CorpusError, or OSError, with every old file whole and all that was fetched kept.
    """
    fetched = fetch_groups(plan.groups, folder, versions or {})
    splits = {held_out_name(group): None for group in plan.groups} | {"train": None}
    parts = {split: folder / f"{split}.jsonl.part" for split in splits}
    try:
        with ExitStack() as stack:
            outs = {s: stack.enter_context(part.open("w", encoding="utf-8")) for s, part in parts.items()}
            attribution = stack.enter_context(Attribution(folder / "ATTRIBUTION.txt"))
            builder = Builder(plan, benchmarks, attribution)
            for held_out in (True, False):
                for group in plan.groups:
                    got = fetched[group.name]
                    split = held_out_name(group) if held_out else "train"
                    for name in sorted(group.held_out if held_out else group.packages):
                        if name in got.packages:
                            builder.take_package(outs[split], got.packages[name], group, split)
                        else:
                            builder.report.leave_out(name, "", group.name, got.missing.get(name, "not fetched"))
                    if library and not held_out and group.name == "python":
                        take_library(builder, outs[split], group)
        (folder / "manifest.json.part").write_text(json.dumps(asdict(builder.report), indent=1) + "\n", "utf-8")
    except BaseException:
        for part in [*parts.values(), folder / "manifest.json.part"]:
            part.unlink(missing_ok=True)
        raise
    for path in [*parts.values(), folder / "manifest.json.part"]:
        path.replace(path.with_suffix(""))
    return builder.report


def held_out_name(group: Group) -> str:
    """Return the split of a group's held-out packages: those of other languages are not mixed with Python's."""
    return "held_out" if "python" in group.languages else f"held_out.{group.name}"

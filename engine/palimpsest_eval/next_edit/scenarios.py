"""Read the scenarios of cursortab's evaluation, and its recorded replies, from a folder that the caller has.

A scenario is a txtar file: a header, and the sections `buffer.txt`, `history`, `steps` and `expected`. One without
`expected` is about silence; one with several positions of the cursor counts once for each. Nothing of it is part of this
project.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from palimpsest_engine.changes import Change, NextEditQuestion, OpenDocument
from palimpsest_engine.errors import DataError, DocumentMissing

_SECTION = re.compile(r"^-- (.+) --$", re.MULTILINE)
_MARKS = ("<|file|>", "<|old|>", "<|new|>")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A text with a cursor, and what is expected there.

    row: from 1 on. column: in bytes of UTF-8, from 0 on. history: (old, new), the oldest first. requests: how often it asks.
    expected: None where silence is. targets: for whom it is, none for everybody.
    """

    name: str
    language: str
    path: str
    row: int
    column: int
    lines: tuple[str, ...]
    history: tuple[tuple[str, str], ...]
    requests: int
    expected: tuple[str, ...] | None
    targets: tuple[str, ...]
    folder: Path

    def question(self, budget_ms: float) -> NextEditQuestion:
        """Return what an editor would ask there."""
        text = "".join(f"{line}\n" for line in self.lines)
        changes = tuple(self._change(text, old, new) for old, new in reversed(self.history))
        above, line = self.lines[: self.row - 1], self.lines[min(self.row, len(self.lines)) - 1] if self.lines else ""
        column = len(line.encode()[: self.column].decode("utf-8", "ignore"))
        cursor = min(len(text), sum(len(each) + 1 for each in above) + column)
        return NextEditQuestion(
            (OpenDocument(self.path, text, self.language, self.path),), changes, cursor, budget_ms=budget_ms
        )

    def _change(self, text: str, old: str, new: str) -> Change:
        before, after = (f"{each}\n" if each else "" for each in (old, new))
        found = re.search(rf"^{re.escape(after)}", text, re.MULTILINE) if after else None
        return Change(self.path, found.start() if found else None, before, after)

    def replies(self, target: str) -> list[tuple[bytes, bytes]]:
        """Return (request, reply) of each recorded exchange of a target, in order."""
        requests, replies = dict[int, bytes](), dict[int, bytes]()
        file = self.folder / f"{target}.ndjson"
        for line in file.read_text("utf-8").splitlines() if file.is_file() else ():
            row = json.loads(line)
            kept = {"request": requests, "response": replies}.get(row["kind"])
            if kept is not None:
                kept[row["interaction"]] = base64.b64decode(row.get("body_b64", ""))
        return [(requests.get(number, b""), replies[number]) for number in sorted(replies)]


def read(folder: Path) -> list[Scenario]:
    """Read all scenarios of a folder. Raises DocumentMissing or DataError."""
    files = sorted(folder.glob("*.txtar"))
    if not files:
        raise DocumentMissing(
            f"{folder} has no scenarios (*.txtar): name the folder server/eval/scenarios of cursortab.nvim"
        )
    return [scenario for file in files for scenario in _scenarios(file)]


def targets(folder: Path) -> list[str]:
    """Return the names of those whose replies were recorded."""
    return sorted({file.stem for file in folder.glob("*/*.ndjson")})


def _scenarios(file: Path) -> Iterator[Scenario]:
    comment, *parts = _SECTION.split(file.read_text("utf-8"))
    sections = {
        name: text.removeprefix("\n").removesuffix("\n") for name, text in zip(parts[::2], parts[1::2], strict=True)
    }
    header = {
        key.strip(): value.strip()
        for key, colon, value in (row.partition(":") for row in comment.splitlines())
        if colon
    }
    try:
        positions = [(int(header["row"]), int(header["col"]))]
        for each in filter(None, header.get("cursor-positions", "").split(",")):
            row, _, column = each.partition(":")
            positions.append((int(row), int(column)))
        expected = sections.get("expected")
        scenario = Scenario(
            header["id"],
            header["language"],
            header["file"],
            *positions[0],
            tuple(sections["buffer.txt"].split("\n")),
            tuple(_history(sections.get("history", ""))),
            len(re.findall(r"^request-completion", sections["steps"], re.MULTILINE)),
            None if expected is None else tuple(expected.split("\n")),
            tuple(each.strip() for each in header.get("targets", "").split(",") if each.strip()),
            file.with_suffix(""),
        )
    except (KeyError, ValueError) as error:
        raise DataError(f"{file} is not a scenario of cursortab's evaluation") from error
    for row_number, column_number in positions:
        yield replace(scenario, row=row_number, column=column_number)


def _history(text: str) -> Iterator[tuple[str, str]]:
    old, new, into = list[str](), list[str](), None
    seen = False
    for line in [*text.split("\n"), "<|file|>"]:
        if not line.startswith(_MARKS[0]) and line not in _MARKS:
            if into is not None:
                into.append(line)
        elif line.startswith(_MARKS[0]):
            if seen:
                yield "\n".join(old), "\n".join(new)
            seen, old, new, into = True, [], [], None
        else:
            into = old if line == "<|old|>" else new

"""Ask for each case, run the result, and count. Of models it knows the protocol `Engine` alone."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from palimpsest_engine import Engine
from palimpsest_eval.instruct.cases import Case
from palimpsest_eval.instruct.programs import Programs

_PROSE = re.compile(r"```|^\s*(Here is|Here's|Sure|Certainly|This code|The (code|function) )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Row:
    """The end of a case.

    offered: there was a replacement. right: the program passed, and the texts match. parses: the gate found nothing worse.
    surplus: changed lines beyond those of the reference, None if nothing was offered. untidy: it has a fence or prose in it,
    or repeats the line before or behind it. outside: the text around the selection is the same, byte for byte. reason: of
    nothing. ms: of the fill.
    """

    name: str
    language: str
    kind: str
    offered: bool
    right: bool
    parses: bool
    surplus: int | None
    untidy: bool
    outside: bool
    reason: str
    ms: float
    text: str

    def as_json(self) -> dict[str, Any]:
        """Return the row for a file of results."""
        return asdict(self)


def measured(cases: Iterable[Case], engine: Engine, programs: Programs) -> Iterator[Row]:
    """Yield a row for each case."""
    for case in cases:
        request = case.request()
        fill = engine.submit(request).future.result()
        text = "" if fill.empty else fill.texts[0]
        right = bool(text) and case.says(text) and programs.passes(case.language, case.program(text))
        surplus = (
            None if fill.empty else max(0, changed(case.selection, text) - changed(case.selection, case.reference))
        )
        parses = not fill.empty and fill.verdict.status != "worse"
        yield Row(
            case.name,
            case.language,
            case.kind,
            not fill.empty,
            right,
            parses,
            surplus,
            not fill.empty and untidy(case, text),
            fill.empty or request.splice(fill.texts) == case.before + text + case.after,
            fill.reason,
            fill.ms,
            text,
        )


def changed(old: str, new: str) -> int:
    """Return how many lines were removed or added."""
    lines = difflib.ndiff(old.splitlines(), new.splitlines())
    return sum(line.startswith(("- ", "+ ")) for line in lines)


def untidy(case: Case, text: str) -> bool:
    """Return whether a replacement has a fence or prose in it, or repeats what stands right before or behind it."""
    new = "".join(line for line in text.splitlines(keepends=True) if line.strip() not in case.selection)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    before = [line.strip() for line in case.before.splitlines() if line.strip()][-1:]
    after = [line.strip() for line in case.after.splitlines() if line.strip()][:1]
    own = {line.strip() for line in (case.selection + case.reference).splitlines()}
    repeats = (lines[:1] == before and not own & set(before)) or (lines[-1:] == after and not own & set(after))
    return _PROSE.search(new) is not None or bool(lines and repeats)

"""Make texts of recorded replies: of Mercury's, which rewrites a region, and of Copilot's, which has edits with ranges."""

from __future__ import annotations

import json
from collections.abc import Callable

from palimpsest_eval.next_edit.scenarios import Scenario

Lines = list[str]
Reader = Callable[[Scenario, bytes, bytes], Lines | None]

_REGION = ("<|code_to_edit|>\n", "<|/code_to_edit|>")
_CURSOR = "<|cursor|>"


def rewritten_region(scenario: Scenario, request: bytes, reply: bytes) -> Lines | None:
    """Return the lines with the region of the request replaced by the reply, or None if it leaves them as they are."""
    said = json.loads(reply)["choices"][0]["message"]["content"].removeprefix("```\n").removesuffix("\n```")
    asked = json.loads(request)["messages"][0]["content"]
    before, _, rest = asked.partition(_REGION[0])
    region = rest.partition(_REGION[1])[0].replace(_CURSOR, "").removesuffix("\n").split("\n")
    if said in ("", "None"):
        return None
    above = before.partition("<|current_file_content|>\n")[2].count("\n") - 1  # the first line is the path
    lines, written = list(scenario.lines), said.split("\n")
    below = lines[above + len(region) :]
    grown = len(written) - len(region)
    again = 0  # lines at the end of the reply that stand below the region already
    while again < grown and grown - 1 - again < len(below) and written[-1 - again] == below[grown - 1 - again]:
        again += 1
    written = written[: len(written) - again]
    return None if written == region else [*lines[:above], *written, *below]


def first_edit(scenario: Scenario, request: bytes, reply: bytes) -> Lines | None:
    """Return the lines with the first edit of the reply, or None if it has none or leaves them as they are."""
    edits = json.loads(reply)
    if not edits:
        return None
    start, end = (edits[0]["range"][each] for each in ("start", "end"))
    lines = list(scenario.lines)
    first, last = lines[start["line"]], lines[end["line"]] if end["line"] < len(lines) else ""
    text = _head(first, start["character"]) + edits[0]["text"] + last[len(_head(last, end["character"])) :]
    now = [*lines[: start["line"]], *text.split("\n"), *lines[end["line"] + 1 :]]
    return None if now == lines else now


def _head(line: str, units: int) -> str:
    """Return the beginning of a line that has so many units of UTF-16."""
    return line.encode("utf-16-le")[: 2 * units].decode("utf-16-le", "ignore")


READERS: dict[str, Reader] = {"mercuryapi": rewritten_region, "copilot": first_edit}

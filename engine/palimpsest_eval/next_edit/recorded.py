"""Make texts of recorded replies: those of Mercury and Zeta 2 rewrite a region, those of Copilot have edits with ranges."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from palimpsest_eval.next_edit.scenarios import Scenario

Lines = list[str]
Reader = Callable[[Scenario, bytes, bytes], Lines | None]

_CURSOR = re.compile(r"<\|(?:user_)?cursor\|>")


def mercury(scenario: Scenario, request: bytes, reply: bytes) -> Lines | None:
    """Return the lines with the region of the request replaced by the code of the reply, or None if nothing changes."""
    said = json.loads(reply)["choices"][0]["message"]["content"].removeprefix("```\n").removesuffix("\n```")
    asked = json.loads(request)["messages"][0]["content"].partition("<|current_file_content|>\n")[2]
    before, _, rest = asked.partition("<|code_to_edit|>\n")
    above = before.count("\n") - 1  # the first line is the path
    region = rest.partition("<|/code_to_edit|>")[0]
    return None if said in ("", "None") else _rewritten(scenario, above, region.removesuffix("\n"), said)


def zeta_2(scenario: Scenario, request: bytes, reply: bytes) -> Lines | None:
    """Return the lines with what is CURRENT in the request replaced by the reply, or None if nothing changes."""
    said = json.loads(reply)["choices"][0]["text"].partition(">>>>>>> UPDATED")[0]
    asked = json.loads(request)["prompt"].rpartition("<filename>")[2]
    before, _, rest = asked.partition("<<<<<<< CURRENT\n")
    region = rest.partition("\n=======\n")[0]
    if not said.strip() or said.strip().startswith("NO_EDITS"):
        return None
    return _rewritten(scenario, before.count("\n") - 1, region, said.removesuffix("\n"))


def _rewritten(scenario: Scenario, above: int, region: str, said: str) -> Lines | None:
    """Return the lines with a region under so many lines replaced, without what stands below it already."""
    old, written = (_CURSOR.sub("", each).split("\n") for each in (region, said))
    lines = list(scenario.lines)
    below = lines[above + len(old) :]
    grown = len(written) - len(old)
    again = 0  # lines at the end of the reply that stand below the region
    while again < grown and grown - 1 - again < len(below) and written[-1 - again] == below[grown - 1 - again]:
        again += 1
    now = [*lines[:above], *written[: len(written) - again], *below]
    return None if now == lines else now


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


READERS: dict[str, Reader] = {"mercuryapi": mercury, "zeta-2": zeta_2, "copilot": first_edit}

"""Find the end of a middle that a server is still writing, and make clean text of what came. Text only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from palimpsest_engine.decoding.middle import before_repetition, common, middle_of
from palimpsest_engine.prompt.dialects import DIALECTS, PREFIX_ONLY
from palimpsest_engine.request import FillRequest

FENCE = "```"  # an instruction-tuned model ends its code so and goes on with prose
_FOLLOWING = 400  # code points of the text after the hole to look for in the middle
_ENOUGH = 8  # letters and digits of the suffix, written again, that prove the middle ended before them
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_NO_TEXT = re.compile("[\ufffd\x00\ud800-\udfff]")
_CONTROLS = frozenset(
    control
    for each in (*DIALECTS, PREFIX_ONLY)
    for control in (*each.ends, *each.controls)
    if "|" in control or "｜" in control
)


@dataclass(frozen=True, slots=True)
class Ending:
    """The ways in which a middle ends. suffix: the text after the hole. lines: the most lines. fence: a fence ends it.
    skips: one line that is wanted on a blank line does not begin with a line end.
    """

    suffix: str
    lines: int | None
    fence: bool
    skips: bool = False

    @classmethod
    def of(cls, request: FillRequest, suffix: str, *, blank: bool) -> Ending:
        """Return the ending of a request's one hole; blank: there is nothing beside it.

        In a text with fences, a fence may well be part of the middle.
        """
        fenced = request.language == "markdown" or FENCE in request.text
        return cls(suffix[:_FOLLOWING], request.max_lines, not fenced, blank and request.max_lines == 1)

    def cut(self, text: str) -> tuple[str, bool]:
        """Return (the part of a written text that belongs to the middle, whether the middle ends there for sure)."""
        if text[-1:] and "\ud800" <= text[-1] <= "\udbff":
            text = text[:-1]  # half a character: the other half is still to come
        ends = [at for stop in _CONTROLS if (at := text.find(stop)) >= 0]
        if match := _NO_TEXT.search(text):
            ends.append(match.start())
        if over := bool(ends):
            text = text[: min(ends)]
        if self.fence and FENCE in text:
            text, over = text.partition(FENCE)[0].rstrip(), True
        if self.skips:
            text = text.lstrip("\n")
        if self.lines is not None:
            lines = text.splitlines(keepends=True)
            if len(lines) > self.lines or (len(lines) == self.lines and lines[-1].endswith("\n")):
                text, over = "".join(lines[: self.lines]), True
        middle, sure = middle_of(text, self.suffix) if self.suffix.strip() else (text, False)
        if sure and self._repeats(common(text[len(middle) :], self.suffix)):
            return middle, True
        before = before_repetition(text, self.suffix)
        return before, over or before != text

    def _repeats(self, again: str) -> bool:
        """Return whether so much of the suffix was written again that the middle ended before it.

        A model that was taught to fill middles ends them itself, so whole lines are asked for: the beginning of the next line
        may well look like that of the last.
        """
        whole = again if again == self.suffix else again[: again.rfind("\n") + 1]
        return sum(map(str.isalnum, whole)) >= _ENOUGH


def clean(text: str) -> str:
    """Return a text from a server with `\\n` line ends, and with whole characters where it came in halves."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text
    return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)

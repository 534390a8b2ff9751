"""Carry one step of a change over to another construct: the tokens by their words, the white space as the place has it."""

from __future__ import annotations

from dataclasses import dataclass

from palimpsest_engine.syntax.next_edit.alignment import Alignment
from palimpsest_engine.syntax.next_edit.blanks import back, forward, gap_at, indent
from palimpsest_engine.syntax.next_edit.scene import Changed, Hunk, token_text
from palimpsest_engine.syntax.next_edit.words import Terms
from palimpsest_engine.syntax.tree import Parsed, Range


@dataclass(frozen=True, slots=True)
class Step:
    """One hunk of a pattern. after: an insertion belongs to the token before it, not to the one behind."""

    hunk: Hunk
    after: bool = False


class Ends:
    """Finds what stands for the token that begins or ends at a byte."""

    def __init__(self, alignment: Alignment) -> None:
        self.starts = {one.start_byte: other for one, other in alignment.pairs}
        self.ends = {one.end_byte: other for one, other in alignment.pairs}


@dataclass(frozen=True, slots=True)
class Carried:
    """The steps of a change at another place, in its terms."""

    edits: tuple[tuple[Range, bytes], ...]
    terms: Terms


@dataclass(frozen=True, slots=True)
class Carrier:
    """Carries one step over: the tokens by their words, the white space as the place has it."""

    changed: Changed
    other: Parsed
    ends: Ends
    step: Step
    terms: Terms

    def edit(self) -> tuple[Range, bytes] | None:
        """Return the edit; None if the place has no such gap."""
        hunk = self.step.hunk
        if hunk.was and hunk.now:
            return self._replacement(hunk)
        return self._removal() if hunk.was else self._insertion()

    def _tokens(self) -> Range:
        was = self.step.hunk.was
        return self.ends.starts[was[0].start_byte].start_byte, self.ends.starts[was[-1].start_byte].end_byte

    def _replacement(self, hunk: Hunk) -> tuple[Range, bytes]:
        """Replace the tokens, and the white space on either side of them if that has changed, too."""
        was, now, there = self.changed.was.data, self.changed.now.data, self.other.data
        start, end = self._tokens()
        text = self._written(hunk)
        gap = was[hunk.was[-1].end_byte : forward(was, hunk.was[-1].end_byte)]
        new = now[hunk.now[-1].end_byte : forward(now, hunk.now[-1].end_byte)]
        own = there[end : forward(there, end)]
        if new != gap and own == gap and b"\n" not in gap + new:
            end, text = end + len(own), text + new
        gap = was[back(was, hunk.was[0].start_byte) : hunk.was[0].start_byte]
        new = now[back(now, hunk.now[0].start_byte) : hunk.now[0].start_byte]
        own = there[back(there, start) : start]
        if new != gap and own == gap and b"\n" not in gap + new:
            start, text = start - len(own), new + text
        return (start, end), text

    def _removal(self) -> tuple[Range, bytes]:
        was, now, hunk = self.changed.was.data, self.changed.now.data, self.step.hunk
        start, end = self._tokens()
        left = gap_at(now, hunk.now_at)
        behind = was[hunk.was[-1].end_byte : forward(was, hunk.was[-1].end_byte)]
        if behind == left or b"\n" in behind:
            return (back(self.other.data, start), end), b""
        return (start, forward(self.other.data, end)), b""

    def _insertion(self) -> tuple[Range, bytes] | None:
        was, now, hunk = self.changed.was.data, self.changed.now.data, self.step.hunk
        at = forward(was, hunk.was_at)
        gap = was[back(was, at) : at]
        first, last = hunk.now[0].start_byte, hunk.now[-1].end_byte
        before, behind = now[back(now, first) : first], now[last : forward(now, last)]
        text = self._written(hunk)
        if self.step.after:
            there = self.ends.ends.get(back(was, at))
            if there is None:
                return None
            start = there.end_byte
            end = forward(self.other.data, start)
            if behind != gap and self.other.data[start:end] == gap and b"\n" not in behind:
                return (start, end), before + text + behind
            return (start, start), before + text
        there = self.ends.starts.get(at)
        if there is None:
            return None
        end = there.start_byte
        start = back(self.other.data, end)
        if before != gap and self.other.data[start:end] == gap:
            return (start, end), before + text + behind
        return (end, end), text + self._indented(behind, at, end)

    def _written(self, hunk: Hunk) -> bytes:
        """Return the new tokens, and what is between them, in terms of the other place."""
        now = self.changed.now
        found, at = b"", hunk.now[0].start_byte
        for token in hunk.now:
            found += now.data[at : token.start_byte]
            found += self.terms.of(token_text(now, token)).encode()
            at = token.end_byte
        anchor = self.ends.starts.get(hunk.was[0].start_byte) if hunk.was else None
        own = anchor.start_byte if anchor is not None else None
        return found if own is None else self._indented(found, hunk.was[0].start_byte, own)

    def _indented(self, text: bytes, ours: int, theirs: int) -> bytes:
        """Return a text whose further lines are indented like the other line."""
        if b"\n" not in text:
            return text
        one, other = indent(self.changed.was.data, ours), indent(self.other.data, theirs)
        head, *lines = text.split(b"\n")
        return b"\n".join([head, *(other + line[len(one) :] if line.startswith(one) else line for line in lines)])

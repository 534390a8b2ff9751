"""Guess the slips with brackets and quotes: one is missing, one is too much, or of the wrong kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from palimpsest_engine.syntax.scan import CLOSER_OF, OPENER_OF, Scan, Token

_ENDS = set(")]},;:")  # after a string, an argument, an index
_BEGINS = set("([{,=:+<>!|&?") | {"return", "in", "import", "from", "case", "when", "include", "require"}
_NEAR = 2  # lines


@dataclass(frozen=True, slots=True)
class Slip:
    """Replace `text[start:end]` by `text`. keyword: that must be a keyword then."""

    cost: float
    start: int
    end: int
    text: str
    keyword: bool = False


class PairSlips:
    """The edits to try where brackets or quotes do not pair."""

    def __init__(self, scan: Scan) -> None:
        """Take a text that was read."""
        self._scan = scan

    def brackets(self) -> Iterator[Slip]:
        """Yield the edits for every bracket that does not pair."""
        for opener in self._scan.unclosed:
            for token in self._scan.on(opener.line, opener.line):
                if token.text == opener.text:
                    yield without(self._scan, token, 1.6)
            yield from self._closed(opener)
        for closer in self._scan.unopened:
            for token in self._scan.on(closer.line, closer.line):
                if token.text == closer.text:
                    yield without(self._scan, token, 1.5)
            yield from self._opened(closer)
        for opener in self._scan.unclosed:
            for closer in self._scan.unopened:
                if opener.start < closer.start:
                    yield Slip(0.7, closer.start, closer.end, CLOSER_OF[opener.text])
                    yield Slip(0.8, opener.start, opener.end, OPENER_OF[closer.text])

    def _closed(self, opener: Token) -> Iterator[Slip]:
        """Close a bracket: before the code that is indented no deeper, or on its own line, late rather than early."""
        closer = CLOSER_OF[opener.text]
        row = self._scan.on(opener.line, opener.line)
        depth, last = self._scan.indent(opener.line), len(self._scan.line_starts) - 1
        below = next(
            (
                n
                for n in range(opener.line + 1, last + 1)
                if not self._scan.blank(n) and self._scan.indent(n) <= depth + self._scan.slack
            ),
            None,
        )
        block = row[-1] is opener or (row[-1].text == "|" and opener.text == "{") or opener.text == "{"
        stop = last if below is None else below - 1
        for number in range(opener.line + 1, stop + 1):
            start, end = self._scan.line(number)
            if not self._scan.blank(number) or self._scan.indent(number) != depth or start == len(self._scan.text):
                continue
            if depth or number == stop or (not self._scan.blank(number - 1) and self._scan.blank(number + 1)):
                yield Slip(0.1 if depth and block else 0.5, end, end, closer)
        if below is not None:
            start, _ = self._scan.line(below)
            shallow = self._scan.indent(below) < depth
            if not shallow and (self._scan.indent(below) > depth or self._scan.text[start + depth] in ")]},;"):
                yield Slip(0.1 if block else 0.6, start + depth, start + depth, closer)
        filled = next((n for n in range(stop, opener.line, -1) if not self._scan.blank(n)), None)
        if filled is not None:
            end = self._scan.line(filled)[1]
            newline = "\r\n" if self._scan.text[: end + 2].endswith("\r\n") else "\n"
            extra = 0.0 if row[-1] is opener else 1.0
            yield Slip(
                0.4 + extra,
                end,
                end,
                f"{newline}{self._scan.text[slice(*self._scan.line(opener.line))][:depth]}{closer}",
            )
            yield Slip(1.1 + extra, end, end, closer)
        if row[-1] is opener and (stop == opener.line or self._scan.indent(opener.line + 1) <= depth):
            yield Slip(0.3, opener.end, opener.end, closer)
        if row[-1] is not opener:
            after = [token for token in row if token.start > opener.start]
            for number, token in enumerate(reversed(after)):
                yield Slip(0.5 + 0.05 * number, token.end, token.end, closer)
            yield Slip(0.6 + 0.05 * len(after), opener.end, opener.end, closer)

    def _opened(self, closer: Token) -> Iterator[Slip]:
        """Open a bracket that something closes: on its line, or at the end of the line that the block hangs from."""
        opener = OPENER_OF[closer.text]
        row = [token for token in self._scan.on(closer.line, closer.line) if token.start <= closer.start]
        for number, token in enumerate(row):
            glued = token.start and not self._scan.text[token.start - 1].isspace()
            cost = 0.6 + 0.015 * number + (0.0 if glued else 0.2) + (0.8 if not number else 0.0)
            cost += 0.1 if token is closer else 0.0
            yield Slip(cost, token.start, token.start, opener)
            gap = self._scan.text[row[number - 1].end : token.start] if number else ""
            if len(gap) > 1:  # there was something between two blanks
                yield Slip(0.3, token.start - 1, token.start - 1, opener)
            yield from self._split(token, opener)
        depth = self._scan.indent(closer.line)
        heads = [n for n in range(closer.line - 1, -1, -1) if not self._scan.blank(n) and self._scan.indent(n) <= depth]
        for number in heads[:3]:
            start, end = self._scan.line(number)
            code = len(self._scan.text[start:end].rstrip())
            space = "" if code < end - start else " "
            here = start + code + (1 if code < end - start else 0)
            if self._scan.indent(number) == depth:
                yield Slip(0.3 if row[0] is closer else 1.2, here, here, space + opener)
                yield Slip(0.5 if row[0] is closer else 1.3, start + code, start + code, opener)

    def _split(self, token: Token, sign: str) -> Iterator[Slip]:
        """Put a sign into a word, if both halves are words of the text or of the language."""
        if not (token.text[0].isalpha() or token.text[0] == "_") or self._scan.words[token.text] > 1:
            return
        for cut in range(1, len(token.text)):
            one, two = token.text[:cut], token.text[cut:]
            if self._scan.knows(one) and self._scan.knows(two):
                yield Slip(0.4 - 0.01 * min(len(one), len(two)), token.start + cut, token.start + cut, sign)

    def quotes(self, lines: list[int]) -> Iterator[Slip]:
        """Yield the edits for the lines with a quote too many or too few, best near these lines."""
        for number, quote in self._scan.odd_lines.items():
            if not any(abs(number - line) <= _NEAR for line in lines) and len(self._scan.odd_lines) > 1:
                continue
            far = min((0.05 * abs(number - line) for line in lines), default=0.0)
            row = self._scan.on(number, number)
            quotes = [token for token in row if token.text == quote]
            for token in quotes:
                yield without(self._scan, token, 1.6)
            opens = [t for t in quotes if self._opens(t)]
            closes = [t for t in quotes if self._closes(t)]
            starts, stops = {token.start for token in row}, {token.end for token in row}
            for at in sorted(starts | stops):
                before, after = self._around(at)
                begins = at in starts and (before in _BEGINS or self._scan.prefixed(at))
                ends = at in stops and (after in _ENDS or not after)
                cost = 0.9 - 0.3 * (begins and len(closes) > len(opens)) - 0.3 * (ends and len(opens) > len(closes))
                cost += far + 0.4 * (at == row[0].start and row[min(1, len(row) - 1)].text != quote)
                last = sum(token.start > at for token in row)
                yield Slip(cost + (0.03 if len(closes) > len(opens) else 0.01) * last, at, at, quote)
                yield Slip(cost + 0.7, at, at, quote * 3)

    def _around(self, at: int) -> tuple[str, str]:
        """Return the tokens before and after an offset on its line."""
        number = self._scan.line_of(at)
        row = self._scan.on(number, number)
        before = [token.text for token in row if token.end <= at]
        after = [token.text for token in row if token.start >= at]
        return before[-1] if before else "", after[0] if after else ""

    def triples(self, lines: list[int]) -> Iterator[Slip]:
        """Make two quotes three, or three of them two."""
        if self._scan.grammar != "python":
            return
        for number, row in enumerate(self._scan.text.split("\n")):
            near = any(line - 1 <= number <= line for line in lines)
            for match in re.finditer(r"(?<![\"'])(\"\"|'')(?![\"'])", row):
                if match[1] + match[1][0] in row or (near and (row[: match.start()] + " ").isspace()):
                    at = self._scan.line_starts[number] + match.end()
                    yield Slip(-0.5, at, at, match[1][0])
            alone = re.fullmatch(r"(?!\s*['\"]{3}).*?(\"\"\"|''')\s*", row)
            if near and alone and row.count(alone[1]) == 1:
                at = self._scan.line_starts[number] + alone.start(1)
                yield Slip(0.5, at, at + 1, "")

    def _opens(self, token: Token) -> bool:
        before = self._scan.text[max(0, token.start - 1) : token.start]
        return not before or before.isspace() or before in "([{=,:" or before == "f"

    def _closes(self, token: Token) -> bool:
        after = self._scan.text[token.end : token.end + 1]
        return not after or after.isspace() or after in _ENDS


def without(scan: Scan, token: Token, cost: float) -> Slip:
    """Delete a token; a character that stands there twice is likely to be a slip."""
    beside = scan.text[token.end : token.end + 1], scan.text[max(0, token.start - 1) : token.start]
    return Slip(0.05 if token.text in beside else cost, token.start, token.end, "")

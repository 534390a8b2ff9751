"""Guess which slip of the hand broke a text: every edit of one token near a place, the likeliest first. Parses nothing.

A slip is a bracket, a quote or a separator that is missing or too much, a bracket of the wrong kind, two characters in the
wrong order, or a misspelt keyword. Costs are what this module guesses: a bracket where the brackets do not pair is likelier
than one where they do, a doubled character likelier than a stray one, and what stands like this elsewhere in the text
likelier than what does not. Whether an edit mends anything is for the parser to say (`mending.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace

from palimpsest_engine.syntax.pair_slips import PairSlips, Slip, without
from palimpsest_engine.syntax.scan import CLOSER_OF, OPENER_OF, QUOTES, SEPARATORS, Scan, Token

_LONGEST = 6  # letters of a keyword that one slip at most is expected in
_BESIDE = 80  # tokens to look at for what stands in the same brackets
_LINES = 2  # lines before and after a place that are searched for separators


class Slips:
    """The edits to try in one text."""

    def __init__(self, scan: Scan) -> None:
        """Take a text that was read."""
        self._scan = scan
        self._pairs = PairSlips(scan)

    def near(self, places: list[int]) -> list[Slip]:
        """Return the edits to try for defects at these offsets, the likeliest first, each result once."""
        lines = sorted({self._scan.line_of(place) for place in places})
        found: dict[tuple[int, int, str], Slip] = {}
        balanced = not self._scan.unclosed and not self._scan.unopened
        for slip in (
            *self._pairs.brackets(),
            *self._pairs.quotes(lines),
            *self._pairs.triples(lines),
            *self._separators(places, 0.0 if balanced and not self._scan.odd_lines else 1.5),
            *self._keyword_slips(lines),
            *self._swaps(lines),
        ):
            key = self._result(slip)
            if key not in found or found[key].cost > slip.cost:
                found[key] = slip
        found = {key: self._weighed(slip) for key, slip in found.items()}
        return sorted(found.values(), key=lambda slip: (slip.cost, slip.start, slip.text))

    def _weighed(self, slip: Slip) -> Slip:
        """Add to the cost what the edit does to the habits of the text."""
        if slip.keyword or "\n" in slip.text:
            return slip
        return replace(slip, cost=slip.cost + self._scan.strangeness(slip.start, slip.end, slip.text))

    def _result(self, slip: Slip) -> tuple[int, int, str]:
        """Return a key that is the same for edits with the same result: one of two equal neighbours is taken away."""
        start, end = slip.start, slip.end
        if not slip.text:
            while start and self._scan.text[start - 1] == self._scan.text[end - 1] and end - start == 1:
                start, end = start - 1, end - 1
        if start == end and len(slip.text) == 1:
            while start and self._scan.text[start - 1] == slip.text:
                start, end = start - 1, end - 1
        return start, end, slip.text

    def _separators(self, places: list[int], extra: float) -> Iterator[Slip]:
        signs = [sign for sign in SEPARATORS if sign in self._scan.signs]
        for place in places:
            number = self._scan.line_of(place)
            row = self._scan.on(number - _LINES, number + _LINES)
            index = bisect_left([token.start for token in row], place)
            for other, token in enumerate(row):
                far = extra + 0.06 * min(abs(other - index), abs(other + 1 - index)) + 0.15 * abs(token.line - number)
                doubled = self._scan.text[token.end : token.end + 1] == token.text
                if token.text in SEPARATORS and doubled:
                    yield Slip(0.2 + far, token.start, token.end, "")
                elif token.text in SEPARATORS and not (token.text == ";" and self._scan.ends_line(token)):
                    yield without(self._scan, token, 1.5 + far)
                if token.line >= number - _LINES:
                    yield from self._separated(row, other, signs, far)

    def _separated(self, row: list[Token], index: int, signs: list[str], far: float) -> Iterator[Slip]:
        """Put a separator behind a token; between two blanks, if something was there."""
        token = row[index]
        if self._scan.prefixed(token.end) and self._scan.text[token.end : token.end + 1] in QUOTES:
            return
        following = row[index + 1] if index + 1 < len(row) else None
        gap = self._scan.text[token.end : following.start if following else token.end]
        ends = following is None or following.line != token.line
        for sign in signs:
            at = token.end + (1 if gap.startswith("  ") and not ends else 0)
            cost = 0.9 + far + self._role(token, sign, ends)
            yield Slip(cost, at, at, sign)

    def _role(self, token: Token, sign: str, ends: bool) -> float:
        """Return what makes a separator unlikely in its place, by the brackets around and the separators beside it."""
        index = bisect_left(self._scan.starts, token.end)
        before = list(self._beside(reversed(self._scan.tokens[max(0, index - _BESIDE) : index]), OPENER_OF, CLOSER_OF))
        after = list(self._beside(iter(self._scan.tokens[index : index + _BESIDE]), CLOSER_OF, OPENER_OF))
        pair = next((each.text for each in before if each.text in CLOSER_OF), "")
        signs = [each.text for each in (*before, *after) if each.text in SEPARATORS]
        last = next((each.text for each in before if each.text in SEPARATORS), ",")
        if sign == ";":
            if pair == "{" and ";" in signs and ":" in signs and not ends:
                return -0.3 if last == ":" else 0.3
            if pair == "(":
                return -0.4 if ";" in signs else 0.4
            return 0.0 if ends and pair in ("", "{") else 0.4
        if ends and sign == ":":
            return -0.2
        if pair == "{" and ":" in signs:  # names and values take turns
            wanted = ":" if last != ":" else ";" if ";" in signs else ","
            return -0.3 if sign == wanted else 0.3
        if sign == ",":
            return 0.0 if pair else 0.15
        return 0.0 if pair == "{" else 0.1

    def _beside(self, tokens: Iterator[Token], inner: dict[str, str], outer: dict[str, str]) -> Iterator[Token]:
        """Yield the separators of the same pair of brackets, and the bracket that ends it."""
        depth = 0
        for token in tokens:
            if token.text in inner:
                depth += 1
            elif token.text in outer:
                depth -= 1
                if depth < 0:
                    yield token
                    return
            elif not depth and token.text in SEPARATORS:
                yield token

    def _keyword_slips(self, lines: list[int]) -> Iterator[Slip]:
        for token in self._scan.tokens:
            word = token.text
            start = self._scan.line_starts[token.line] + self._scan.indent(token.line)
            if not word.isalpha() or word in self._scan.keywords or self._scan.words[word] > 1:
                continue
            if len(word) < 2 and token.start != start:
                continue
            far = min((abs(token.line - line) for line in lines), default=0)
            for keyword in self._scan.keywords:
                if (slips := distance(word.lower(), keyword, 1 if len(keyword) < _LONGEST else 2)) is not None:
                    cost = 0.1 + 0.9 * slips - 0.5 + 0.02 * min(far, 20) + (0.0 if token.start == start else 0.1)
                    yield Slip(cost - 0.01 * len(keyword), token.start, token.end, keyword, keyword=True)

    def _swaps(self, lines: list[int]) -> Iterator[Slip]:
        reach = sorted({near for line in lines for near in (line - 1, line, line + 1)} | set(self._scan.odd_lines))
        for number in (number for number in reach if 0 <= number < len(self._scan.line_starts)):
            start, end = self._scan.line(number)
            for at in range(start, end - 1):
                one, two = self._scan.text[at], self._scan.text[at + 1]
                odd = self._scan.odd_lines.get(number)
                if odd is not None and odd in (one, two):
                    continue  # the quotes would not pair afterwards either
                if one == two or one.isspace() or two.isspace() or (_wordlike(one) and _wordlike(two)):
                    continue
                if CLOSER_OF.get(one) == two or one + two in ("${", "#{") or _into_string(one, two):
                    continue
                cost = 1.0 if _wordlike(one) or _wordlike(two) or one in QUOTES or two in QUOTES else 0.6
                if one in QUOTES and _wordlike(self._scan.text[at - 1 : at] or " "):
                    cost = 0.55  # f"(a") for f("a")
                yield Slip(cost + 0.1 * (number not in lines), at, at + 2, two + one)


def _into_string(one: str, two: str) -> bool:
    """Return whether swapping these moves a sign into a string, or a letter in or out."""
    if one in QUOTES:
        return two not in CLOSER_OF
    return two in QUOTES and one not in OPENER_OF and one not in SEPARATORS


def _wordlike(character: str) -> bool:
    return character.isalnum() or character == "_"


def distance(word: str, keyword: str, most: int) -> int | None:
    """Count the letters to insert, drop, replace or swap with a neighbour; None if they are more than `most`, or none."""
    if abs(len(word) - len(keyword)) > most or word == keyword:
        return None
    before, row = list[int](), list(range(len(keyword) + 1))
    for i, one in enumerate(word, 1):
        new = [i]
        for j, two in enumerate(keyword, 1):
            best = min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (one != two))
            if i > 1 and j > 1 and one == keyword[j - 2] and word[i - 2] == two:
                best = min(best, before[j - 2] + 1)
            new.append(best)
        before, row = row, new
    return row[-1] if row[-1] <= most else None

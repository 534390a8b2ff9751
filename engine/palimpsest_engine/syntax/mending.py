"""Mend a text whose syntax is broken by one small edit that the parsers prove, without any model; and judge other repairs.

Text in, an edit out; knows no tensors and no editors. `slips.py` guesses edits of one token, the likeliest first. The first
is taken that leaves no defect where the text was broken and no new one elsewhere, keeps every name and loses no statement.
It works for every language with a grammar; `complaints.py` says what counts as broken. Python's own parser has to be content
with a mend, too.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from palimpsest_engine.errors import GrammarMissing
from palimpsest_engine.request import FillRequest, Span
from palimpsest_engine.syntax.complaints import Complaints, block_around
from palimpsest_engine.syntax.defects import Defect, defects_of
from palimpsest_engine.syntax.grammars import load
from palimpsest_engine.syntax.pair_slips import Slip
from palimpsest_engine.syntax.python_parser import LONGEST, error_of
from palimpsest_engine.syntax.scan import SEPARATORS, Scan, keywords_of
from palimpsest_engine.syntax.slips import Slips, distance
from palimpsest_engine.syntax.spliced import Snapshot

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

_STATEMENT = re.compile(r"(statement|declaration|definition|declarator|assignment|_item|method|call|call_expression)\Z")
_WORD = re.compile(r"[^\W\d]\w*")
_PARSES, _BYTES = 120, 250_000  # in one window
_WHOLE = 16_384  # characters of a text to search as one
_PLACES = 12


@dataclass(frozen=True, slots=True)
class Mend:
    """An edit that mends a text: replace `span` by `text`."""

    span: Span
    text: str


class Mender:
    """Finds what is broken in one text and mends it. For one thread at a time."""

    def __init__(
        self, text: str, language: str | None, path: str | None = None, complaints: Complaints | None = None
    ) -> None:
        """Take a text. language, path: as `Outline` has them. complaints: those about the text, if they are known."""
        self._text = text
        self.complaints = complaints or Complaints(text, language, path)
        self._grammar = self.complaints.grammar
        self._left = (_PARSES, _BYTES)

    @property
    def _plain(self) -> str:
        return self.complaints.plain

    def defects(self, within: Span) -> tuple[Span, ...]:
        """Return the broken parts of the span."""
        return self.complaints.defects(within)

    def mend(self, within: Span) -> Mend | None:
        """Return the edit that mends the first broken part of the span; None if none is found or nothing is broken."""
        broken = self.defects(within)
        if not broken:
            return None
        try:
            for start, end in _windows(self._plain, broken[0]):
                self._left = (_PARSES, _BYTES)
                for slip in self._search(start, end, broken[0]):
                    mend = Mend(Span(start + slip.start, start + slip.end), slip.text)
                    if not any(_overlap(mend.span, span) for span in self.complaints.allowed) and self._mends_whole(
                        mend, broken[0]
                    ):
                        return mend
        except GrammarMissing:
            pass
        return None

    def is_mended_by(self, request: FillRequest, texts: tuple[str, ...]) -> bool:
        """Return whether texts for the holes that come from elsewhere mend the text, by the same rules.

        Fewer lines are broken, none of those with a hole, and none that was not; every name in a hole with broken code is
        still there, in order; no statement elsewhere is lost. A hole without broken code may change in any way: another tool
        complains about it.
        """
        document = Snapshot(request.text, request.holes).splice(texts)
        after = request.splice(texts)
        everything = self.defects(Span(0, len(self._text)))
        for hole, text in zip(request.holes, texts, strict=True):
            if any(span.start <= hole.end and hole.start <= span.end for span in everything) and not self._keeps_names(
                request.text[hole.start : hole.end], text
            ):
                return False
        before = _spanned(self._text, everything)
        now = _spanned(after, self.complaints.after(after).defects(Span(0, len(after))))
        own = _spanned(self._text, request.holes)
        new = _spanned(after, document.spans)
        kept = before - own
        for hole, text in zip(reversed(request.holes), reversed(texts), strict=True):
            moved = text.count("\n") - request.text.count("\n", hole.start, hole.end)
            line = request.text.count("\n", 0, hole.end)
            kept = {each + moved if each > line else each for each in kept}
        if len(now) >= len(before) or not now <= kept:
            return False
        trees = (self._parse(text).root_node for text in (self._text, after))
        was, now_count = (_statements(root, lines) for root, lines in zip(trees, (own, new), strict=True))
        return now_count >= was

    def _keeps_names(self, old: str, new: str) -> bool:
        """Return whether all names stay, in order; a misspelt keyword is none."""
        keywords = keywords_of(self._grammar)
        names = [word for word in _WORD.findall(old) if word not in keywords and not self._misspelt(word, keywords)]
        words = iter(_WORD.findall(new))
        return all(name in words for name in names)

    def _misspelt(self, word: str, keywords: Collection[str]) -> bool:
        once = len(re.findall(rf"\b{re.escape(word)}\b", self._text)) == 1
        return once and any(distance(word, keyword, 1) for keyword in keywords)

    # The search in a window

    def _search(self, start: int, end: int, broken: Span) -> Iterator[Slip]:
        """Yield the slips that leave nothing broken in the window, or only what was broken elsewhere."""
        text = self._plain[start:end]
        tree = self._parse(text)
        lines = _lines(text, broken.start - start, broken.end - start)
        seen = _defects(tree.root_node)
        others = {line for line in map(_Lines(text), seen) if not lines[0] - 1 <= line <= lines[1] + 1}
        spread = len(others) == len({*map(_Lines(text), seen)}) or not others
        scan = Scan(text, self._grammar, self._plain)
        for slip in Slips(scan).near(self._places(text, seen, broken.start - start, broken.end - start)):
            if self._left[0] <= 0 or self._left[1] <= 0:
                return
            after = self._after(text, tree, slip)
            root = after.root_node
            if root.has_error and (spread or not self._leaves_only(text, slip, others)):
                continue
            if self._keeps(text, tree.root_node, root, slip, scan):
                yield slip

    def _places(self, text: str, defects: list[Defect], start: int, end: int) -> list[int]:
        """Return the offsets that the parsers complain about."""
        data = text.encode("utf-8", "replace")
        found = [max(start, 0), min(max(end, 0), len(text))]
        for defect in defects:
            spots = (*defect.range, *(token[0] for token in defect.tokens[:2]))
            found += [len(data[:at].decode("utf-8", "ignore")) for at in spots]
        if self._grammar == "python" and (error := error_of(text)) is not None:
            found.append(sum(map(len, text.splitlines(keepends=True)[: error.line])))
        return list(dict.fromkeys(min(at, len(text)) for at in found))[:_PLACES]

    def _after(self, text: str, tree: Tree, slip: Slip) -> Tree:
        """Parse the text with an edit from the old tree on."""
        new = text[: slip.start] + slip.text + text[slip.end :]
        at, old_end, new_end = (
            len(part.encode("utf-8", "replace"))
            for part in (text[: slip.start], text[: slip.end], text[: slip.start] + slip.text)
        )
        copy = tree.copy()
        copy.edit(
            at,
            old_end,
            new_end,
            _point(text, slip.start),
            _point(text, slip.end),
            _point(new, slip.start + len(slip.text)),
        )
        return self._parse(new, copy)

    def _leaves_only(self, text: str, slip: Slip, others: set[int]) -> bool:
        """Return whether a cold parse of the text with an edit finds only defects that were elsewhere before."""
        new = text[: slip.start] + slip.text + text[slip.end :]
        moved, line = slip.text.count("\n"), text.count("\n", 0, slip.start)
        shifted = {each + moved if each > line else each for each in others}
        return {*map(_Lines(new), _defects(self._parse(new).root_node))} <= shifted

    def _keeps(self, text: str, before: Node, after: Node, slip: Slip, scan: Scan) -> bool:
        """Return whether an edit keeps all names and statements, and Python's own parser agrees with it."""
        new = text[: slip.start] + slip.text + text[slip.end :]
        if slip.keyword:
            at = len(text[: slip.start].encode("utf-8", "replace"))
            node = after.descendant_for_byte_range(at, at + len(slip.text))
            if node is None or node.is_named or node.type != slip.text:
                return False
        else:
            old_words, words = Counter(_WORD.findall(text)), Counter(_WORD.findall(new))
            if not all(map(scan.knows, words - old_words)):
                return False
            if "".join(_WORD.findall(text)) != "".join(_WORD.findall(new)):
                return False
            if self._demotes_keyword(new, after, slip):
                return False
            line = {text.count("\n", 0, slip.start)}
            if not after.has_error and _statements(after, line) < _statements(before, line):
                return False
        return self._grammar != "python" or after.has_error or len(new) > LONGEST or error_of(new) is None

    def _demotes_keyword(self, new: str, after: Node, slip: Slip) -> bool:
        """Return whether a keyword beside a new separator is now a name: `let, x` is valid JavaScript, but no repair."""
        if slip.text not in tuple(SEPARATORS):
            return False
        keywords = keyword.kwlist if self._grammar == "python" else keywords_of(self._grammar)
        start, end = slip.start, slip.start + len(slip.text)
        before, behind = re.search(r"\w+\W?\Z", new[:start]), re.match(r"\W?\w+", new[end:])
        low, high = before.start() if before else start, end + behind.end() if behind else end
        for word in _WORD.finditer(new, low, high):
            if word[0] in keywords:
                at = len(new[: word.start()].encode("utf-8", "replace"))
                node = after.descendant_for_byte_range(at, at + len(word[0]))
                if node is not None and node.type == "identifier":
                    return True
        return False

    def _mends_whole(self, mend: Mend, broken: Span) -> bool:
        """Return whether the whole text has fewer broken lines with a mend, none where it was broken, and no new ones."""
        after = self._plain[: mend.span.start] + mend.text + self._plain[mend.span.end :]
        before, now = ({*map(_Lines(text), _defects(self._parse(text).root_node))} for text in (self._plain, after))
        if not now:
            return True
        moved, line = mend.text.count("\n"), self._plain.count("\n", 0, mend.span.start)
        own = range(*_lines(self._plain, broken.start, broken.end))
        kept = {each + moved if each > line else each for each in before if each not in own}
        return now <= kept and len(now) < len(before)

    @cached_property
    def _parser(self) -> Parser:
        from tree_sitter import Parser

        return Parser(load(self._grammar))

    def _parse(self, text: str, old: Tree | None = None) -> Tree:
        data = text.encode("utf-8", "replace")
        self._left = (self._left[0] - 1, self._left[1] - len(data))
        return self._parser.parse(data) if old is None else self._parser.parse(data, old)


class _Lines:
    """Tells the line of a defect, from 0 on: that of its start."""

    def __init__(self, text: str) -> None:
        self._data = text.encode("utf-8", "replace")

    def __call__(self, defect: Defect) -> int:
        return self._data.count(b"\n", 0, defect.range[0])


def _defects(root: Node) -> list[Defect]:
    return sorted(defects_of(root, lambda: None), key=lambda defect: defect.range)


def _statements(root: Node, but: Collection[int]) -> int:
    """Count the statements, declarations and calls of a tree that begin in no ERROR node, and not on the lines `but`."""
    count, nodes = 0, [root]
    while nodes:
        node = nodes.pop()
        if not node.is_error and node.type != "empty_statement":
            count += node.is_named and node.start_point[0] not in but and _STATEMENT.search(node.type) is not None
            nodes += node.children
    return count


def _windows(text: str, broken: Span) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text to search, from the smallest on: the block around the broken part, and the whole."""
    block = block_around(text, broken)
    if block != (0, len(text)) and block[1] - block[0] <= 2 * _WHOLE:
        yield block
    if len(text) <= _WHOLE:
        yield 0, len(text)


def _lines(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the first line of a range and the line after its last."""
    return text.count("\n", 0, max(start, 0)), text.count("\n", 0, max(end, 0)) + 1


def _point(text: str, at: int) -> tuple[int, int]:
    start = text.rfind("\n", 0, at) + 1
    return text.count("\n", 0, at), len(text[start:at].encode("utf-8", "replace"))


def _spanned(text: str, spans: Sequence[Span]) -> set[int]:
    """Return the numbers of the lines that the spans are on."""
    return {line for span in spans for line in range(*_lines(text, span.start, span.end))}


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end

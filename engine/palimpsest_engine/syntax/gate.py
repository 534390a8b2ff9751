"""The syntax gate: does a fill leave the document's syntax worse than it found it? Text in, verdict out.

Knows nothing of tensors, tokens or editors. The rule is **never worse**: the snapshot (holes as they stand)
and the spliced document are parsed. A *defect* is an ERROR or MISSING node, nested ones included; it is *in
a hole* if it lies between the hole's ends, both included. The spliced document is

- *valid* when it has no defect;
- *worse* when it has a defect and
  1. it has more defects than the snapshot, or
  2. some fill has more defects in it than the hole it replaces had, or
  3. ERROR nodes cover more of the user's own text (bytes outside the holes) than in the snapshot,
  unless the parser was lost anyway: every hole lies in an ERROR node of the snapshot that goes on before and
  after it, and the lines that hold the fills parse on their own;
- *no worse* otherwise.

So a clean snapshot admits only a clean document, and an ERROR node that encloses the hole may grow with the
fill: bytes inside fills never count. Rule 2 is there because error recovery is not monotone: a fill can
mend what its hole broke and still bring a defect of its own. Rule 3 catches a fill that spoils its
surroundings without adding a node. The exception keeps a bracket left open far above from blocking every
statement below it.

tree-sitter's Python takes more than Python does: headers without a body, lines indented for no reason. So a
Python document without a defect is also shown to Python's own parser, if the snapshot passes that too or
fails it at a hole (else it is no Python of this version, and nothing follows from what the parser says).
Where it fails with the fill, the document is *worse*; but *no worse* if it failed so before, or if all that is
missing is the body of the header that the fill ends with, for that is how one writes from top to bottom.

Documents are compared as cold parses. An incremental parse is trusted only when it finds no defect, for
what error recovery makes of broken text depends on which nodes of the old tree it happens to reuse. Of a
large document, only the items of its top level around the holes are compared, if no defect reaches across their
border: what a cold parse takes grows with the text, and one is made for every fill that has a defect.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from palimpsest_engine.errors import GrammarMissing
from palimpsest_engine.request import FillRequest, Span, Verdict
from palimpsest_engine.syntax.grammars import language_of, languages, load
from palimpsest_engine.syntax.python_parser import PythonError, error_of, with_body

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Point, Tree

__all__ = ["SyntaxGate", "language_of", "languages"]

_Range: TypeAlias = tuple[int, int]
_PREAMBLES = {"php": b"<?php "}  # what a line needs before it to be code
_SMALL, _READ = 262_144, 4_096  # bytes parsed in one go, and at a time where that could take long
_LARGE, _NEAR = 32_768, 8_192  # bytes: of a larger document whole items are compared, that reach so far from the holes
_CUT_BUDGETS = 4  # `cut` judges many texts; together they may take so many budgets
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # str.splitlines would also split at \x0c and such


class _OverBudgetError(Exception):
    """The deadline passed while parsing or walking a tree."""


@dataclass(frozen=True, slots=True)
class _Defect:
    """An ERROR or MISSING node; ranges in bytes. outermost: not inside another ERROR node.

    tokens: what an ERROR node holds without having made sense of it.
    """

    range: _Range
    outermost: bool
    tokens: tuple[_Range, ...]

    def lies_in(self, fill: _Range) -> bool:
        """Wholly inside; its ends may touch the fill's."""
        return fill[0] <= self.range[0] and self.range[1] <= fill[1]


@dataclass(frozen=True, slots=True)
class _Document:
    """A text in UTF-8 and where its fills are: `ranges` in bytes, `spans` in code points. above: lines that were cut off."""

    data: bytes
    ranges: tuple[_Range, ...]
    spans: tuple[Span, ...]
    above: int = 0


@dataclass(frozen=True, slots=True)
class _Damage:
    """What is wrong with a document. within: defects in each hole; own_bytes: user's bytes in ERROR nodes."""

    defects: tuple[_Defect, ...]
    within: tuple[int, ...]
    own_bytes: int

    def exceeds(self, other: _Damage) -> bool:
        """The rule of this module."""
        return (
            len(self.defects) > len(other.defects)
            or any(mine > its for mine, its in zip(self.within, other.within, strict=True))
            or self.own_bytes > other.own_bytes
        )


class SyntaxGate:
    """Judges fills of one snapshot, parsing that once, when first asked. For one thread at a time."""

    def __init__(self, text: str, holes: tuple[Span, ...], language: str | None, budget_ms: float = 50.0) -> None:
        """text, holes: the snapshot; holes in code points, sorted and disjoint (ValueError otherwise).

        language: a canonical name from `language_of` or an LSP id; if None or unknown, nothing is checked.
        budget_ms: processor time that one `judge` may take, the snapshot's parse included.
        """
        starts = (*(hole.start for hole in holes), len(text))
        ends = (0, *(hole.end for hole in holes))
        if not holes or any(start < end for start, end in zip(starts, ends, strict=True)):
            raise ValueError(f"holes must be sorted, disjoint and within the text of {len(text)}: {holes}")
        self._grammar = language_of(None, language) or ""
        self._language = language or "this kind of document"
        self._budget = budget_ms / 1000
        self._holes = holes
        self._own = tuple(text[hole.start : hole.end] for hole in holes)
        self._kept = tuple(_encode(text[end:start]) for end, start in zip(ends, starts, strict=True))
        self._deadline = 0.0
        self._near_tree: Tree | None = None  # of what is compared, if that is not the whole snapshot
        self._broken_far = False  # there is a defect elsewhere

    def judge(self, texts: tuple[str, ...]) -> Verdict:
        """What the document is like with `texts`, one a hole, in its holes; the module says by which rule.

        `bad` of a "worse" verdict holds at least one span; each lies inside a fill and is empty only if the
        fill is. They are the defects in the fills (one character for a MISSING token); if there are none, the
        tokens in the fills that an ERROR node reaching beyond them made no sense of; failing that, the last
        line of every fill. A "no worse" verdict has some where another fill could make the document valid: a
        header without its body, an indented block without its header. ValueError unless there is one text a hole.
        """
        self._deadline = time.thread_time() + self._budget
        return self._judge(texts)

    def cut(self, texts: tuple[str, ...]) -> tuple[str, ...] | None:
        """The fills cut to whole lines until the document is no worse, one last line at a time.

        With one hole this is the longest such prefix; of several, the last with a bad span gives way
        first. A cut fill drops its last line end, unless the whole fill ended with one. None when only
        blanks are left, when the candidates take more than four budgets, or when nothing can be checked.
        """
        self._deadline = time.thread_time() + self._budget * _CUT_BUDGETS
        lines = [_LINES.findall(text) for text in texts]
        left = texts
        while (verdict := self._judge(left)).status == "worse" and any(lines):
            spans = self._splice(left).spans
            shortable = [i for i, some in enumerate(lines) if some]
            guilty = [i for i in shortable if any(spans[i].start <= at.end <= spans[i].end for at in verdict.bad)]
            lines[max(guilty or shortable)].pop()
            left = tuple(_joined(some, text) for some, text in zip(lines, texts, strict=True))
        passed = verdict.status in ("valid", "no worse") and any(text.strip() for text in left)
        return left if passed else None

    def _judge(self, texts: tuple[str, ...]) -> Verdict:
        if len(texts) != len(self._holes):
            raise ValueError(f"{len(self._holes)} holes, but {len(texts)} texts")
        if not self._grammar:
            return Verdict("not checked", f"there is no grammar for {self._language}")
        try:
            document = self._splice(texts)
            if not self._reparse(document).root_node.has_error:
                return self._judge_clean(document)
            near = self._near(document)
            root = self._parse(near.data).root_node
            if not root.has_error:
                return Verdict("no worse") if self._broken_far else self._judge_clean(document)
            damage = self._measure(root, near)
            if not damage.exceeds(self._baseline) or self._stands_alone(near):
                return Verdict("no worse")
        except GrammarMissing as error:
            return Verdict("not checked", str(error))
        except _OverBudgetError:
            return Verdict("not checked", f"parsing the {self._grammar} took over {self._budget * 1000:g} ms")
        return self._worse(near, self._places(damage, near))

    def _worse(self, document: _Document, places: list[tuple[int, int, int]]) -> Verdict:
        line = document.above + document.data.count(b"\n", 0, places[0][1]) + 1
        bad = tuple(_code_points(document, *place) for place in places)
        return Verdict("worse", f"syntax error near line {line}", bad)

    # What only Python's own parser sees

    def _judge_clean(self, document: _Document) -> Verdict:
        """The verdict on a document that tree-sitter finds no defect in."""
        if self._grammar != "python":
            return Verdict("valid")
        document = self._near(document)
        source = document.data.decode("utf-8")
        if (error := error_of(source)) is None:
            return Verdict("valid")
        before = self._python_before
        lines = [_lines_of(document, i) for i in range(len(document.ranges))]
        if before is not None and not self._at_hole(before):
            return Verdict("valid")
        said = f"line {document.above + error.line}: {error.message}"
        tails = [self._tail(document, i) for i, (start, end) in enumerate(document.ranges) if start < end]
        bad = tuple(_code_points(document, *place) for place in tails)
        if error.body_missing and any(error_of(with_body(source, last)) is None for _, last in lines):
            return Verdict("no worse", said, bad)
        moved = document.data.count(b"\n") - self._snapshot_near.data.count(b"\n")
        if before is not None and (before.message, before.line + moved) == (error.message, error.line):
            # An indented block that wants its header can be mended here; a `try` that is still being written cannot.
            return Verdict("no worse", said, bad if error.message == "unexpected indent" else ())
        at = [place for place in tails if lines[place[0]][0] <= error.line <= lines[place[0]][1] + 1]
        return self._worse(document, at or tails or [(0, *document.ranges[0])])

    @cached_property
    def _python_before(self) -> PythonError | None:
        """What Python's parser says of the snapshot."""
        return error_of(self._snapshot_near.data.decode("utf-8"))

    def _at_hole(self, error: PythonError) -> bool:
        """The snapshot's error is at a hole: but for that it may well be Python of the version that runs here."""
        document = self._snapshot_near
        spans = [_lines_of(document, i) for i in range(len(document.ranges))]
        return any(first <= error.line <= _next_line(document, last) for first, last in spans)

    # Parsing and measuring: bytes of UTF-8 from here on

    @cached_property
    def _parser(self) -> Parser:
        from tree_sitter import Parser

        return Parser(load(self._grammar))

    @cached_property
    def _snapshot(self) -> tuple[_Document, Tree]:
        document = self._splice(self._own)
        return document, self._parse(document.data)

    @cached_property
    def _baseline(self) -> _Damage:
        near, (_, tree) = self._snapshot_near, self._snapshot
        return self._measure((self._near_tree or tree).root_node, near)

    @cached_property
    def _snapshot_near(self) -> _Document:
        return self._near(self._snapshot[0])

    @cached_property
    def _far(self) -> tuple[int, int]:
        """Bytes at the start and at the end of the snapshot that are not compared: whole items, no defect across their
        border."""
        document, tree = self._snapshot
        data, root = document.data, tree.root_node
        if len(data) <= _LARGE or self._grammar in _PREAMBLES:
            return 0, 0
        start, end = document.ranges[0][0], document.ranges[-1][1]
        head = _item_at(root, data, start - _NEAR)
        behind = _item_at(root, data, end + _NEAR, behind=True)
        defects = [defect.range for defect in self._defects(root)]
        within = [(first, last) for first, last in defects if first < behind and last > head]
        if head > start or any(first < head or last > behind for first, last in within):
            return 0, 0
        tree = self._parse(data[head:behind])
        if not within and tree.root_node.has_error:
            return 0, 0  # these items are no document by themselves
        self._near_tree, self._broken_far = tree, len(within) < len(defects)
        return head, len(data) - behind

    def _near(self, document: _Document) -> _Document:
        """What of a document is compared."""
        head, tail = self._far
        if not head and not tail:
            return document
        ranges = tuple((start - head, end - head) for start, end in document.ranges)
        data = document.data[head : len(document.data) - tail]
        return _Document(data, ranges, document.spans, document.data.count(b"\n", 0, head))

    def _splice(self, texts: tuple[str, ...]) -> _Document:
        out, ranges, spans = [self._kept[0]], [], []
        at, moved = len(self._kept[0]), 0
        for hole, own, text, kept in zip(self._holes, self._own, texts, self._kept[1:], strict=True):
            fill = _encode(text)
            out += (fill, kept)
            ranges.append((at, at + len(fill)))
            spans.append(Span(hole.start + moved, hole.start + moved + len(text)))
            at += len(fill) + len(kept)
            moved += len(text) - len(own)
        return _Document(b"".join(out), tuple(ranges), tuple(spans))

    def _reparse(self, document: _Document) -> Tree:
        """The document's tree, grown from the snapshot's."""
        snapshot, tree = self._snapshot
        if document.data == snapshot.data:
            return tree
        tree = tree.copy()
        edits = list(zip(snapshot.ranges, document.ranges, strict=True))
        for (start, end), (new_start, new_end) in reversed(edits):  # so that an edit moves none still to come
            point = _advance((0, 0), snapshot.data[:start])
            old_point = _advance(point, snapshot.data[start:end])
            new_point = _advance(point, document.data[new_start:new_end])
            tree.edit(start, end, start + new_end - new_start, point, old_point, new_point)
        return self._parse(document.data, tree)

    def _parse(self, data: bytes, old: Tree | None = None) -> Tree:
        if old is not None:
            tree = self._parser.parse(data, old)
        elif len(data) <= _SMALL:
            tree = self._parser.parse(data)
        else:
            tree = self._parse_large(data)
        if time.thread_time() > self._deadline:
            raise _OverBudgetError
        return tree

    def _parse_large(self, data: bytes) -> Tree:
        """Stops at the deadline. Not for every text: the binding never gives back what `read` returns (0.26)."""

        def read(at: int, _point: Point) -> bytes:
            return data[at : at + _READ]

        def stop(_at: int, _in_error: bool) -> bool:
            return time.thread_time() > self._deadline

        try:
            return self._parser.parse(read, progress_callback=stop)
        except ValueError:  # what the binding raises when the callback stops it
            self._parser.reset()
            raise _OverBudgetError from None

    def _measure(self, root: Node, document: _Document) -> _Damage:
        defects = tuple(sorted(self._defects(root), key=lambda defect: defect.range))
        within = tuple(sum(defect.lies_in(fill) for defect in defects) for fill in document.ranges)
        errors = [defect.range for defect in defects if defect.outermost]
        own_bytes = _length(errors) - sum(_length(_clip(errors, fill)) for fill in document.ranges)
        return _Damage(defects, within, own_bytes)

    def _defects(self, root: Node) -> Iterator[_Defect]:
        nodes = [(root, True)]
        while nodes:
            if time.thread_time() > self._deadline:
                raise _OverBudgetError
            node, outermost = nodes.pop()
            if not node.has_error:
                continue
            children = node.children
            if node.is_missing or node.is_error:
                tokens = tuple(c.byte_range for c in children if not c.child_count and not c.has_error)
                yield _Defect(node.byte_range, outermost, tokens if children else (node.byte_range,))
                outermost = False
            elif not any(child.has_error for child in children):  # some MISSING tokens are not shown
                yield _Defect((node.end_byte, node.end_byte), outermost, ())
            nodes += [(child, outermost) for child in children]

    def _stands_alone(self, document: _Document) -> bool:
        """The exception: the parser is lost around every hole, and the fills' lines parse on their own."""
        errors = [defect.range for defect in self._baseline.defects]
        holes = self._snapshot_near.ranges
        for (start, end), (new_start, new_end) in zip(holes, document.ranges, strict=True):
            if not any(error[0] < start and end < error[1] for error in errors):
                return False
            line_end = document.data.find(b"\n", new_end)
            line_start = document.data.rfind(b"\n", 0, new_start) + 1
            lines = document.data[line_start : line_end if line_end >= 0 else None]
            if self._parse(_PREAMBLES.get(self._grammar, b"") + lines + b"\n").root_node.has_error:
                return False
        return True

    # Saying where

    def _places(self, damage: _Damage, document: _Document) -> list[tuple[int, int, int]]:
        """What to write anew, by the best evidence there is (see `judge`): fill and range of bytes."""
        before, fills = self._baseline, list(enumerate(document.ranges))
        grown = [(i, fill) for i, fill in fills if damage.within[i] > before.within[i]]
        own = [(i, *defect.range) for i, fill in grown for defect in damage.defects if defect.lies_in(fill)]
        if own:
            return own
        tokens = [token for defect in damage.defects for token in defect.tokens]
        lost = [(i, *token) for i, fill in fills for token in _clip(tokens, fill)]
        if lost:
            return lost
        return [self._tail(document, i) for i, (start, end) in fills if start < end] or [(0, *fills[0][1])]

    def _tail(self, document: _Document, i: int) -> tuple[int, int, int]:
        """The last line of fill `i` that is not blank."""
        start, end = document.ranges[i]
        body = document.data[start:end].rstrip() or document.data[start:end]
        return i, start + max(body.rfind(b"\n"), body.rfind(b"\r")) + 1, start + len(body)


def judge(request: FillRequest, texts: tuple[str, ...]) -> Verdict:
    """What the gate says of a request's holes filled with these texts."""
    return SyntaxGate(request.text, request.holes, language_of(request.path, request.language)).judge(texts)


def _code_points(document: _Document, i: int, start: int, end: int) -> Span:
    """A range of bytes in fill `i` as code points; an empty one takes in the one before it, else after."""
    fill, origin = document.spans[i], document.ranges[i][0]
    first, last = (fill.start + len(document.data[origin:at].decode("utf-8")) for at in (start, end))
    if first == last:
        return Span(first - 1, last) if first > fill.start else Span(first, min(last + 1, fill.end))
    return Span(first, last)


def _encode(text: str) -> bytes:
    """UTF-8; a lone surrogate becomes one other character, so that code points still count the same."""
    return text.encode("utf-8", "replace")


def _item_at(root: Node, data: bytes, at: int, *, behind: bool = False) -> int:
    """Where the item of the top level that this byte is in begins, or the first one behind it, if only those will do; each at
    the start of a line. The end if there is none."""
    if at <= 0:
        return 0
    cursor = root.walk()
    found = cursor.goto_first_child_for_byte(at) is not None
    while found and (node := cursor.node) is not None:
        start = node.start_byte
        if (start >= at or not behind) and data[max(start - 1, 0) : start] in (b"", b"\n"):
            return start
        found = cursor.goto_next_sibling()
    return len(data)


def _advance(point: tuple[int, int], data: bytes) -> tuple[int, int]:
    """The row and byte column where `data` ends that starts at `point`."""
    rows = data.count(b"\n")
    return (point[0] + rows, len(data) - data.rfind(b"\n") - 1) if rows else (point[0], point[1] + len(data))


def _lines_of(document: _Document, i: int) -> _Range:
    """First and last line of fill `i`, from 1 on, blank ends aside."""
    start, end = document.ranges[i]
    first = document.data.count(b"\n", 0, start) + 1
    return first, first + document.data[start:end].rstrip().count(b"\n")


def _next_line(document: _Document, line: int) -> int:
    """The first line after this one that is not blank, from 1 on; the last one where there is none."""
    lines = document.data.split(b"\n")
    return next((n for n in range(line + 1, len(lines) + 1) if lines[n - 1].strip()), len(lines))


def _clip(ranges: Iterable[_Range], to: _Range) -> list[_Range]:
    """What of the ranges lies in `to`, without the empty ones."""
    clipped = [(max(start, to[0]), min(end, to[1])) for start, end in ranges]
    return [(start, end) for start, end in clipped if start < end]


def _length(ranges: Iterable[_Range]) -> int:
    return sum(end - start for start, end in ranges)


def _joined(lines: list[str], whole: str) -> str:
    """The first lines of `whole`, ended as `whole` is."""
    text = "".join(lines)
    if text == whole or whole.endswith(("\n", "\r")):
        return text
    return text.removesuffix("\n").removesuffix("\r")

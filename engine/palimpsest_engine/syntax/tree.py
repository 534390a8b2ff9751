"""Parse a text incrementally within a budget, and run queries on its tree. Knows no language and no meaning.

Offsets of a text are code points; tree-sitter counts bytes of UTF-8. This module converts.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

from palimpsest_engine.errors import GrammarMissing
from palimpsest_engine.request import Span
from palimpsest_engine.syntax.grammars import load

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Point, Query, Tree

Range: TypeAlias = tuple[int, int]  # of bytes

_CHUNK = 1024  # code points between two known offsets
_READ = 4096  # bytes that the parser gets at a time
_SMALL = 65_536  # bytes to parse without a callback
_LONG = 50_000  # bytes of one line: every change in a string of that length takes half a second
_HEAP = 5000  # tokens in a row
_SEARCH = 4096  # bytes to run a query over at a time


class Parsed:
    """A text as bytes and, once asked for, its tree. For one thread at a time."""

    def __init__(self, text: str, grammar: str, previous: Parsed | None, budget_ms: float) -> None:
        """Take a text. grammar: a canonical name, or "" for none. previous: an earlier text of the same grammar."""
        self.text = text
        self.grammar = grammar
        self.reason = ""
        self.budget_ms = budget_ms
        self._done: tuple[bytes, Tree] | None = None
        self._base: tuple[bytes, Tree] | None = None
        if previous is not None:  # the last text that was parsed, not a chain of texts that never were
            self._base = previous._done or previous._base

    @cached_property
    def _pieces(self) -> list[bytes]:
        # a lone surrogate becomes one other character, so that code points still count the same
        return [self.text[at : at + _CHUNK].encode("utf-8", "replace") for at in range(0, len(self.text), _CHUNK)]

    @cached_property
    def data(self) -> bytes:
        """Return the text in UTF-8."""
        return b"".join(self._pieces)

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate(map(len, self._pieces), initial=0))

    def byte(self, offset: int) -> int:
        """Return the first byte of the code point at offset; offsets outside the text are its ends."""
        offset = min(max(offset, 0), len(self.text))
        if len(self.data) == len(self.text):
            return offset
        piece, rest = divmod(offset, _CHUNK)
        return self._starts[piece] + len(self.text[offset - rest : offset].encode("utf-8", "replace"))

    def span(self, place: Range) -> Span:
        """Return a range of bytes in code points."""
        return Span(self._offset(place[0]), self._offset(place[1]))

    def _offset(self, byte: int) -> int:
        if len(self.data) == len(self.text):
            return byte
        piece = min(bisect_right(self._starts, byte), len(self._pieces)) - 1
        return piece * _CHUNK + len(self.data[self._starts[piece] : byte].decode("utf-8", "ignore"))

    @cached_property
    def tree(self) -> Tree | None:
        """Return the tree, grown from the previous one if there is one; None, with a `reason`, if the text has no parse."""
        if not self.grammar:
            return None
        if len(self.data) > _SMALL and max(map(len, self.data.split(b"\n"))) > _LONG:
            self.reason = "the text has a line that is too long to be parsed"
            return None
        try:
            tree = self._parse()
        except GrammarMissing as error:
            self.reason = str(error)
            return None
        except ValueError:  # a callback stopped the binding
            self._give_up()
            return None
        if _is_heap(tree.root_node):
            self.reason = "the text is too broken to be searched"
            return None
        self._done, self._base = (self.data, tree), None
        return tree

    def matches(self, query: Query, start: int, end: int) -> Iterator[dict[str, list[Node]]]:
        """Yield the captures of every match that overlaps the range, some of them twice; fewer, with a `reason`, if that
        takes too long.

        Searches the range piece by piece, because a search cannot be interrupted (the binding crashes on a progress
        callback).
        """
        from tree_sitter import QueryCursor

        if self.tree is None:
            return
        deadline = time.perf_counter() + self.budget_ms / 1000
        for at in range(start, end, _SEARCH):
            cursor = QueryCursor(query)
            cursor.set_byte_range(at, min(at + _SEARCH, end))
            for _, captures in cursor.matches(self.tree.root_node):
                yield captures
            if time.perf_counter() > deadline and at + _SEARCH < end:
                self._give_up()
                return

    def _parse(self) -> Tree:
        from tree_sitter import Parser

        data, old = self.data, None if self._base is None else edited(*self._base, self.data)
        parser = Parser(load(self.grammar))
        deadline = time.perf_counter() + self.budget_ms / 1000
        return parse_until(lambda: time.perf_counter() > deadline, parser, data, old, _SMALL)

    def _give_up(self) -> None:
        self.reason = f"parsing the {self.grammar} took over {self.budget_ms:g} ms"


def parse_until(over: Callable[[], bool], parser: Parser, data: bytes, old: Tree | None, small: int) -> Tree:
    """Parse a text from an old tree on, or anew. Raises ValueError once a text of more than `small` bytes takes too long.

    The binding holds the interpreter's lock while it parses; other threads run only during these callbacks. But it never
    frees the bytes that `read` returns (py-tree-sitter 0.26), so they are for long texts only. Queries read the text by the
    same callback, and crash on anything but bytes.
    """
    if old is not None:
        return parser.parse(data, old)
    if len(data) <= small:
        return parser.parse(data)

    def read(at: int, _point: Point) -> bytes:
        return data[at : at + _READ]

    def stop(_at: int, _in_error: bool) -> bool:
        return over()

    return parser.parse(read, progress_callback=stop)


def _is_heap(root: Node) -> bool:
    """Return whether the tree of a broken text would take seconds to search.

    From each token a query looks along its siblings for a named one, and cannot be interrupted meanwhile. So its time
    grows with the square of the brackets, say, that an ERROR holds in a row.
    """
    left = [root]
    while left:
        node = left.pop()
        if not node.has_error or node.descendant_count < _HEAP:
            continue
        cursor, run = node.walk(), 0
        found = cursor.goto_first_child()
        while found and (child := cursor.node) is not None:
            run = 0 if child.is_named else run + 1
            if run > _HEAP:
                return True
            if child.child_count:
                left.append(child)
            found = cursor.goto_next_sibling()
    return False


def edited(old: bytes, tree: Tree, new: bytes) -> Tree:
    """Return a copy of the tree that knows which bytes have changed."""
    tree = tree.copy()
    if old == new:
        return tree
    start = _common(old, new)
    while start and _continues(old, new, start):  # not inside a character
        start -= 1
    shorter = min(len(old), len(new)) - start
    tail = _common(old[::-1][:shorter], new[::-1][:shorter])
    while tail and _continues(old, new, -tail):
        tail -= 1
    old_end, new_end = len(old) - tail, len(new) - tail
    tree.edit(start, old_end, new_end, _point(old, start), _point(old, old_end), _point(new, new_end))
    return tree


def _continues(old: bytes, new: bytes, at: int) -> bool:
    """Return whether this byte continues a character, in either text."""
    return any(text[at : at + 1 or None] and text[at] & 0xC0 == 0x80 for text in (old, new))


def _common(a: bytes, b: bytes) -> int:
    """Return the length of the longest common prefix."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _point(data: bytes, at: int) -> tuple[int, int]:
    return data.count(b"\n", 0, at), at - (data.rfind(b"\n", 0, at) + 1)

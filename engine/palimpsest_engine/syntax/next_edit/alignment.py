"""Lay two constructs of the same shape side by side, token by token. Knows trees and bytes, no change and no editor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.next_edit.shapes import is_body, is_comment, is_token, is_word
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

_DEEPEST = 60


class Alignment:
    """Two constructs side by side: which part of the one stands for which part of the other.

    pairs: leaves, and whole expressions where those differ. loose: how many are such expressions. equal, words: words that
    are the same in both, and all words of the first. same_callees: what is called around a change is the same in both.
    """

    def __init__(self, one: Parsed, other: Parsed, held: tuple[Range, ...]) -> None:
        """Take the texts. held: the ranges of the first text that have to be alike in both, for something happens in them."""
        self._one, self._other, self._held = one, other, held
        self.pairs: list[tuple[Node, Node]] = []
        self.loose = 0
        self.same_callees = True

    def align(self, one: Node, other: Node) -> bool:
        """Lay the nodes side by side; return whether their shapes are the same."""
        return self._align(one, other, 0)

    @property
    def equal(self) -> int:
        """Return how many words are the same in both."""
        return sum(self.text(a) == self.other_text(b) for a, b in self.pairs if is_token(a) and self._is_word(a))

    @property
    def common(self) -> frozenset[int]:
        """Return where the words begin that are the same in both."""
        return frozenset(
            a.start_byte
            for a, b in self.pairs
            if is_token(a) and is_word(self.text(a)) and self.text(a) == self.other_text(b)
        )

    @property
    def words(self) -> int:
        """Return how many words there are in the first."""
        return sum(self._is_word(a) for a, _ in self.pairs)

    @property
    def is_equal(self) -> bool:
        """Return whether both say the same outside of what is held."""
        return all(self.text(a) == self.other_text(b) for a, b in self.pairs if not self._is_held(a))

    def substitution(self) -> tuple[dict[str, str], set[str]]:
        """Return which text stands for which outside what is held, where they differ; and those that stand for several."""
        found, several = dict[str, str](), set[str]()
        for a, b in self.pairs:
            if is_body(a) or not a.is_named or self._is_held(a):
                continue
            one, other = self.text(a).decode("utf-8", "replace"), self.other_text(b).decode("utf-8", "replace")
            if found.setdefault(one, other) != other:
                several.add(one)
        return {one: other for one, other in found.items() if one != other}, several

    def text(self, node: Node) -> bytes:
        """Return the text of a node of the first."""
        return self._one.data[node.start_byte : node.end_byte]

    def other_text(self, node: Node) -> bytes:
        """Return the text of a node of the second."""
        return self._other.data[node.start_byte : node.end_byte]

    def _is_word(self, node: Node) -> bool:
        return node.is_named and is_word(self.text(node))

    def _is_held(self, node: Node) -> bool:
        return any(start < node.end_byte and node.start_byte < end for start, end in self._held)

    def _encloses_held(self, node: Node) -> bool:
        """Return whether something happens in the node, or between two of its tokens."""
        return self._is_held(node) or any(node.start_byte < at < node.end_byte for at, end in self._held if at == end)

    def _align(self, one: Node, other: Node, depth: int) -> bool:
        held = self._encloses_held(one)
        if one.type != other.type or depth > _DEEPEST:
            return not held and self._loosely(one, other)
        if is_token(one) and is_token(other):
            if not one.is_named and self.text(one) != self.other_text(other):
                return False
            self.pairs.append((one, other))
            return True
        if not held and is_body(one):
            self.pairs.append((one, other))
            return True
        ours, theirs = _parts(one), _parts(other)
        before, loose = len(self.pairs), self.loose
        if len(ours) == len(theirs) and all(self._align(a, b, depth + 1) for a, b in zip(ours, theirs, strict=True)):
            if held:
                self._compare_callees(ours, theirs)
            return True
        del self.pairs[before:]
        self.loose = loose
        return not held and self._loosely(one, other)

    def _compare_callees(self, ours: list[Node], theirs: list[Node]) -> None:
        """Note whether the callees differ, if these are the parts of two calls."""
        for i, part in enumerate(ours[1:]):
            if "argument" in part.type and not self._is_held(ours[i]) and "type" not in part.type:
                one, other = self.text(ours[i]), self.other_text(theirs[i])
                self.same_callees &= _last_word(one) == _last_word(other)

    def _loosely(self, one: Node, other: Node) -> bool:
        """Let one expression stand for another of any shape."""
        if not one.is_named or not other.is_named or is_body(one) or is_body(other):
            return False
        self.pairs.append((one, other))
        self.loose += 1
        return True


def _parts(node: Node) -> list[Node]:
    return [child for child in node.children if not is_comment(child) and child.start_byte < child.end_byte]


def _last_word(text: bytes) -> bytes:
    return re.split(rb"[^\w\x80-\xff]+", text)[-1]

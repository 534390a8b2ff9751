"""Find the places at which a pattern can be made: neighbours of the same shape, and others that have its words.

What speaks for a place is for others to weigh.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.next_edit.alignment import Alignment
from palimpsest_engine.syntax.next_edit.carrying import Carried
from palimpsest_engine.syntax.next_edit.pattern import Pattern
from palimpsest_engine.syntax.next_edit.scene import leaves, token_text
from palimpsest_engine.syntax.next_edit.shapes import has_body, is_comment, is_container, is_literal, is_token, is_word
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

_PLACES = 100  # where the anchor of a pattern stands
_LIST = re.compile(r"\w*(?:argument|parameter)s?(?:_list)?\Z|token_tree\Z")


@dataclass(frozen=True, slots=True)
class Fit:
    """A place that a pattern fits. leaf: a token of it. span, text: the edit that makes all steps there.

    keeps_lines: the edit breaks the lines as the change did.
    """

    leaf: Node
    alignment: Alignment
    carried: Carried
    span: Range
    text: bytes
    keeps_lines: bool


def sides_of(pattern: Pattern, level: Node) -> tuple[Iterator[Fit], ...]:
    """Return the neighbours of the same shape, those behind and those before, which follow each other without a gap."""
    if level.parent is None or not is_container(level.parent) or is_literal(level):
        return ()
    node = _node_now(pattern, level)
    if node is None or node.parent is None or not node.is_named:
        return ()
    around = [each for each in node.parent.children if each.is_named and not is_comment(each)]
    if node not in around:  # half typed, it is a keyword
        return ()
    at = around.index(node)
    return tuple(_alike(pattern, level, side) for side in (around[at + 1 :], around[:at][::-1]))


def _alike(pattern: Pattern, level: Node, nodes: list[Node]) -> Iterator[Fit]:
    """Yield the first nodes, as long as they are of the same shape."""
    for node in nodes:
        fit = None if has_body(node) else _fit(pattern, level, pattern.changed.now, node, _word_of(node))
        if fit is None or fit.alignment.loose:
            return
        yield fit


def elsewhere(pattern: Pattern, parsed: Parsed) -> Iterator[tuple[Fit, ...]]:
    """Yield the places that have the words of the change: each as it fits, from the smallest level to the largest."""
    anchor = _anchor(pattern)
    if anchor is None:
        return
    was = pattern.changed.was
    word = was.data[anchor.start_byte : anchor.end_byte]
    for leaf in _leaves_with(parsed, word, anchor.type, pattern.changed.start if parsed is pattern.changed.now else 0):
        found = []
        for level, node in _levels(pattern, anchor, leaf):
            fit = _fit(pattern, level, parsed, node, leaf)
            if fit is not None and fit.alignment.same_callees and pattern.fits(level, node):
                found.append(fit)
        if found:
            yield tuple(found)


def _fit(pattern: Pattern, level: Node, parsed: Parsed, node: Node, leaf: Node) -> Fit | None:
    alignment = pattern.align(level, parsed, node)
    carried = None if alignment is None else pattern.carry(alignment, parsed)
    edit = None if carried is None else _joined(carried, parsed)
    if alignment is None or carried is None or edit is None:
        return None
    lines = edit[1].count(b"\n") - parsed.data.count(b"\n", *edit[0])
    return Fit(leaf, alignment, carried, *edit, lines == pattern.lines)


def _joined(carried: Carried, parsed: Parsed) -> tuple[Range, bytes] | None:
    """Return one edit that makes all steps; None if it would change nothing."""
    edits = sorted(carried.edits)
    text, at = b"", edits[0][0][0]
    for (start, end), new in edits:
        if start < at:
            return None
        text += parsed.data[at:start] + new
        at = end
    span = edits[0][0][0], at
    return None if parsed.data[slice(*span)] == text else (span, text)


def _word_of(node: Node) -> Node:
    """Return the first token of a node."""
    while not is_token(node):
        node = next((each for each in node.children if each.is_named), node.children[0])
    return node


def _node_now(pattern: Pattern, level: Node) -> Node | None:
    """Return what has become of a level that lies in a container."""
    hunk, now = pattern.steps[0].hunk, pattern.changed.now
    assert now.tree is not None
    at = hunk.now[0].start_byte if hunk.now else max(hunk.now_at - 1, 0)
    node = now.tree.root_node.descendant_for_byte_range(at, at + 1)
    while node is not None and node.parent is not None:
        if is_container(node.parent) and _depth(node) == _depth(level):
            return node
        node = node.parent
    return None


def _depth(node: Node) -> int:
    """Return how many containers hold the node."""
    count = 0
    while (parent := node.parent) is not None:
        count += is_container(parent)
        node = parent
    return count


def _anchor(pattern: Pattern) -> Node | None:
    """Return the token that every other place has: the longest word that was replaced, else the one nearest to the change."""
    was = pattern.changed.was
    words = [each for step in pattern.steps for each in step.hunk.was if is_word(token_text(was, each).encode())]
    if pattern.beside and (first := _first_keyword(was, pattern.unit)) is not None:
        return first
    if words:
        return max(words, key=lambda each: each.end_byte - each.start_byte)
    at = pattern.held[0][0]
    alignment = Alignment(was, was, pattern.held)
    alignment.align(pattern.levels[0], pattern.levels[0])
    near = [each for each, _ in alignment.pairs if is_word(alignment.text(each)) and is_token(each)]
    return min(near, key=lambda each: min(abs(each.start_byte - at), abs(each.end_byte - at)), default=None)


def _first_keyword(was: Parsed, unit: Node) -> Node | None:
    """Return the keyword that a definition begins with."""
    for leaf in leaves(unit, (unit.start_byte, unit.end_byte)):
        if not leaf.is_named and is_word(token_text(was, leaf).encode()):
            return leaf
    return None


def _leaves_with(parsed: Parsed, word: bytes, kind: str, near: int) -> Iterator[Node]:
    """Yield the tokens that are this word, from an offset on and then round from the start."""
    assert parsed.tree is not None
    root = parsed.tree.root_node
    at = parsed.byte(near)
    whole = re.compile(rb"(?<![\w\x80-\xff])" + re.escape(word) + rb"(?![\w\x80-\xff])")
    found = (*islice(whole.finditer(parsed.data, at), _PLACES), *islice(whole.finditer(parsed.data, 0, at), _PLACES))
    for match in found:
        leaf = root.descendant_for_byte_range(*match.span())
        if leaf is not None and leaf.type == kind and is_token(leaf):
            yield leaf


def _levels(pattern: Pattern, anchor: Node, leaf: Node) -> Iterator[tuple[Node, Node]]:
    """Yield each level and the node that stands for it, if the leaf stands for the anchor."""
    ours: Node | None = anchor
    theirs: Node | None = leaf
    levels = set(pattern.levels)
    while ours is not None and theirs is not None and ours.type == theirs.type:
        if ours in levels and not _LIST.match(ours.type):
            yield ours, theirs
        if ours == pattern.unit:
            return
        ours, theirs = ours.parent, theirs.parent

"""Find places of the same shape where the same change is due.

One change alone is a weak sign: it has to be among alike neighbours, or the other place has to have most of its words. The
same change made twice is a strong one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.syntax.next_edit.alignment import Alignment
from palimpsest_engine.syntax.next_edit.fragments import changed_fragment
from palimpsest_engine.syntax.next_edit.pattern import Pattern, patterns_of
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene, leaves, token_text
from palimpsest_engine.syntax.next_edit.shapes import (
    has_body,
    is_comment,
    is_container,
    is_literal,
    is_word,
)
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

_CHANGES = 6  # the newest changes, which are looked at
_PATTERNS = 8  # of them all
_PLACES = 100  # where the anchor of a pattern stands
_FOUND = 10  # of them, in one document
_ALIKE = 2  # neighbours of one shape make a row, with the changed one
_LIST = re.compile(r"\w*(?:argument|parameter)s?(?:_list)?\Z|token_tree\Z")
_IMPORT = re.compile(r"import|include|use_declaration|package|using_directive")
_BINDING = re.compile(r"\w*parameters?\w*\Z|function_declarator\Z")
_BINDING_FIELDS = ("name", "left", "pattern", "declarator", "parameters", "alias")


@dataclass(frozen=True, slots=True)
class _Due:
    """A place where a pattern is due."""

    span: Range
    text: bytes
    certainty: Certainty


def siblings(scene: Scene) -> Iterator[NextEdit]:
    """Yield the change that was just made, at each place where it is due, too."""
    patterns = list(_patterns(scene))
    for age, pattern in patterns:
        same = [found for _, other in patterns if other is not pattern and (found := _same(pattern, other)) is not None]
        examples = 1 + len(same)
        common = frozenset.intersection(*same) if same else frozenset()
        if age and examples == 1:
            continue
        for name, parsed in scene.documents.items():
            if parsed.tree is None or parsed.grammar != pattern.changed.now.grammar:
                continue
            for due in _due(pattern, parsed, examples, common):
                if not any(_touches(each, parsed, due.span) for each in scene.changes):
                    text = due.text.decode("utf-8", "replace")
                    yield NextEdit(name, parsed.span(due.span), text, "sibling", _reason(scene, pattern), due.certainty)


def _patterns(scene: Scene) -> Iterator[tuple[int, Pattern]]:
    """Yield what happened in the newest changes, and which of them it was, from 0 on."""
    standing = {id(each.change): each for each in scene.changes}
    count = 0
    for age, change in enumerate(scene.question.changes[:_CHANGES]):
        changed = standing.get(id(change)) or changed_fragment(change, scene)
        if changed is None:
            continue
        for pattern in patterns_of(changed):
            yield age, pattern
            count += 1
            if count == _PATTERNS:
                return


def _same(pattern: Pattern, other: Pattern) -> frozenset[int] | None:
    """Return where the words begin that both have; None unless the same happened in both: one carried over is the other."""
    if len(pattern.steps) != len(other.steps) or pattern.changed.was.grammar != other.changed.was.grammar:
        return None
    for one in reversed(pattern.levels):
        for two in other.levels:
            alignment = pattern.align(one, other.changed.was, two) if one.type == two.type else None
            edits = None if alignment is None else pattern.carry(alignment, other.changed.was)
            if alignment is None or edits is None:
                continue
            if all(
                b"".join(text.split()) == _bare(other.changed.now, step.hunk.now)
                for (_, text), step in zip(edits, other.steps, strict=True)
            ):
                return alignment.common
            return None
    return None


def _bare(parsed: Parsed, tokens: Sequence[Node]) -> bytes:
    return "".join("".join(token_text(parsed, each).split()) for each in tokens).encode()


def _due(pattern: Pattern, parsed: Parsed, examples: int, common: frozenset[int]) -> Iterator[_Due]:
    """Yield the places in a document where a pattern is due. common: the words that all examples have."""
    seen = set[Range]()
    if _IMPORT.search(pattern.unit.type) or (examples == 1 and _is_weak(pattern)):
        return
    if parsed is pattern.changed.now:
        for level in pattern.levels:
            row = list(_row(pattern, level, examples, common))
            for span, text, has_common in row:
                if span not in seen:
                    seen.add(span)
                    is_likely = has_common if examples > 1 else len(row) >= _ALIKE
                    yield _Due(span, text, "likely" if is_likely else "possible")
    for span, text, has_common in _elsewhere(pattern, parsed, examples, common):
        if span not in seen:
            seen.add(span)
            yield _Due(span, text, "likely" if examples > 1 and has_common else "possible")


def _is_weak(pattern: Pattern) -> bool:
    """Return whether the change says nothing of other places, made once: a literal, a name that is defined, a header."""
    was, now = pattern.changed.was, pattern.changed.now
    old, new = ([each for step in pattern.steps for each in getattr(step.hunk, side)] for side in ("was", "now"))
    if pattern.beside:
        return False
    if old and new and all(map(is_literal, old)) and all(map(is_literal, new)):
        return True
    said = {token_text(was, each) for each in old}
    texts = {token_text(now, each) for each in new if is_literal(each)}
    if any(" " in text and text not in said for text in texts):
        return True  # a sentence belongs to its place
    return (has_body(pattern.unit) and pattern.unit == pattern.levels[0]) or _is_binding(pattern)


def _is_binding(pattern: Pattern) -> bool:
    """Return whether what was changed is the name that is defined there, its type, or a parameter."""
    replaced = any(step.hunk.was for step in pattern.steps)
    for node in pattern.levels:
        if node.type != pattern.unit.type and _BINDING.match(node.type):
            return True
        for i, child in enumerate(node.children):
            inside = all(
                child.start_byte <= start
                and end <= child.end_byte
                and (start < end or child.start_byte < start < child.end_byte)
                for start, end in pattern.held
            )
            if inside and node.field_name_for_child(i) == "type" and not pattern.beside:
                return True
            if inside and replaced and node.field_name_for_child(i) in _BINDING_FIELDS and "argument" not in node.type:
                return True
    return False


def _row(pattern: Pattern, level: Node, examples: int, common: frozenset[int]) -> Iterator[tuple[Range, bytes, bool]]:
    """Yield the edits at neighbours of the same shape, which follow each other without a gap, as `_elsewhere` does."""
    now = pattern.changed.now
    if level.parent is None or not is_container(level.parent) or is_literal(level):
        return
    node = _node_now(pattern, level)
    if node is None or node.parent is None or not node.is_named:
        return
    around = [each for each in node.parent.children if each.is_named and not is_comment(each)]
    if node not in around:  # half typed, it is a keyword
        return
    at = around.index(node)
    for side in (around[at + 1 :], around[:at][::-1]):
        for other in side:
            alignment = pattern.align(level, now, other)
            if alignment is None or alignment.loose or has_body(other) or not (alignment.equal or examples > 1):
                break
            edit = _edit(pattern, alignment, now)
            if edit is None:
                break
            yield (*edit, _has(alignment, common))


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


def _elsewhere(
    pattern: Pattern, parsed: Parsed, examples: int, common: frozenset[int]
) -> Iterator[tuple[Range, bytes, bool]]:
    """Yield the edits at places that have the words of the change, and whether those have all the words in common."""
    anchor = _anchor(pattern)
    if anchor is None:
        return
    was = pattern.changed.was
    word = was.data[anchor.start_byte : anchor.end_byte]
    count = 0
    for leaf in _leaves_with(parsed, word, anchor.type, pattern.changed.start if parsed is pattern.changed.now else 0):
        found = None
        for level, node in _levels(pattern, anchor, leaf):
            alignment = pattern.align(level, parsed, node)
            if alignment is None or not alignment.same_callees or not pattern.fits(level, node):
                continue
            edit = _edit(pattern, alignment, parsed) if _is_strong(pattern, alignment, examples) else None
            if edit is not None:
                found = (*edit, _has(alignment, common))
        if found is not None:
            yield found
            count += 1
            if count == _FOUND:
                return


def _has(alignment: Alignment, common: frozenset[int]) -> bool:
    """Return whether the words that all examples have are in this place, too."""
    return common & {each.start_byte for each, _ in alignment.pairs} <= alignment.common


def _is_strong(pattern: Pattern, alignment: Alignment, examples: int) -> bool:
    """Return whether a place has enough words of the change, with no more than one example in particular."""
    if examples > 1:
        return alignment.equal >= 1 or pattern.beside
    return alignment.equal >= 2 and 2 * alignment.equal >= alignment.words and alignment.loose <= 1


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
    near = [each for each, _ in alignment.pairs if is_word(alignment.text(each)) and not each.child_count]
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
        if leaf is not None and leaf.type == kind and not leaf.child_count:
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


def _edit(pattern: Pattern, alignment: Alignment, parsed: Parsed) -> tuple[Range, bytes] | None:
    """Return one edit that makes all steps at a place; None if it would change nothing."""
    edits = pattern.carry(alignment, parsed)
    if not edits:
        return None
    edits.sort()
    text, at = b"", edits[0][0][0]
    for (start, end), new in edits:
        if start < at:
            return None
        text += parsed.data[at:start] + new
        at = end
    span = edits[0][0][0], at
    return None if parsed.data[slice(*span)] == text else (span, text)


def _touches(changed: Changed, parsed: Parsed, span: Range) -> bool:
    """Return whether the span lies in what was changed."""
    start, end = changed.now_range
    return changed.now is parsed and span[0] < end and (start < span[1] or start == span[0])


def _reason(scene: Scene, pattern: Pattern) -> str:
    changed = pattern.changed
    hunk = pattern.steps[0].hunk
    if changed.now is scene.documents.get(changed.change.document):
        line = changed.now.data.count(b"\n", 0, hunk.now[0].start_byte if hunk.now else hunk.now_at) + 1
        return f"the same change as on line {line}"
    return "the same change as before"

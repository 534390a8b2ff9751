"""Say how little a change tells of other places, by what was changed alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.next_edit.pattern import Pattern
from palimpsest_engine.syntax.next_edit.scene import token_text
from palimpsest_engine.syntax.next_edit.shapes import has_body, is_literal
from palimpsest_engine.syntax.next_edit.words import count

if TYPE_CHECKING:
    from tree_sitter import Node

_BINDING = re.compile(r"\w*parameters?\w*\Z|function_declarator\Z")
_NAMES = ("name", "left", "pattern", "declarator", "alias")
_BINDING_FIELDS = (*_NAMES, "parameters")
_PLAIN = re.compile(r"[\w\s,()]+")  # names and nothing else: no member, no subscript
_TELLING = 2  # words of a literal that is not found everywhere


def is_weak(pattern: Pattern) -> bool:
    """Return whether the change says nothing of other places, made once: a literal, a name that is defined, a header."""
    old, new = _old(pattern), _new(pattern)
    if pattern.beside:
        return False
    if _is_of_literals(pattern):
        return True
    said = {token_text(pattern.changed.was, each) for each in old}
    texts = {token_text(pattern.changed.now, each) for each in new if is_literal(each)}
    if any(" " in text and text not in said for text in texts):
        return True  # a sentence belongs to its place
    return (has_body(pattern.unit) and pattern.unit == pattern.levels[0]) or _is_binding(pattern)


def is_of_its_place(pattern: Pattern) -> bool:
    """Return whether the change stays a guess, however often it was made: another parameter, another name defined."""
    lists = [each for each in pattern.levels if each != pattern.unit and _BINDING.match(each.type)]
    replaced = any(step.hunk.was and step.hunk.now for step in pattern.steps)
    if lists and not replaced and any(_is_inside(pattern, each, strictly=True) for each in lists):
        brought = [token_text(pattern.changed.now, each) for each in _new(pattern)]
        return "," in brought or any(_takes_one(pattern, each) for each in lists)
    return replaced and any(
        field in _NAMES and _PLAIN.fullmatch(token_text(pattern.changed.was, child))
        for field, child in _fields(pattern)
    )


def is_put_around(pattern: Pattern) -> bool:
    """Return whether the change put something before an expression and behind it."""
    return len(pattern.steps) > 1 and not any(step.hunk.was for step in pattern.steps)


def _takes_one(pattern: Pattern, parameters: Node) -> bool:
    """Return whether a parameter was taken out."""
    return any(
        start <= each.start_byte and each.end_byte <= end
        for each in parameters.named_children
        for start, end in pattern.held
    )


def is_of_plain_literals(pattern: Pattern) -> bool:
    """Return whether one literal has become another, and such a one stands in many places: `true`, `1`, `"optional"`."""
    texts = [token_text(pattern.changed.was, each) for each in _old(pattern)]
    return _is_of_literals(pattern) and sum(map(count, texts)) < _TELLING


def _is_of_literals(pattern: Pattern) -> bool:
    old, new = _old(pattern), _new(pattern)
    return bool(old) and bool(new) and all(map(is_literal, old)) and all(map(is_literal, new))


def _is_binding(pattern: Pattern) -> bool:
    """Return whether what was changed is the name that is defined there, its type, or a parameter."""
    replaced = any(step.hunk.was for step in pattern.steps)
    if any(node.type != pattern.unit.type and _BINDING.match(node.type) for node in pattern.levels):
        return True
    fields = [field for field, _ in _fields(pattern)]
    return ("type" in fields and not pattern.beside) or (replaced and any(each in _BINDING_FIELDS for each in fields))


def _fields(pattern: Pattern) -> Iterator[tuple[str, Node]]:
    """Yield the fields of the nodes around the change that it lies in; those of arguments are called like definitions."""
    for node in pattern.levels:
        for i, child in enumerate(node.children):
            field = node.field_name_for_child(i)
            if field is not None and (field == "type" or "argument" not in node.type) and _is_inside(pattern, child):
                yield field, child


def _is_inside(pattern: Pattern, node: Node, *, strictly: bool = False) -> bool:
    return all(
        node.start_byte <= start
        and end <= node.end_byte
        and ((start < end and not strictly) or node.start_byte < start < node.end_byte)
        for start, end in pattern.held
    )


def _old(pattern: Pattern) -> list[Node]:
    return [each for step in pattern.steps for each in step.hunk.was]


def _new(pattern: Pattern) -> list[Node]:
    return [each for step in pattern.steps for each in step.hunk.now]

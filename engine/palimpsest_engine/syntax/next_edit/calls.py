"""Read calls with their arguments from trees of any language. Knows no change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.next_edit.definitions import SPLAT, named
from palimpsest_engine.syntax.next_edit.scene import token_text
from palimpsest_engine.syntax.next_edit.shapes import is_comment
from palimpsest_engine.syntax.tree import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node

_NO_ARGUMENTS = re.compile(r"type_arguments\Z")
_ARGUMENTS = re.compile(r"(?:\w+_)?arguments(?:_list)?\Z|argument_list\Z|value_arguments\Z")


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a call. keyword: the name it is given by, or "" for its position."""

    node: Node
    keyword: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A call. name: the leaf that says what is called. bare: nothing stands before the name."""

    node: Node
    name: Node
    list: Node
    arguments: tuple[Argument, ...]
    bare: bool
    spread: bool


def calls_of(parsed: Parsed, name: str) -> Iterator[Call]:
    """Yield the calls of whatever has a name."""
    for leaf in named(parsed, name):
        found = _call_by(parsed, leaf)
        if found is not None:
            yield found


def call_around(parsed: Parsed, at: int, end: int) -> Call | None:
    """Return the innermost call whose arguments hold the range of bytes."""
    assert parsed.tree is not None
    node = parsed.tree.root_node.descendant_for_byte_range(at, end)
    while node is not None:
        if is_arguments(node) and node.parent is not None and node.start_byte < at:
            callee = node.prev_named_sibling
            leaf = None if callee is None else _last_leaf(callee)
            return None if leaf is None else _call_by(parsed, leaf)
        node = node.parent
    return None


def is_arguments(node: Node) -> bool:
    """Return whether the node holds the arguments of a call."""
    return _ARGUMENTS.match(node.type) is not None and _NO_ARGUMENTS.match(node.type) is None


def _call_by(parsed: Parsed, leaf: Node) -> Call | None:
    """Return the call that a leaf says the name of."""
    callee: Node | None = leaf
    while callee is not None and callee.end_byte == leaf.end_byte:
        behind = callee.next_named_sibling
        if behind is not None and _NO_ARGUMENTS.match(behind.type):
            behind = behind.next_named_sibling
        if (
            behind is not None
            and is_arguments(behind)
            and callee.parent is not None
            and "attribute" not in callee.parent.type
        ):
            arguments = [each for each in behind.children if each.is_named and not is_comment(each)]
            spread = any(SPLAT.match(each.type) or each.type == "variadic_argument" for each in arguments)
            bare = callee == leaf and (leaf.prev_sibling is None or leaf.prev_sibling.type == "new")
            return Call(callee.parent, leaf, behind, tuple(_argument(parsed, each) for each in arguments), bare, spread)
        callee = callee.parent
    return None


def _argument(parsed: Parsed, node: Node) -> Argument:
    if node.type == "keyword_argument" and (name := node.child_by_field_name("name")) is not None:
        return Argument(node, token_text(parsed, name))
    return Argument(node)


def _last_leaf(node: Node) -> Node:
    while node.child_count:
        node = node.children[-1]
    return node

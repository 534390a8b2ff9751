"""Find the places that list all members of a type, after it got one more: matches of an enum, values of a struct."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from palimpsest_engine.changes import NextEdit, Place
from palimpsest_engine.syntax.next_edit.definitions import is_known, named
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene, leaves, token_text
from palimpsest_engine.syntax.tree import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node

_VARIANTS = ("enum_variant",)
_FIELDS = ("field_declaration",)
_TYPES = ("enum_item", "struct_item")


def members(scene: Scene) -> Iterator[NextEdit | Place]:
    """Yield what follows from a new variant of an enum, and from a new field of a struct, in Rust, which asks for all."""
    for changed in scene.changes[:3]:
        if changed.now.grammar != "rust":
            continue
        for kind, owner, name in _added(changed):
            for document, parsed in scene.documents.items():
                if parsed.grammar == "rust":
                    found = _matches if kind == "variant" else _values
                    yield from found(document, parsed, owner, name)


def _added(changed: Changed) -> Iterator[tuple[str, str, str]]:
    """Yield the kind, the type and the name of each new member."""
    now = changed.now
    for hunk in changed.hunks:
        for token in hunk.now if not hunk.was else ():
            node = token.parent
            if node is None or node.type not in _VARIANTS + _FIELDS or node.child_by_field_name("name") != token:
                continue
            owner = node.parent.parent if node.parent is not None else None
            if owner is None or owner.type not in _TYPES:
                continue  # such as a field of a variant
            name = owner.child_by_field_name("name")
            if name is not None:
                kind = "variant" if node.type in _VARIANTS else "field"
                yield kind, token_text(now, name), token_text(now, token)


def _matches(document: str, parsed: Parsed, owner: str, variant: str) -> Iterator[Place]:
    """Yield the matches that name other variants, have no arm for all the rest, and none for this one."""
    seen = set[int]()
    for leaf in named(parsed, owner):
        block = _around(leaf, "match_block", stop="match_pattern")
        if block is None or block.id in seen:
            continue
        seen.add(block.id)
        patterns = [arm.child_by_field_name("pattern") for arm in block.named_children if arm.type == "match_arm"]
        texts = [token_text(parsed, each) for each in patterns if each is not None]
        if any(_is_rest(text) for text in texts) or any(f"{owner}::{variant}" in text for text in texts):
            continue
        span = parsed.span((block.start_byte, block.end_byte))
        yield Place(document, span, f"`{owner}` has a new variant, `{variant}`")


def _is_rest(pattern: str) -> bool:
    """Return whether a pattern takes everything: `_`, or a name."""
    return pattern.isidentifier() and not pattern[:1].isupper()


def _around(leaf: Node, kind: str, stop: str) -> Node | None:
    """Return the node of a kind around a leaf that lies in a `stop`."""
    node, passed = leaf.parent, False
    while node is not None:
        passed |= node.type == stop
        if node.type == kind:
            return node if passed else None
        node = node.parent
    return None


def _values(document: str, parsed: Parsed, owner: str, field: str) -> Iterator[NextEdit | Place]:
    """Yield the values of a struct that do not have a field: an edit where a variable of its name is known."""
    reason = f"`{owner}` has a new field, `{field}`"
    for leaf in named(parsed, owner):
        value = leaf.parent
        body = value.child_by_field_name("body") if value is not None and value.type == "struct_expression" else None
        if body is None or value is None or any(each.type == "base_field_initializer" for each in body.named_children):
            continue
        given = [_first(parsed, each) for each in body.named_children]
        if field in given:
            continue
        if given and is_known(parsed, field, value):
            last = body.named_children[-1]
            whole = parsed.data[last.start_byte - _column(last) : last.start_byte]
            between = b"\n" + whole if not whole.strip() else b" "
            comma = parsed.data[last.end_byte : last.end_byte + 1] == b","
            at = last.end_byte + comma
            text = ("" if comma else ",") + between.decode() + field + ("," if comma else "")
            yield NextEdit(document, parsed.span((at, at)), text, "argument", reason, "likely")
        else:
            yield Place(document, parsed.span((value.start_byte, value.end_byte)), reason)


def _first(parsed: Parsed, node: Node) -> str:
    return next((token_text(parsed, each) for each in leaves(node, (node.start_byte, node.end_byte))), "")


def _column(node: Node) -> int:
    return node.start_point[1]

"""Name the parts of a tree that a person would call one thing: statements, elements, bodies, words, literals.

Grammars of different languages use much the same names, so that patterns of names will do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

_BODY = re.compile(
    r"(?:(?:\w+_)?(?:block|body|statements?_list|declaration_list|compound_statement|variant_list|enumerator_list|"
    r"match_block|match_arms|accessor_list|switch_section)|statements|do_group|object_type|suite)\Z"
)
_CONTAINER = re.compile(
    r"(?:module|program|source_file|source|translation_unit|compilation_unit|document|chunk|stylesheet|config|"
    r"object|array|dictionary|list|set|tuple|hash|(?:\w+_)?initializer(?:_list)?|literal_value|array_expression|"
    r"\w*array_initializer|table_constructor|(?:\w+_)?spec_list|interface_type|class_body|"
    r"expression_case|default_case|type_case|switch_case|switch_default|case_statement|switch_block_statement_group|"
    r"expression_switch_statement|type_switch_statement|block_mapping|block_sequence|table|element|ERROR)\Z"
)
_LITERAL_LIST = re.compile(
    r"(?:object|array|dictionary|list|set|tuple|hash|(?:\w+_)?initializer(?:_list)?|literal_value|array_expression|"
    r"\w*array_initializer|table_constructor|literal_element|block_sequence)\Z"
)
_BESIDE = re.compile(r"(?:\w+_)?(?:decorator|attribute(?:_item|_list)?|annotation)\Z")
_COMMENT = re.compile(r"\w*comment\w*\Z")
_LITERAL = re.compile(
    r"\w*(?:string|char|number|numeric|integer|int|float|boolean|rune|decimal)\w*|true|false|True|False|none|None|null|nil|"
    r"escape_sequence|template_chars|heredoc\w*"
)
_NO_LITERAL = re.compile(r"\w*(?:identifier|type)\w*\Z")  # `type_identifier` and `integral_type` hold "int", too
_WORD = re.compile(rb"(?!\d)[\w\x80-\xff]+\Z")


def is_body(node: Node) -> bool:
    """Return whether the node holds the statements or members of a definition, or of a statement with a body."""
    return _BODY.match(node.type) is not None


def is_container(node: Node) -> bool:
    """Return whether the node's children are things of a kind: statements, members, elements."""
    return _CONTAINER.match(node.type) is not None or is_body(node)


def is_beside(node: Node) -> bool:
    """Return whether the node stands before a definition and says something of it: a decorator, an attribute."""
    return _BESIDE.match(node.type) is not None


def is_comment(node: Node) -> bool:
    """Return whether the node is a comment."""
    return _COMMENT.match(node.type) is not None


def is_token(node: Node) -> bool:
    """Return whether the node is one token: a leaf, or what stands in a string, of which only the escapes are nodes."""
    return not node.child_count or node.type == "string_content"


def is_literal(node: Node) -> bool:
    """Return whether the leaf is a literal, or a part of one."""
    return _LITERAL.match(node.type) is not None and _NO_LITERAL.match(node.type) is None


def is_word(text: bytes) -> bool:
    """Return whether a text is one word."""
    return _WORD.match(text) is not None


def unit_of(node: Node) -> Node:
    """Return the statement, member or case that holds the node, or else its element; the node itself if nothing does.

    An element of an element, as in a table, is not a unit: the row is.
    """
    while (parent := node.parent) is not None and (
        not is_container(parent)
        or (_is_literal_list(parent) and parent.parent is not None and _is_literal_list(parent.parent))
    ):
        node = parent
    return node


def _is_literal_list(node: Node) -> bool:
    return _LITERAL_LIST.match(node.type) is not None


def ancestors(node: Node, last: Node) -> Iterator[Node]:
    """Yield the node and those around it, up to `last`."""
    at: Node | None = node
    while at is not None:
        yield at
        if at == last:
            return
        at = at.parent


def has_body(node: Node) -> bool:
    """Return whether a body lies in the node, not deep."""
    return any(is_body(child) or any(map(is_body, child.children[-3:])) for child in node.children[-4:])

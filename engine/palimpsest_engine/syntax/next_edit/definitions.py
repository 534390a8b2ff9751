"""Read definitions of functions with their parameters from trees of any language. Knows no call and no change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.next_edit.scene import Scene, leaves, token_text
from palimpsest_engine.syntax.next_edit.shapes import is_comment
from palimpsest_engine.syntax.tree import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node

_PARAMETERS = re.compile(r"(?:\w+_)?parameters\Z|parameter_list\Z|function_value_parameters\Z")
_FUNCTION = re.compile(
    r"(?:\w+_)?(?:function|method|constructor|closure)_?(?:\w+_)?(?:definition|declaration|item|expression)?\Z|"
    r"function_definition|arrow_function|lambda|func_literal|record_declaration|method_signature|closure_expression"
)
_OPTIONAL = re.compile(r"(?:\w+_)?(?:default|optional)_\w*parameter\Z")
SPLAT = re.compile(r"(?:\w*splat\w*|rest_pattern|spread\w*|variadic\w*)\Z")
_OWN = ("self", "cls", "this")
_CONSTRUCTORS = ("__init__", "constructor", "__new__")
_MOST = 100  # occurrences of a name in a document


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter. optional: a call may leave it out. keyword: a call has to name it. splat: it takes any number."""

    name: str
    node: Node
    optional: bool = False
    keyword: bool = False
    splat: bool = False


@dataclass(frozen=True, slots=True)
class Definition:
    """A function with its parameters, but for the object that its calls stand behind.

    name: what its calls say. own: its own name, which is another one in constructors.
    """

    name: str
    own: str
    node: Node
    list: Node
    parameters: tuple[Parameter, ...]
    member: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Return the parameters' names."""
        return tuple(each.name for each in self.parameters)

    @property
    def takes_any(self) -> bool:
        """Return whether it takes any number of arguments."""
        return any(each.splat for each in self.parameters)


def definition_around(parsed: Parsed, at: int, end: int) -> Definition | None:
    """Return the definition whose parameters hold the range of bytes."""
    assert parsed.tree is not None
    node = parsed.tree.root_node.descendant_for_byte_range(at, end)
    while node is not None:
        if _PARAMETERS.match(node.type) and node.parent is not None:
            return _definition(parsed, node)
        if _FUNCTION.match(node.type) and (found := _parameters_of(node)) is not None:
            return _definition(parsed, found) if at <= found.end_byte else None
        node = node.parent
    return None


def definitions_of(parsed: Parsed, name: str) -> Iterator[Definition]:
    """Yield the functions of a name."""
    for leaf in named(parsed, name):
        found = _defined_by(leaf)
        if found is not None and (definition := _definition(parsed, found)) is not None and definition.node != leaf:
            yield definition


def function_around(node: Node) -> Node | None:
    """Return the innermost function around a node."""
    at = node.parent
    while at is not None and not _FUNCTION.match(at.type):
        at = at.parent
    return at


def is_known(parsed: Parsed, name: str, at: Node) -> bool:
    """Return whether the function around a node has a variable of a name before it."""
    function = function_around(at)
    if function is None:
        return False
    return any(
        function.start_byte <= leaf.start_byte < at.start_byte and not _is_member(leaf) for leaf in named(parsed, name)
    )


def named(parsed: Parsed, name: str) -> Iterator[Node]:
    """Yield the leaves that are this name."""
    if parsed.tree is None:
        return
    word = re.compile(rb"(?<![\w\x80-\xff])" + re.escape(name.encode()) + rb"(?![\w\x80-\xff])")
    for i, match in enumerate(word.finditer(parsed.data)):
        if i == _MOST:
            return
        leaf = parsed.tree.root_node.descendant_for_byte_range(*match.span())
        if leaf is not None and not leaf.child_count and "identifier" in leaf.type:
            yield leaf


def only_definition(scene: Scene, name: str, own: str, grammar: str) -> tuple[Parsed, Definition] | None:
    """Return the one function that calls of a name mean, in all documents of a language; None unless there is one."""
    found = [
        (parsed, each)
        for parsed in scene.documents.values()
        if parsed.grammar == grammar
        for each in definitions_of(parsed, own)
        if each.name == name
    ]
    return found[0] if len(found) == 1 else None


def _definition(parsed: Parsed, found: Node) -> Definition | None:
    function = found.parent
    if function is None:
        return None
    name = _name_of(parsed, function)
    if not name:
        return None
    parameters = tuple(_parameters(parsed, found))
    bound = bool(parameters) and parameters[0].name in _OWN
    member, called = bound or _in_class(function), name
    if name in _CONSTRUCTORS:
        called, member = _class_name(parsed, function), False
    return (
        Definition(called, name, function, found, parameters[1:] if bound else parameters, member) if called else None
    )


def _parameters_of(function: Node) -> Node | None:
    for child in function.children:
        if _PARAMETERS.match(child.type):
            found = child
            # in Go, the receiver stands before them
            return function.child_by_field_name("parameters") or found
        if "declarator" in child.type and (inner := _parameters_of(child)) is not None:
            return inner
    return None


def _name_of(parsed: Parsed, function: Node) -> str:
    name = function.child_by_field_name("name") or function.child_by_field_name("declarator")
    if name is not None:
        return token_text(parsed, name) if not name.child_count else ""
    outer = function.parent
    if outer is not None and outer.type in (
        "variable_declarator",
        "pair",
        "public_field_definition",
        "field_definition",
    ):
        name = outer.child_by_field_name("name") or outer.child_by_field_name("key")
        return token_text(parsed, name) if name is not None and not name.child_count else ""
    return ""


def _defined_by(leaf: Node) -> Node | None:
    """Return the parameters of the function that a leaf is the name of."""
    parent = leaf.parent
    if parent is None:
        return None
    if leaf in (parent.child_by_field_name("name"), parent.child_by_field_name("declarator")):
        if (found := _parameters_of(parent)) is not None and not parent.type.startswith("call"):
            return found
        value = parent.child_by_field_name("value")
        return _parameters_of(value) if value is not None and _FUNCTION.match(value.type) else None
    return None


def _class_name(parsed: Parsed, node: Node) -> str:
    at = node.parent
    while at is not None:
        if "class" in at.type and (name := at.child_by_field_name("name")) is not None:
            return token_text(parsed, name)
        at = at.parent
    return ""


def _in_class(function: Node) -> bool:
    body = function.parent
    if body is not None and body.type == "decorated_definition":
        body = body.parent
    outer = None if body is None else body.parent
    kinds = ("class", "interface", "impl", "struct", "trait", "object", "enum", "record")
    return function.child_by_field_name("receiver") is not None or (
        outer is not None and any(kind in outer.type for kind in kinds)
    )


def _parameters(parsed: Parsed, found: Node) -> Iterator[Parameter]:
    keyword = False
    for child in found.children:
        if child.type in ("*", "keyword_separator"):
            keyword = True
        if not child.is_named or is_comment(child) or child.type in ("self_parameter", "positional_separator"):
            continue
        if child.type == "keyword_separator":
            continue
        splat = SPLAT.match(child.type) is not None or any(SPLAT.match(each.type) for each in child.children)
        optional = _OPTIONAL.match(child.type) is not None or any(each.type in ("=", "?") for each in child.children)
        names = list(_names_in(child))
        for leaf in names:
            yield Parameter(token_text(parsed, leaf), child, optional or splat, keyword and not splat, splat)
        keyword |= splat and "dictionary" not in child.type and parsed.grammar == "python"


def _names_in(node: Node) -> Iterator[Node]:
    """Yield the names that a parameter declares: several in Go."""
    if not node.child_count:
        if "identifier" in node.type or node.type == "this":
            yield node
        return
    names = node.children_by_field_name("name")
    for field in ("pattern", "declarator"):
        if not names and (inner := node.child_by_field_name(field)) is not None:
            names = [inner]
    if not names and node.named_child_count:
        names = [each for each in node.named_children if "identifier" in each.type or SPLAT.match(each.type)][:1]
    for name in names:
        if not name.child_count:
            yield name
        else:
            inside = leaves(name, (name.start_byte, name.end_byte))
            yield from [each for each in inside if "identifier" in each.type][:1]


def _is_member(leaf: Node) -> bool:
    before = leaf.prev_sibling
    return before is not None and before.type in (".", "->", "::", "?.")

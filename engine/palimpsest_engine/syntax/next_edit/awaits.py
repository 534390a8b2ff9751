"""Find the calls of a function that became `async`, and the function that has to become so around a new `await`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.syntax.next_edit.calls import Call, calls_of
from palimpsest_engine.syntax.next_edit.definitions import definition_around, function_around, only_definition
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene, token_text
from palimpsest_engine.syntax.next_edit.shapes import is_body
from palimpsest_engine.syntax.tree import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node

_LANGUAGES = ("python", "javascript", "typescript", "tsx")
_HEADER = {"python": "def"}  # the keyword that `async` stands before; elsewhere it is the first token
_TIGHTER = ("attribute", "member_expression", "subscript", "subscript_expression")  # bind tighter than `await`
_AWAITING = ("await", "await_expression")


def awaits(scene: Scene) -> Iterator[NextEdit]:
    """Yield an `await` at each call of what was made `async`, and `async` around what was made to wait."""
    for changed in scene.changes[:3]:
        if changed.now.grammar not in _LANGUAGES:
            continue
        for hunk in changed.hunks:
            words = [token_text(changed.now, each) for each in hunk.now]
            if "async" in words and not any(token_text(changed.was, each) == "async" for each in hunk.was):
                yield from _at_calls(scene, changed, hunk.now[words.index("async")])
            if "await" in words:
                yield from _around(changed, hunk.now[words.index("await")])


def _at_calls(scene: Scene, changed: Changed, word: Node) -> Iterator[NextEdit]:
    """Yield `await` at the calls of a function."""
    function = word.parent
    if function is None:
        return
    found = next((child for child in function.children if "parameters" in child.type), None)
    definition = definition_around(changed.now, found.start_byte, found.end_byte) if found is not None else None
    if definition is None:
        return
    only = only_definition(scene, definition.name, definition.own, changed.now.grammar)
    if only is None or only[1].node != definition.node:
        return
    for name, parsed in scene.documents.items():
        if parsed.grammar not in _LANGUAGES:
            continue
        for call in calls_of(parsed, definition.name):
            if not call.bare and not definition.member and parsed is changed.now:
                continue
            function = function_around(call.node)
            if function is None or function.type == "lambda" or not _waits_for_nothing(call):
                continue
            reason = f"`{definition.name}` is async now"
            if _is_async(function):
                yield _edit(name, parsed, call, reason)
            elif (header := _header(name, parsed, function, reason, "likely")) is not None:
                yield header  # the `await` comes after it: nothing else may have one


def _edit(document: str, parsed: Parsed, call: Call, reason: str) -> NextEdit:
    start, end = call.node.start_byte, call.node.end_byte
    outer = call.node.parent
    if outer is not None and outer.type in _TIGHTER and outer.start_byte == start:
        text = f"(await {token_text(parsed, call.node)})"
        return NextEdit(document, parsed.span((start, end)), text, "argument", reason, "likely")
    return NextEdit(document, parsed.span((start, start)), "await ", "argument", reason, "likely")


def _waits_for_nothing(call: Call) -> bool:
    """Return whether the call's value is neither awaited nor handed on, as to a task."""
    node = call.node.parent
    if node is None or node.type in _AWAITING:
        return False
    if node.type in ("attribute", "member_expression") and (behind := node.next_named_sibling) is not None:
        return "argument" not in behind.type  # `.then(…)`
    return "argument" not in node.type and node.type not in (
        "list",
        "array",
        "tuple",
        "pair",
        "keyword_argument",
        "arrow_function",
    )


def _around(changed: Changed, word: Node) -> Iterator[NextEdit]:
    """Yield `async` at the function around a new `await`, if that is none."""
    function = function_around(word)
    if function is None or function.type == "lambda" or _is_async(function):
        return
    edit = _header(changed.change.document, changed.now, function, "a function that waits is async", "sure")
    if edit is not None:
        yield edit


def _header(document: str, parsed: Parsed, function: Node, reason: str, certainty: Certainty) -> NextEdit | None:
    """Return the edit that makes a function `async`."""
    keyword = _HEADER.get(parsed.grammar)
    at = next((child for child in function.children if child.type == keyword), None) if keyword else _start(function)
    if at is None:
        return None
    return NextEdit(document, parsed.span((at.start_byte, at.start_byte)), "async ", "argument", reason, certainty)


def _is_async(function: Node) -> bool:
    return any(child.type == "async" for child in function.children if not is_body(child))


def _start(function: Node) -> Node | None:
    """Return the token that `async` stands before: modifiers of a method come first."""
    modifiers = ("accessibility_modifier", "static", "override_modifier", "readonly", "decorator", "abstract")
    return next((child for child in function.children if child.type not in modifiers), None)

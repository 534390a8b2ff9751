"""Finds the holes of a text: markers in any language, unwritten bodies in Python; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from palimpsest_engine import Span
from palimpsest_engine.syntax.grammars import load

if TYPE_CHECKING:
    from tree_sitter import Node

MARKER = "<|hole|>"
_DECLARED_ONLY = re.compile(r"\b(?:abstractmethod|overload)\b")
_NOT_IMPLEMENTED = re.compile(r"raise\s+NotImplementedError\b(?:\s*\(.*\))?", re.DOTALL)


def holes_in(text: str, language: str | None) -> tuple[Span, ...]:
    """Return every hole, sorted. language: a grammar's name or None.

    A hole is a marker, or a `...`, `pass` or `raise NotImplementedError` that is the whole body of a Python function,
    except for its docstring and comments. Abstract methods, overloads and methods of a `Protocol` are no holes.
    """
    found = [Span(match.start(), match.end()) for match in re.finditer(re.escape(MARKER), text)]
    if language == "python":
        found += (span for span in _unwritten_bodies(text) if MARKER not in text[span.start : span.end])
    return tuple(sorted(found))


def without_markers(text: str, holes: tuple[Span, ...]) -> tuple[str, tuple[Span, ...]]:
    """Remove the markers from a text, and return it with its holes moved accordingly.

    A marker is no code, and must not count as an old syntax error. Filling the holes of either text gives the same text.
    """
    kept, spans, at, removed = [], [], 0, 0
    for hole in holes:
        marker = text[hole.start : hole.end] == MARKER
        end = hole.start if marker else hole.end
        kept.append(text[at:end])
        spans.append(Span(hole.start - removed, end - removed))
        removed += hole.end - end
        at = hole.end
    return "".join((*kept, text[at:])), tuple(spans)


def _unwritten_bodies(text: str) -> Iterator[Span]:
    from tree_sitter import Parser, Query, QueryCursor

    data = text.encode()
    grammar = load("python")
    query = Query(grammar, "(function_definition body: (block)) @function")
    for node in QueryCursor(query).captures(Parser(grammar).parse(data).root_node).get("function", []):
        body = node.child_by_field_name("body")
        assert body is not None, "the query asks for a body"
        placeholder = _placeholder(body)
        if placeholder is not None and not _only_declares(node):
            yield Span(_code_points(data, placeholder.start_byte), _code_points(data, placeholder.end_byte))


def _placeholder(body: Node) -> Node | None:
    """Return the only statement of a body if it is a placeholder."""
    statements = [node for node in body.named_children if node.type != "comment"]
    if len(statements) == 2 and _is_expression(statements[0], "string"):
        del statements[0]
    if len(statements) != 1:
        return None
    only = statements[0]
    if only.type == "pass_statement" or _is_expression(only, "ellipsis"):
        return only
    if only.type == "raise_statement" and _NOT_IMPLEMENTED.fullmatch(_text(only)):
        return only
    return None


def _is_expression(node: Node, kind: str) -> bool:
    return node.type == "expression_statement" and [child.type for child in node.named_children] == [kind]


def _only_declares(function: Node) -> bool:
    outer = function.parent
    if outer is not None and outer.type == "decorated_definition":
        if any(_DECLARED_ONLY.search(_text(node)) for node in outer.named_children if node.type == "decorator"):
            return True
        outer = outer.parent
    holder = outer.parent if outer is not None else None
    if holder is None or holder.type != "class_definition":
        return False
    bases = holder.child_by_field_name("superclasses")
    return bases is not None and re.search(r"\bProtocol\b", _text(bases)) is not None


def _text(node: Node) -> str:
    return (node.text or b"").decode(errors="replace")


def _code_points(data: bytes, offset: int) -> int:
    return len(data[:offset].decode())

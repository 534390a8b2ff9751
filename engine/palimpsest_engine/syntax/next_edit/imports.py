"""Imports that a change left without a use, and names that it began to use and that another open document imports.

Names are counted as words: one that stands in a string or a comment, too, is left alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.request import Span
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene, token_text
from palimpsest_engine.syntax.next_edit.scopes import Scopes
from palimpsest_engine.syntax.tree import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node

_STATEMENTS = {
    "python": ("import_statement", "import_from_statement"),
    "javascript": ("import_statement",),
    "typescript": ("import_statement",),
    "tsx": ("import_statement",),
    "java": ("import_declaration",),
    "go": ("import_spec",),
    "rust": ("use_declaration",),
    "kotlin": ("import",),
}
_ITEMS = (
    "dotted_name",
    "aliased_import",
    "import_specifier",
    "use_as_clause",
    "scoped_identifier",
    "identifier",
    "qualified_identifier",
)
_ECMA = ("javascript", "typescript", "tsx")
_WORD = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that an import binds. item: the node of it alone, or the statement; alone: the statement binds no other."""

    name: str
    item: Node
    statement: Node
    alone: bool


def imports(scene: Scene) -> Iterator[NextEdit]:
    """Yield the edits of imports that follow from the changes."""
    for changed in scene.changes:
        if changed.now.grammar not in _STATEMENTS:
            continue
        was, now = (_words(changed, before=before) for before in (True, False))
        bound = list(imported(changed.now))
        if gone := was - now:
            yield from _unused(changed, bound, gone)
        if new := now - was:
            yield from _missing(scene, changed, bound, new)


def imported(parsed: Parsed) -> Iterator[Imported]:
    """Yield what the imports of a document bind, in order; not those inside of `try`, of a function or of a condition."""
    assert parsed.tree is not None
    kinds = _STATEMENTS.get(parsed.grammar, ())
    for statement in _statements(parsed.tree.root_node, kinds):
        items = list(_items(parsed.grammar, statement))
        for item in items:
            if name := _bound(parsed, item):
                yield Imported(name, item, statement, len(items) == 1)


def _statements(root: Node, kinds: tuple[str, ...]) -> Iterator[Node]:
    for node in root.children:
        if node.type in kinds:
            yield node
        elif node.type in ("import_declaration", "import_spec_list"):  # of Go
            yield from _statements(node, kinds)


def _items(grammar: str, statement: Node) -> Iterator[Node]:
    """Yield the nodes that bind a name each."""
    if grammar == "go":
        yield statement
    elif grammar == "java":
        if not any(each.type == "asterisk" for each in statement.children):
            yield from (each for each in statement.children if each.type == "scoped_identifier")
    elif grammar == "kotlin":
        if len(statement.named_children) == 1 and not any(each.type == "*" for each in statement.children):
            yield statement.named_children[0]  # not one with another name
    elif grammar == "python":
        yield from statement.children_by_field_name("name")
    elif grammar in _ECMA:
        clause = next((each for each in statement.children if each.type == "import_clause"), None)
        for part in clause.named_children if clause is not None else ():
            yield from part.named_children if part.type == "named_imports" else (part,)
    else:
        argument = statement.child_by_field_name("argument")
        yield from _of_use(argument) if argument is not None else ()


def _of_use(node: Node) -> Iterator[Node]:
    if node.type in ("use_list", "scoped_use_list"):
        inner = node if node.type == "use_list" else node.child_by_field_name("list")
        for each in inner.named_children if inner is not None else ():
            yield from _of_use(each)
    else:
        yield node


def _bound(parsed: Parsed, item: Node) -> str:
    """Return the name that an item binds, or "" where that is not to be seen."""
    text = token_text(parsed, item)
    if parsed.grammar == "go":
        named = item.child_by_field_name("name")
        path = text.rpartition('"')[0].rpartition('"')[2]
        name = token_text(parsed, named) if named is not None else path.rpartition("/")[2]
        return name if _WORD.fullmatch(name) and name != "_" else ""
    alias = item.child_by_field_name("alias")
    if alias is not None:
        return token_text(parsed, alias)
    if item.type == "import_specifier" and (plain := item.child_by_field_name("name")) is not None:
        return token_text(parsed, plain)
    if item.type == "namespace_import":
        return text.rpartition(" ")[2]
    if item.type == "dotted_name" and item.parent is not None and item.parent.type == "import_statement":
        return text.partition(".")[0]  # `import a.b` binds a
    return text.rpartition(".")[2].rpartition("::")[2] if item.type in _ITEMS else ""


# Imports without a use


def _unused(changed: Changed, bound: list[Imported], gone: set[str]) -> Iterator[NextEdit]:
    now, path = changed.now, PurePath(changed.change.document).name
    if path == "__init__.py" or path.endswith(".d.ts"):
        return  # what is imported there is for others
    for each in bound:
        if each.name not in gone or _count(now, each.name) != _count_in(now, each.name, each.statement):
            continue
        if token_text(now, each.statement).startswith(("from __future__", "pub ")) or each.name == "React":
            continue
        place = _whole_lines(now, each.statement) if each.alone else _in_list(now, each.item)
        if place is not None:
            yield NextEdit(
                changed.change.document,
                place,
                "",
                "import",
                f"`{each.name}` is not used any more",
                "likely",  # the code that used it may be on its way to another place
            )


def _whole_lines(parsed: Parsed, node: Node) -> Span | None:
    """Return the lines of a statement; None if anything else stands there."""
    data, start, end = parsed.data, node.start_byte, node.end_byte
    if parsed.grammar == "go" and node.parent is not None and node.parent.type == "import_declaration":
        start, end = node.parent.start_byte, node.parent.end_byte
    first = data.rfind(b"\n", 0, start) + 1
    last = data.find(b"\n", end)
    last = len(data) if last < 0 else last + 1
    if data[first:start].strip() or data[end:last].strip():
        return None
    return parsed.span((first, last))


def _in_list(parsed: Parsed, item: Node) -> Span | None:
    """Return an item of a list with the comma behind it, or else before it; None if it is the only one of its braces."""
    after, before = item.next_sibling, item.prev_sibling
    if after is not None and after.type == ",":
        line = parsed.data[parsed.data.rfind(b"\n", 0, item.start_byte) + 1 : item.start_byte]
        if not line.strip() and parsed.data[after.end_byte : after.end_byte + 1] == b"\n":  # it has its line
            return parsed.span((item.start_byte - len(line), after.end_byte + 1))
        end = after.next_sibling
        inside = end is not None and end.is_named
        return parsed.span((item.start_byte, end.start_byte if end is not None and inside else after.end_byte))
    if before is not None and before.type == ",":
        return parsed.span((before.start_byte, item.end_byte))
    return None


# Names without an import


def _missing(scene: Scene, changed: Changed, bound: list[Imported], new: set[str]) -> Iterator[NextEdit]:
    now = changed.now
    known = {each.name for each in bound}
    for name in sorted(new - known):
        # Any other word like it may define it.
        if _count(now, name) != sum(_count_text(text, name) for text in _added(changed)):
            continue
        if re.search(
            rf"\b{name}\s*(=[^=]|:=|:)|\b(def|class|fn|func|function|let|const|var|type)\s+{name}\b", now.text
        ):
            continue
        line = _elsewhere(scene, now, name) or _standard(changed, name)
        if line is None:
            continue
        text, where, certainty = line
        at = _place(now, text)
        if at is not None:
            reason = f"`{name}` is imported in {where}" if where else f"`{name}` is a module of the standard library"
            yield NextEdit(changed.change.document, Span(at, at), text, "import", reason, certainty)


def _elsewhere(scene: Scene, now: Parsed, name: str) -> tuple[str, str, Certainty] | None:
    """Return the import of a name by itself, as another open document has it, that document's name, and how sure it is."""
    found = dict[str, str]()
    for document, parsed in scene.documents.items():
        if parsed is not now and parsed.grammar == now.grammar and parsed.tree is not None and parsed.grammar != "go":
            for each in imported(parsed):
                text = token_text(parsed, each.statement)
                if each.name == name and each.alone and not text.startswith(("from .", "use super", "use self")):
                    found.setdefault(text, PurePath(document).name)
    if len(found) != 1:
        return None
    ((text, where),) = found.items()
    return (text + "\n", where, "likely") if "./" not in text else None


def _standard(changed: Changed, name: str) -> tuple[str, str, Certainty] | None:
    if changed.now.grammar != "python" or name not in sys.stdlib_module_names:
        return None
    scopes = Scopes(changed.now)
    for node in (each for hunk in changed.hunks for each in hunk.now):
        parent = node.parent
        if parent is not None and parent.type == "attribute" and parent.child_by_field_name("object") == node:
            use = scopes.at(node.byte_range) if token_text(changed.now, node) == name else None
            if use is not None and use.role == "reference" and not scopes.resolve(use):
                return f"import {name}\n", "", "likely"
    return None


def _place(now: Parsed, text: str) -> int | None:
    """Return where an import line belongs: in order among the others if they are in order, or else behind the last one."""
    assert now.tree is not None
    kinds = _STATEMENTS[now.grammar]
    lines = list(_statements(now.tree.root_node, kinds))
    if now.grammar == "python":  # `import x` and `from x import` are two blocks
        lines = [each for each in lines if token_text(now, each)[:4] == text[:4]] or lines
    if not lines:
        return None
    texts = [token_text(now, each) for each in lines]
    behind = lines[-1]
    if texts == sorted(texts):
        smaller = [each for each, other in zip(lines, texts, strict=True) if other < text]
        if not smaller:
            return now.span((lines[0].start_byte, lines[0].start_byte)).start
        behind = smaller[-1]
    end = now.data.find(b"\n", behind.end_byte) + 1
    return now.span((end, end)).start if end else None


# Words


def _words(changed: Changed, *, before: bool) -> set[str]:
    tokens = (node for hunk in changed.hunks for node in (hunk.was if before else hunk.now))
    parsed = changed.was if before else changed.now
    return {word for node in tokens for word in _WORD.findall(token_text(parsed, node))}


def _added(changed: Changed) -> list[str]:
    return [token_text(changed.now, node) for hunk in changed.hunks for node in hunk.now]


def _count(parsed: Parsed, name: str) -> int:
    return _count_text(parsed.text, name)


def _count_in(parsed: Parsed, name: str, node: Node) -> int:
    return _count_text(token_text(parsed, node), name)


def _count_text(text: str, name: str) -> int:
    return sum(1 for _ in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text))

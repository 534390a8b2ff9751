"""Follow a renamed field, method or parameter to where it is named by `self.`, `this.`, or as a keyword of a call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.syntax.next_edit.renamed import Renamed, as_edit, renamed_by, side
from palimpsest_engine.syntax.next_edit.scene import Scene
from palimpsest_engine.syntax.next_edit.scopes import Occurrence, Scope, Scopes
from palimpsest_engine.syntax.tree import Range

if TYPE_CHECKING:
    from tree_sitter import Node

_INHERITS = re.compile(rb"class\b[^{:]*?(\(\s*\w|\bextends\b|\bimplements\b)[^{:]*[{:]?\s*\Z")
_ANY_KEYWORD = re.compile(rb"\*\*")


def attributes(scene: Scene) -> Iterator[NextEdit]:
    """Yield the uses of members by `self.` or `this.`, and the keywords of parameters."""
    for changed in scene.changes:
        scopes = Scopes(changed.now)
        for renamed in renamed_by(changed, scopes):
            if renamed.role.role == "definition" and renamed.role.kind == "parameter":
                found = _keywords(scopes, renamed)
            elif (home := _home(renamed.role)) is not None and _defines(renamed.role, home):
                found = _of_class(scopes, renamed, home)
            else:
                continue
            for use, certainty in found:
                where = side(use, renamed)
                yield as_edit(changed.change.document, scopes.parsed, use, renamed, where, certainty)


def _home(role: Occurrence) -> Scope | None:
    """Return the innermost class that something stands in."""
    return next((each for each in reversed(role.path) if each.kind in ("class", "members")), None)


def _defines(role: Occurrence, home: Scope) -> bool:
    if role.role == "definition":
        return role.scope == home
    return role.role == "member" and role.kind == "self" and role.written


def _of_class(scopes: Scopes, renamed: Renamed, home: Scope) -> Iterator[tuple[Occurrence, Certainty]]:
    own = [each for each in scopes.of(renamed.old) if _home(each) == home]
    if any(each.role == "definition" and each.scope == home for each in own):
        return
    uses = [each for each in own if each.role == "member" and each.kind == "self"]
    if renamed.role.role == "member" and any(each.written and each.place < renamed.role.place for each in uses):
        return
    taken = [each for each in scopes.of(renamed.new) if _home(each) == home and each != renamed.role]
    if any(
        (each.role == "definition" and each.scope == home) or (each.kind == "self" and each.written) for each in taken
    ):
        return
    header = scopes.parsed.data[max(0, home.place[0] - 300) : home.place[0]]
    is_own = renamed.new.startswith("#") or not _INHERITS.search(header)  # a private name has no heirs
    sure = is_own and not any(each.written for each in uses)
    for use in uses:
        yield use, "sure" if sure else "likely"


def _keywords(scopes: Scopes, renamed: Renamed) -> Iterator[tuple[Occurrence, Certainty]]:
    """Yield the keywords at calls of the function whose parameter was renamed."""
    function = _item(scopes, renamed.role.scope)
    name = None if function is None else function.child_by_field_name("name")
    parameters = None if function is None else function.child_by_field_name("parameters")
    called = None if name is None else scopes.at(name.byte_range)
    if called is None or parameters is None or called.role != "definition":
        return
    if scopes.definitions(renamed.old, renamed.role.scope):
        return
    certainty: Certainty = "likely" if _ANY_KEYWORD.search(scopes.parsed.data, *parameters.byte_range) else "sure"
    for use in scopes.of(renamed.old):
        if use.role == "keyword" and use.other is not None and _calls(scopes, use.other, use, called):
            yield use, certainty


def _calls(scopes: Scopes, callee: Range, use: Occurrence, called: Occurrence) -> bool:
    """Return whether a callee is certainly this function, and no other of its name."""
    if len(scopes.definitions(called.name, called.scope)) != 1:
        return False
    home = _home(called) if called.scope.kind in ("class", "members") else None
    if home is None:
        there = scopes.at(callee)
        return there is not None and there.role == "reference" and called in scopes.resolve(there)
    if called.name == "__init__":
        there = scopes.at(callee)
        classes = scopes.resolve(there) if there is not None and there.role == "reference" else ()
        return len(classes) == 1 and _body(classes[0]) is not None and _holds(classes[0], home)
    data = scopes.parsed.data[slice(*callee)]
    end = callee[1] - len(called.name.encode()), callee[1]
    there = scopes.at(end) if data.endswith(called.name.encode()) else None
    return there is not None and there.role == "member" and there.kind == "self" and _home(use) == home


def _body(definition: Occurrence) -> Range | None:
    return definition.other if definition.kind == "class" else None


def _holds(definition: Occurrence, home: Scope) -> bool:
    """Return whether this class's own body is the scope: it ends where the class ends."""
    body = _body(definition)
    return body is not None and body[0] <= home.place[0] and body[1] == home.place[1]


def _item(scopes: Scopes, scope: Scope) -> Node | None:
    tree = scopes.parsed.tree
    node = None if tree is None or scope.kind != "function" else tree.root_node.descendant_for_byte_range(*scope.place)
    while node is not None and node.byte_range == scope.place and node.child_by_field_name("name") is None:
        node = node.parent
    return node if node is not None and node.byte_range == scope.place else None

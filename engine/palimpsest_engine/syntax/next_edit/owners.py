"""Tell of which type a field, method or variant is, where it is defined and where it is used. Knows no change and no edit.

Only occurrences of a name that is asked for are looked at, as in `scopes.py`. `queries/fields/<grammar>.scm` describes a
language:

- `home`: a node in which `self` is of the `type`; `alias`: another name of that; `receiver`: what `self` is called there.
- `definition.KIND` in its innermost home or of the `type`; `foreign`: a member of something that is not followed.
- `self.KIND`: a use by `self`; `bare.KIND`: by nothing; `use.KIND`: of the `type`, or of an `object` of unknown type.
  `shorthand`: both a field and a name; `method`: it is called. The kinds `typed` and `keyword` are told apart by the finder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.captures import query_in
from palimpsest_engine.syntax.next_edit.scene import token_text
from palimpsest_engine.syntax.next_edit.scopes import Scopes
from palimpsest_engine.syntax.tree import Range

if TYPE_CHECKING:
    from tree_sitter import Node

_MOST = 400  # occurrences of one name that are looked at
_ROLES = ("definition", "self", "use", "foreign", "bare")


@dataclass(frozen=True, slots=True)
class Home:
    """A part of a document in which `self` is of a type; of none in an anonymous class."""

    place: Range
    type: str | None
    alias: str = ""
    receiver: Range | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One token that may name a member. role: one of `_ROLES`. homes: the outermost first. type: None if it is not known."""

    name: str
    place: Range
    role: str
    kind: str
    type: str | None
    homes: tuple[Home, ...]
    object: Range | None = None
    shorthand: bool = False


class Owners:
    """The members of one document. For one thread at a time."""

    def __init__(self, scopes: Scopes) -> None:
        self.scopes = scopes
        self._query = query_in("fields", scopes.parsed.grammar)

    def of(self, name: str) -> Iterator[Member]:
        """Yield all tokens that may be members of this name; none in a language without a query."""
        tree, data = self.scopes.parsed.tree, self.scopes.parsed.data
        if tree is None or self._query is None:
            return
        word = rb"(?<![\w$\x80-\xff])" + re.escape(name.encode()) + rb"(?![\w$\x80-\xff])"
        for count, match in enumerate(re.finditer(word, data)):
            if count > _MOST:
                return
            if (found := self.at(match.span())) is not None:
                yield found

    def at(self, place: Range) -> Member | None:
        """Return the member that these bytes may name."""
        if self._query is None:
            return None
        homes: dict[Range, Home] = {}
        roles: dict[str, tuple[str, Node | None, Node | None]] = {}
        shorthand = called = False
        for found in self.scopes.parsed.matches(self._query, *place):
            if "home" in found:
                home = self._home(found)
                around = home.place[0] <= place[0] and place[1] <= home.place[1]
                if around and (home.alias or home.place not in homes):
                    homes[home.place] = home
            for capture, nodes in found.items():
                if nodes[0].byte_range != place:
                    continue
                role, _, kind = capture.partition(".")
                shorthand, called = shorthand or role == "shorthand", called or role == "method"
                if role in _ROLES:
                    before = roles.get(role, ("", None, None))
                    type_node, object_node = _first(found, "type"), _first(found, "object")
                    roles[role] = kind or before[0], type_node or before[1], object_node or before[2]
        role = next((each for each in _ROLES if each in roles), "")
        if not role:
            return None
        kind, type_node, object_node = roles[role]
        nested = tuple(sorted(homes.values(), key=lambda each: (each.place[0], -each.place[1])))
        name = self.scopes.parsed.data[slice(*place)].decode("utf-8", "replace")
        of_type = self._type(type_node, nested, is_object=object_node is not None)
        if of_type is None and role != "use" and nested:
            of_type = nested[-1].type
        at = None if object_node is None else object_node.byte_range
        return Member(name, place, role, "method" if called else kind, of_type, nested, at, shorthand)

    def _home(self, found: dict[str, list[Node]]) -> Home:
        place = found["home"][0].byte_range
        alias, receiver = _first(found, "alias"), _first(found, "receiver")
        called = "" if alias is None else token_text(self.scopes.parsed, alias)
        at = None if receiver is None else receiver.byte_range
        return Home(place, self._type(_first(found, "type"), ()), called, at)

    def _type(self, node: Node | None, homes: tuple[Home, ...], *, is_object: bool = False) -> str | None:
        """Return the type that a name means; None if it may be the name of a variable."""
        if node is None:
            return None
        name = token_text(self.scopes.parsed, node)
        if name == "Self" and homes:
            return homes[-1].type
        return None if is_object and not name[:1].isupper() else name


def _first(found: dict[str, list[Node]], capture: str) -> Node | None:
    return found[capture][0] if capture in found else None

"""Tell what a name stands for: definitions, scopes and references, by a grammar's queries. Knows no change and no edit.

Only occurrences of a name that is asked for are looked at, each by a query over its own bytes: a whole document would take
longer than a keystroke. `queries/locals/<grammar>.scm` describes a language, in these captures:

- `scope`: names defined inside count there; `scope.function`: where `definition.var` counts; `scope.class`: not visible in
  functions below, members otherwise; `scope.members`: holds members that only `this.` reaches; `scope.inline`: a walrus
  counts outside of it. `scope.head`: a class's header. `outer`: seen from outside of its innermost scope.
- `definition.KIND`, which with `item` counts outside of the item; `after`: it counts from the end of this node on.
  `definition.let` hides earlier ones of the same scope. `target` is one inside a `binding.KIND`.
- `reference`, or `reference.binding` for one that also writes; `member`, `member.self`, with `object`; `keyword` with
  `callee`; `imported`: a name of another module, `module`; `shorthand`: both a key and a name; `pass.global`,
  `pass.nonlocal`: this scope's name is another one's.
- `skip`: no name of a variable; `unsure`: nothing in it is decided. `text`: prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.captures import query_in
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

_MOST = 2000  # occurrences of one name that are looked at

MEMBERS = ("property", "method", "field")
_MEMBERS_ONLY = ("property", "method")


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a document in which names count. kind: "", "function", "class", "members", "inline", "head" or "file"."""

    place: Range
    kind: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One token of a name. path: its scopes, the file first; a definition counts in the last one.

    role: "definition", "reference", "member", "keyword", "imported", "pass", "text", "skip" or "unsure". kind: what is
    defined; "self" for members of `self`, "binding" for references that also write. at: from where a definition counts.
    other: the object of a member, the callee of a keyword, the module of an import, or the item of a definition.
    """

    name: str
    place: Range
    role: str
    path: tuple[Scope, ...]
    kind: str = ""
    at: int = 0
    other: Range | None = None
    shorthand: bool = False
    written: bool = False

    @property
    def scope(self) -> Scope:
        """Return the innermost scope."""
        return self.path[-1]


class Scopes:
    """The names of one document, or of a part of it. For one thread at a time."""

    def __init__(self, parsed: Parsed, within: Range | None = None) -> None:
        self.parsed = parsed
        self.within = within or (0, len(parsed.data))
        self._known: dict[str, tuple[Occurrence, ...]] = {}
        self._query = query_in("locals", parsed.grammar)

    def of(self, name: str) -> tuple[Occurrence, ...]:
        """Return all occurrences of a name, in order; none in a language without a query."""
        if name not in self._known:
            found = [] if self._query is None else list(self._find(name))
            self._known[name] = _passed_on(found)
        return self._known[name]

    def at(self, place: Range) -> Occurrence | None:
        """Return the occurrence that these bytes are."""
        name = self.parsed.data[slice(*place)].decode("utf-8", "replace")
        return next((each for each in self.of(name) if each.place == place), None)

    def look(self, token: Node) -> Occurrence:
        """Return what a token is, without a look at others of its name."""
        name = self.parsed.data[token.start_byte : token.end_byte].decode("utf-8", "replace")
        return Occurrence(name, token.byte_range, "text", (FILE,)) if self._query is None else self._look(name, token)

    def definitions(self, name: str, scope: Scope) -> list[Occurrence]:
        """Return where the name is defined in just this scope, members that only `this.` reaches apart."""
        found = [each for each in self.of(name) if each.role == "definition" and each.scope == scope]
        return [each for each in found if each.kind not in _MEMBERS_ONLY]

    def resolve(self, use: Occurrence, extra: tuple[Occurrence, ...] = (), name: str = "") -> tuple[Occurrence, ...]:
        """Return the definitions that a use means, all of one scope; none if nothing in the document defines it.

        extra: definitions that count, too. name: another name to look up there.
        """
        known = [each for each in (*self.of(name or use.name), *extra) if each.role == "definition"]
        last = len(use.path) - 1
        for depth in range(last, -1, -1):
            scope = use.path[depth]
            if scope.kind == "members" or (scope.kind == "class" and depth < last):
                continue
            here = [each for each in known if each.scope == scope and each.kind not in _MEMBERS_ONLY]
            in_order = [each for each in here if each.kind == "let" and each.at <= use.place[0]]
            if in_order:
                return (max(in_order, key=lambda each: each.at),)
            if here := [each for each in here if each.kind != "let"]:
                return tuple(here)
        return ()

    def outside(self, definition: Occurrence) -> tuple[Occurrence, ...]:
        """Return what the name of a definition would mean without it and all others of its scope."""
        path = definition.path[:-1]
        while path and path[-1].kind == "class":
            path = path[:-1]
        return self.resolve(replace(definition, path=path)) if path else ()

    def _find(self, name: str) -> Iterator[Occurrence]:
        tree, data = self.parsed.tree, self.parsed.data
        if tree is None:
            return
        word = re.compile(rb"(?<![\w\x80-\xff])" + re.escape(name.encode()) + rb"(?![\w\x80-\xff])")
        found = word.finditer(data, *self.within)
        for count, match in enumerate(found):
            if count > _MOST:
                return
            node = tree.root_node.descendant_for_byte_range(*match.span())
            if node is not None and node.byte_range == match.span() and not node.child_count and node.is_named:
                yield self._look(name, node)
            else:
                yield Occurrence(name, match.span(), "text", (FILE,))

    def _look(self, name: str, node: Node) -> Occurrence:
        from tree_sitter import QueryCursor

        assert self._query is not None
        assert self.parsed.tree is not None
        seen = _Seen(node.byte_range)
        cursor = QueryCursor(self._query)
        cursor.set_byte_range(*node.byte_range)
        for _, captures in cursor.matches(self.parsed.tree.root_node):
            seen.take(captures)
        return seen.occurrence(name)


FILE = Scope((-1, 1 << 62), "file")
_ORDER = ("unsure", "pass", "imported", "keyword", "definition", "member", "skip", "reference", "text")


class _Seen:
    """Gather what the matches at one token say about it."""

    def __init__(self, place: Range) -> None:
        self.place = place
        self.scopes: set[Scope] = {FILE}
        self.outer: list[Range] = []
        self.roles: dict[str, tuple[str, Range | None, int]] = {}
        self.bindings: list[tuple[str, Range, int]] = []
        self.item: Range | None = None
        self.target = self.shorthand = self.written = False
        self.boundaries: list[Range] = []

    def take(self, captures: dict[str, list[Node]]) -> None:
        """Take one match."""
        after = captures["after"][0].end_byte if "after" in captures else self.place[0]
        item = captures["item"][0].byte_range if "item" in captures else None
        for capture, nodes in captures.items():
            role, _, kind = capture.partition(".")
            for node in nodes:
                place = node.byte_range
                if role == "binding" and _within(self.place, place):
                    self.bindings.append((kind, place, after))
                elif role == "scope" and _within(self.place, place):
                    self.scopes.add(Scope(place, kind))
                elif role == "outer" and _within(self.place, place):
                    self.outer.append(place)
                elif role in ("unsure", "foreign") and _within(self.place, place):
                    self.roles["unsure"] = ("", None, 0)
                elif role == "boundary" and _within(self.place, place):
                    self.boundaries.append(place)
                elif place == self.place:
                    self._take_role(role, kind, captures, after, item)

    def _take_role(self, role: str, kind: str, captures: dict[str, list[Node]], after: int, item: Range | None) -> None:
        if role in ("target", "shorthand", "written"):
            setattr(self, role, True)
        if role not in _ORDER:
            return
        other = next(
            (captures[each][0].byte_range for each in ("object", "callee", "module") if each in captures), None
        )
        before = self.roles.get(role)
        if before is None or (kind and not before[0]) or (other and not before[1]):
            self.roles[role] = kind or (before[0] if before else ""), other or (before[1] if before else None), after
        if role == "definition" and item is not None:
            self.item = item

    def occurrence(self, name: str) -> Occurrence:
        """Return what all matches say together."""
        if self.target and "definition" not in self.roles and self.bindings:
            kind, _, after = self.bindings[0]
            self.roles["definition"] = kind, None, after
        role = next((each for each in _ORDER if each in self.roles), "skip")
        if "plain" in (self.roles.get("reference") or ("",))[0] and role == "definition":
            role = "reference"
        kind, other, at = self.roles.get(role, ("", None, 0))
        path = sorted(self.scopes, key=lambda each: (each.place[0], -each.place[1], each.kind != "class"))
        if role == "definition":
            path, other = _defined_in(path, kind, self.item), other or self.item
        for outer in self.outer:
            inside = [each for each in path if _within(each.place, outer)]
            path = [each for each in path if each not in inside][:-1] + inside
        if kind == "self" and any(each.kind in ("class", "members") for each in path):
            home = next(each for each in reversed(path) if each.kind in ("class", "members"))
            if any(_within(each, home.place) for each in self.boundaries):
                kind = ""
        return Occurrence(name, self.place, role, tuple(path) or (FILE,), kind, at, other, self.shorthand, self.written)


def _defined_in(path: list[Scope], kind: str, item: Range | None) -> list[Scope]:
    """Return the scopes up to the one in which a definition counts."""
    if item is not None:
        body = item, "class"  # of a class that holds nothing else
        return [each for each in path if (each.place, each.kind) == body or not _within(each.place, item)]
    passed = {"var": ("", "members", "class", "inline", "head"), "walrus": ("inline",)}.get(kind, ())
    while len(path) > 1 and path[-1].kind in passed:
        path = path[:-1]
    return path


def _passed_on(found: list[Occurrence]) -> tuple[Occurrence, ...]:
    """Move what a scope says is global or an outer function's to where it counts."""
    for said in [each for each in found if each.role == "pass"]:
        for i, each in enumerate(found):
            if said.scope in each.path:
                depth = each.path.index(said.scope)
                above = each.path[:1] if said.kind == "global" else each.path[:depth]
                if each.role in ("reference", "pass") or (each.role == "definition" and each.scope == said.scope):
                    found[i] = replace(each, path=above)
    return tuple(found)


def _within(inner: Range, outer: Range) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]

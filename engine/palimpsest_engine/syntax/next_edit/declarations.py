"""Follow renamed functions, tags and macros of C: a prototype and its definition are one thing, in one file or in two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.syntax.next_edit.pair import Followed, Pair, Side, is_gone, path_of
from palimpsest_engine.syntax.next_edit.renamed import Renamed, as_edit, renamed_by, side
from palimpsest_engine.syntax.next_edit.scene import Scene
from palimpsest_engine.syntax.next_edit.scopes import FILE, Occurrence, Scopes

if TYPE_CHECKING:
    from tree_sitter import Node

_INCLUDE = re.compile(rb"^[ \t]*#[ \t]*include[ \t]*\"([^\"\n]+)\"", re.M)
_ONLY_CPP = re.compile(rb"::|\b(?:class|namespace|template|typename|public|private|std)\b")
_TAGS = ("struct_specifier", "union_specifier", "enum_specifier")
GRAMMARS = ("c", "cpp")


def declarations(scene: Scene) -> Iterator[NextEdit]:
    """Yield the other declarations and the uses of a function, and the uses of a tag, in the file that a change is in."""
    paths = {each.name: path_of(each) for each in scene.question.documents}
    for changed in scene.changes:
        name = changed.change.document
        here = Side(paths[name], Scopes(changed.now))
        if not _is_c(here):
            continue
        for renamed in renamed_by(changed, here.scopes):
            for use in _beside(here, renamed):
                yield as_edit(name, changed.now, use, renamed, side(use, renamed), "sure")


def _beside(here: Side, renamed: Renamed) -> list[Occurrence]:
    if is_tag(here, renamed.role):
        return _tags(renamed, here, here)
    left = here.defines(renamed.old)
    if not left or not _is_function(renamed.role) or not _is_one(here, [*left, *here.defines(renamed.new)]):
        return []
    uses = [
        each
        for each in here.scopes.of(renamed.old)
        if each.role == "reference" and set(left) & set(here.scopes.resolve(each))
    ]
    return [] if _is_taken(here, uses, renamed.new) else sorted([*left, *uses], key=lambda each: each.place)


def in_c(pair: Pair) -> Followed:
    """Yield what follows in a file that includes the renamed one, or is included there."""
    here, there, renamed = pair.here, pair.there, pair.renamed
    outward = _includes(there, here)
    if not outward and not _includes(here, there):
        return
    certainty: Certainty = "sure" if _is_c(here) and _is_c(there) else "likely"
    found = list[Occurrence]()
    if is_tag(here, renamed.role):
        found = _tags(renamed, here, there) if certainty == "sure" else []
    elif _is_function(renamed.role):
        found = _functions(pair, outward=outward)
    elif outward and is_gone(pair) and not there.defines(renamed.old):
        found = pair.unresolved()
    for use in found:
        yield use, certainty


def _functions(pair: Pair, *, outward: bool) -> list[Occurrence]:
    here, there, renamed = pair.here, pair.there, pair.renamed
    own, left = here.defines(renamed.new), [*here.defines(renamed.old), *there.defines(renamed.old)]
    if not outward and any(_is_stored(here, each, b"static") for each in own):
        return []
    if any(_is_stored(there, each, b"static") for each in there.defines(renamed.old)):
        return []
    bodies = sum(_has_body(here, each) for each in [*own, *here.defines(renamed.old)])
    bodies += sum(_has_body(there, each) for each in there.defines(renamed.old))
    elsewhere = any(_has_body(side, each) for side in pair.others for each in side.defines(renamed.old))
    if bodies > 1 or (elsewhere and bodies) or not all(map(_is_function, (*own, *left))):
        return []
    if not (_is_c(here) and _is_c(there)) and (len(own) > 1 or len(there.defines(renamed.old)) > 1):
        return []  # overloads
    uses = [
        each
        for each in there.scopes.of(renamed.old)
        if each.role == "reference" and all(found.scope == FILE for found in there.scopes.resolve(each))
    ]
    if there.defines(renamed.new) or _is_taken(there, uses, renamed.new):
        return []
    return sorted([*there.defines(renamed.old), *uses], key=lambda each: each.place)


def _is_function(role: Occurrence) -> bool:
    return role.role == "definition" and role.kind == "function" and role.scope == FILE


def _is_one(here: Side, found: list[Occurrence]) -> bool:
    """Return whether declarations are those of one function."""
    return all(map(_is_function, found)) and sum(_has_body(here, each) for each in found) <= 1


def _is_taken(here: Side, uses: list[Occurrence], name: str) -> bool:
    """Return whether a local definition has the name at one of the uses."""
    return any(found.scope != FILE for each in uses for found in here.scopes.resolve(each, name=name))


def _declaration(here: Side, role: Occurrence) -> Node | None:
    node = here.node(role.place)
    while node is not None and ("declarator" in node.type or node.type == "identifier"):
        node = node.parent
    return node


def _has_body(here: Side, role: Occurrence) -> bool:
    node = _declaration(here, role)
    return node is not None and node.type == "function_definition"


def _is_stored(here: Side, role: Occurrence, word: bytes) -> bool:
    node = _declaration(here, role)
    return node is not None and any(
        each.type == "storage_class_specifier" and each.text == word for each in node.children
    )


# Tags: names behind `struct`, `union` and `enum`


def is_tag(here: Side, role: Occurrence) -> bool:
    """Return whether an occurrence is a tag, in a text of C."""
    return role.role == "unsure" and _tag_of(here, role) is not None and _is_c(here)


def _tag_of(here: Side, role: Occurrence) -> Node | None:
    node = here.node(role.place)
    outer = None if node is None else node.parent
    return outer if outer is not None and outer.type in _TAGS and outer.child_by_field_name("name") == node else None


def _tags(renamed: Renamed, here: Side, there: Side) -> list[Occurrence]:
    """Return the tokens of a tag that was renamed where it is defined, if it is defined nowhere else."""
    own = _tag_of(here, renamed.role)
    if own is None or own.child_by_field_name("body") is None:
        return []
    for name, place in ((renamed.old, None), (renamed.new, renamed.role.place)):
        for one in {id(each): each for each in (here, there)}.values():
            for each in one.scopes.of(name) if one.names(name) else ():
                tag = _tag_of(one, each)
                is_own = one is here and each.place == place
                if tag is not None and not is_own and tag.child_by_field_name("body") is not None:
                    return []
    tags = [(each, _tag_of(there, each)) for each in there.scopes.of(renamed.old)]
    return [each for each, tag in tags if tag is not None and tag.type == own.type]


# Files


def _is_c(one: Side) -> bool:
    """Return whether a document is one of C: a header is, unless something in it is of C++ alone."""
    parsed = one.scopes.parsed
    if parsed.grammar == "c":
        return True
    is_header = parsed.grammar == "cpp" and one.path is not None and one.path.suffix == ".h"
    return is_header and _ONLY_CPP.search(parsed.data) is None


def _includes(one: Side, other: Side) -> bool:
    """Return whether a document includes another one, by the end of its path."""
    if other.path is None:
        return False
    for match in _INCLUDE.finditer(one.scopes.parsed.data):
        parts = [each for each in PurePosixPath(match[1].decode("utf-8", "replace")).parts if each not in (".", "..")]
        if parts and list(other.path.parts[-len(parts) :]) == parts:
            return True
    return False

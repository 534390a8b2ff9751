"""Follow a renamed definition: each use that still has the old name and can mean nothing else now. Knows one document."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene, token_text
from palimpsest_engine.syntax.next_edit.scopes import MEMBERS, Occurrence, Scopes
from palimpsest_engine.syntax.tree import Parsed, Range

_NAME = re.compile(r"#?[^\W\d][\w$]*")
_OWN_NAMES = ("import_clause", "namespace_import", "import_spec")  # imports of a name that the document chooses
_BUILT_IN = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class Renamed:
    """One token that the change gave another name. role: what it is now, under the new name."""

    old: str
    new: str
    role: Occurrence


def rename(scene: Scene) -> Iterator[NextEdit]:
    """Yield the uses of what a change renamed in their document, and the definition if a use was renamed."""
    known = dict[str, Scopes]()
    for changed in scene.changes:
        name = changed.change.document
        scopes = known.setdefault(name, Scopes(changed.now))
        for each in renamed_by(changed, scopes):
            if each.role.role == "definition" and each.role.kind not in MEMBERS and not _is_member(each.role):
                for edit in _uses(name, scopes, each, _together(scene, changed, each)):
                    yield replace(edit, certainty="possible") if _is_swapped(scene, changed, each) else edit
            elif each.role.role == "reference":
                yield from _definition(name, scopes, each)


def _together(scene: Scene, changed: Changed, renamed: Renamed) -> set[Range]:
    """Return all tokens of a document to which its changes gave this name in place of the old one."""
    found = set[Range]()
    for each in scene.changes:
        if each.now is changed.now:
            pairs = _pairs(each)
            found |= {place for place, names in pairs.items() if names == (renamed.old, renamed.new)}
    return found


def _is_swapped(scene: Scene, changed: Changed, renamed: Renamed) -> bool:
    """Return whether an import names something else now, as far as is known: no definition of another document was renamed.

    A name that only this document has for it, such as one after `as`, is renamed like any other.
    """
    tree = changed.now.tree
    node = None if tree is None else tree.root_node.descendant_for_byte_range(*renamed.role.place)
    if renamed.role.kind != "import" or node is None or node.parent is None or node.parent.type in _OWN_NAMES:
        return False
    if node == node.parent.child_by_field_name("alias"):
        return False
    others = [each for each in scene.changes if each.now is not changed.now]
    return not any((renamed.old, renamed.new) in _pairs(each).values() for each in others)


def renamed_by(changed: Changed, scopes: Scopes) -> list[Renamed]:
    """Return the names that became others, definitions first; none that became two different ones."""
    pairs, found = _pairs(changed), list[Renamed]()
    for place, (old, new) in pairs.items():
        role = scopes.at(place)
        if role is not None and all(new == other for was, other in pairs.values() if was == old):
            found.append(Renamed(old, new, role))
    return sorted(found, key=lambda each: each.role.role != "definition")


def renamed_pairs(changed: Changed) -> set[tuple[str, str]]:
    """Return which names became which others."""
    return set(_pairs(changed).values())


def _pairs(changed: Changed) -> dict[Range, tuple[str, str]]:
    pairs = dict[Range, tuple[str, str]]()
    for hunk in changed.hunks:
        if len(hunk.was) == len(hunk.now):
            for was, now in zip(hunk.was, hunk.now, strict=True):
                old, new = token_text(changed.was, was), token_text(changed.now, now)
                is_name = was.is_named and now.is_named and _NAME.fullmatch(old) and _NAME.fullmatch(new)
                if old != new and is_name and new.strip("_"):  # `_` marks what is not used
                    pairs[now.byte_range] = old, new
    return pairs


def as_edit(
    document: str, parsed: Parsed, use: Occurrence, renamed: Renamed, where: str, certainty: Certainty
) -> NextEdit:
    """Return the edit that renames one use. where: "above", "below" or "in orders.py"."""
    text = f"{renamed.old}: {renamed.new}" if use.shorthand else renamed.new
    reason = f"`{renamed.old}` was renamed to `{renamed.new}` {where}"
    return NextEdit(document, parsed.span(use.place), text, "rename", reason, certainty)


def side(use: Occurrence, renamed: Renamed) -> str:
    """Return on which side of a use the renamed definition is."""
    return "above" if renamed.role.place < use.place else "below"


def _is_member(role: Occurrence) -> bool:
    return role.scope.kind in ("class", "members")


def _uses(document: str, scopes: Scopes, renamed: Renamed, together: set[Range]) -> Iterator[NextEdit]:
    old_one = replace(renamed.role, name=renamed.old)
    uses = [
        each
        for each in scopes.of(renamed.old)
        if each.role in ("reference", "pass") and old_one in scopes.resolve(each, (old_one,))
    ]
    others = [] if old_one.kind == "let" else scopes.definitions(renamed.old, old_one.scope)
    if not uses or _collides(scopes, renamed, uses, together):
        return
    if others and (old_one.kind in ("function", "class", "import") or others[0].at <= uses[0].place[0]):
        return
    certainty: Certainty = "likely" if others else "sure"
    if scopes.outside(old_one) or _is_built_in(scopes, renamed.old):
        certainty = "likely"  # it means something else now, which may be on purpose
    for use in sorted((*uses, *others), key=lambda each: each.place):
        if use in others and not any(use.place[1] <= each.place[0] < use.at for each in uses):
            certainty = "possible"  # a value of its own, which may well keep the name
        yield as_edit(document, scopes.parsed, use, renamed, side(use, renamed), certainty)


def _collides(scopes: Scopes, renamed: Renamed, uses: list[Occurrence], together: set[Range]) -> bool:
    """Return whether the new name would mean something else at a use, or takes a name from something else.

    together: the tokens that were renamed along with the definition.
    """
    new = renamed.role
    if any(new not in scopes.resolve(use, name=renamed.new) for use in uses):
        return True
    there = [each for each in scopes.definitions(new.name, new.scope) if each != new and each.place not in together]
    if new.kind != "let" and there:
        return True
    if any(each.kind == "let" and each.at > new.at for each in there):
        return True
    if not (scopes.outside(new) or _is_built_in(scopes, new.name)):
        return False
    taken = [each for each in scopes.of(new.name) if each.role == "reference" and each.place not in together]
    return any(new in scopes.resolve(each) for each in taken)


def _is_built_in(scopes: Scopes, name: str) -> bool:
    return scopes.parsed.grammar == "python" and name in _BUILT_IN


def _definition(document: str, scopes: Scopes, renamed: Renamed) -> Iterator[NextEdit]:
    """Yield the definition of a use that was renamed to a name which nothing defines."""
    if scopes.resolve(renamed.role):
        return
    for each in scopes.resolve(renamed.role, name=renamed.old):
        yield as_edit(document, scopes.parsed, each, renamed, side(each, renamed), "possible")

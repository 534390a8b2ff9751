"""Follow a renamed definition: each use that still has the old name and can mean nothing else now. Knows one document."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import replace

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.syntax.next_edit.renamed import Renamed, as_edit, pairs_of, renamed_by, side
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene
from palimpsest_engine.syntax.next_edit.scopes import MEMBERS, Occurrence, Scopes
from palimpsest_engine.syntax.tree import Range

_OWN_NAMES = ("import_clause", "namespace_import", "import_spec")  # imports of a name that the document chooses
_BUILT_IN = frozenset(dir(builtins))


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
            pairs = pairs_of(each)
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
    return not any((renamed.old, renamed.new) in pairs_of(each).values() for each in others)


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

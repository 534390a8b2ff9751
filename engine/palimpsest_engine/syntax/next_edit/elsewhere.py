"""Follow a renamed definition of a Python module into other open documents that import it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from palimpsest_engine.changes import NextEdit
from palimpsest_engine.syntax.next_edit.rename import Renamed, as_edit, renamed_by
from palimpsest_engine.syntax.next_edit.scene import Scene
from palimpsest_engine.syntax.next_edit.scopes import Occurrence, Scopes
from palimpsest_engine.syntax.tree import Range


def elsewhere(scene: Scene) -> Iterator[NextEdit]:
    """Yield the imports of what a change renamed, and their uses, in other documents."""
    for changed in scene.changes:
        scopes, source = Scopes(changed.now), changed.change.document
        if changed.now.grammar != "python":
            continue
        for renamed in renamed_by(changed, scopes):
            if renamed.role.role != "definition" or len(renamed.role.path) > 1 or renamed.role.kind == "import":
                continue
            if scopes.definitions(renamed.old, renamed.role.scope):
                continue
            for name, parsed in scene.documents.items():
                if name != source and parsed.grammar == "python":
                    there = Scopes(parsed)
                    for use in _uses(there, renamed, source):
                        where = f"in {PurePosixPath(source).name}"
                        yield as_edit(name, parsed, use, renamed, where, "likely")


def _uses(there: Scopes, renamed: Renamed, source: str) -> list[Occurrence]:
    found = there.of(renamed.old)
    imports = [
        each for each in found if each.other is not None and _is_import(each) and _names(there, each.other, source)
    ]
    own = [each for each in imports if each.role == "definition"]
    if own and (there.of(renamed.new) or any(len(there.definitions(each.name, each.scope)) > 1 for each in own)):
        return []
    uses = [each for each in found if each.role == "reference" and set(own) & set(there.resolve(each))]
    return [*imports, *uses]


def _is_import(use: Occurrence) -> bool:
    return use.role == "imported" or (use.role == "definition" and use.kind == "import")


def _names(there: Scopes, module: Range, source: str) -> bool:
    """Return whether a dotted name ends the path of a document."""
    parts = there.parsed.data[slice(*module)].decode("utf-8", "replace").lstrip(".").split(".")
    return parts == list(PurePosixPath(source).with_suffix("").parts[-len(parts) :])

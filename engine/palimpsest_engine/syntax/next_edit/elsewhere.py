"""Follow a renamed definition into the other open documents that can mean it, by the rules of its language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from palimpsest_engine.changes import NextEdit
from palimpsest_engine.syntax.next_edit.by_import import ecma, python, rust
from palimpsest_engine.syntax.next_edit.by_package import go, java
from palimpsest_engine.syntax.next_edit.declarations import GRAMMARS, in_c, is_tag
from palimpsest_engine.syntax.next_edit.pair import Followed, Pair, Side, path_of
from palimpsest_engine.syntax.next_edit.renamed import as_edit, renamed_by
from palimpsest_engine.syntax.next_edit.scene import Scene
from palimpsest_engine.syntax.next_edit.scopes import Occurrence, Scopes

Rules = Callable[[Pair], Followed]

_ECMA = ("javascript", "typescript", "tsx")
_RULES: tuple[tuple[tuple[str, ...], Rules], ...] = (
    (("python",), python),
    (_ECMA, ecma),
    (("go",), go),
    (("java",), java),
    (("rust",), rust),
    (GRAMMARS, in_c),
)


def elsewhere(scene: Scene) -> Iterator[NextEdit]:
    """Yield the uses of what a change renamed in other documents."""
    if len(scene.documents) < 2:
        return
    sides = _sides(scene)
    for changed in scene.changes:
        name = changed.change.document
        here = sides[name]
        for grammars, rules in _RULES:
            if changed.now.grammar not in grammars or here.path is None:
                continue
            of_language = {other: side for other, side in sides.items() if side.scopes.parsed.grammar in grammars}
            for renamed in renamed_by(changed, here.scopes):
                if not _is_seen_outside(renamed.role) and not is_tag(here, renamed.role):
                    continue
                where = f"in {PurePosixPath(here.path).name}"
                for other, there in of_language.items():
                    if other != name and there.names(renamed.old):
                        rest = tuple(each for each in of_language.values() if each not in (here, there))
                        for use, certainty in rules(Pair(renamed, here, there, rest)):
                            yield as_edit(other, there.scopes.parsed, use, renamed, where, certainty)


def _sides(scene: Scene) -> dict[str, Side]:
    paths = {each.name: path_of(each) for each in scene.question.documents}
    return {name: Side(paths[name], Scopes(parsed)) for name, parsed in scene.documents.items()}


def _is_seen_outside(role: Occurrence) -> bool:
    return role.role == "definition" and len(role.path) == 1 and role.kind != "import"

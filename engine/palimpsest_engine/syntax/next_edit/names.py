"""Say whether a place knows the names that a carried change brings: local ones have to be defined there, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.next_edit.carrying import Carried, Step
from palimpsest_engine.syntax.next_edit.pattern import Pattern
from palimpsest_engine.syntax.next_edit.scene import tokens_of
from palimpsest_engine.syntax.next_edit.scopes import FILE, Scopes
from palimpsest_engine.syntax.next_edit.shapes import is_literal
from palimpsest_engine.syntax.tree import Parsed

if TYPE_CHECKING:
    from tree_sitter import Node


class Names:
    """The names of the documents of one search."""

    def __init__(self) -> None:
        self._scopes: dict[int, tuple[Parsed, Scopes]] = {}
        self._brought: dict[int, tuple[Pattern, tuple[str, ...]]] = {}

    def are_known(self, pattern: Pattern, carried: Carried, parsed: Parsed, leaf: Node) -> bool:
        """Return whether all local names that a change brought mean something at a token, in its terms."""
        if id(pattern) not in self._brought:
            self._brought[id(pattern)] = pattern, tuple(self._local_names(pattern))
        _, brought = self._brought[id(pattern)]
        if not brought:
            return True
        there = self._of(parsed)
        spot = there.look(leaf)
        meant = [there.resolve(spot, name=carried.terms.of(each)) for each in brought]
        return all(any(each.place[0] < spot.place[0] for each in known) for known in meant)

    def _local_names(self, pattern: Pattern) -> Iterator[str]:
        """Yield the names in a change that stand for something local which the change does not define itself."""
        here = self._of(pattern.changed.now)
        new = [each for step in pattern.steps for each in (*step.hunk.now, *_left_by(pattern, step))]
        places = {each.byte_range for each in new}
        for token in new:
            use = here.at(token.byte_range) if token.is_named and not is_literal(token) else None
            if use is None or use.role != "reference":
                continue
            meant = here.resolve(use)
            if meant and not any(each.scope == FILE or each.place in places for each in meant):
                yield use.name

    def _of(self, parsed: Parsed) -> Scopes:
        known = self._scopes.get(id(parsed))
        if known is None:
            known = self._scopes[id(parsed)] = parsed, Scopes(parsed)
        return known[1]


def _left_by(pattern: Pattern, step: Step) -> list[Node]:
    """Return the token behind what was removed: `self.` may have made a member of it."""
    if step.hunk.now:
        return []
    return tokens_of(pattern.changed.now, (step.hunk.now_at, step.hunk.now_at + 1))[:1]

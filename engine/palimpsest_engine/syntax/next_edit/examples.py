"""Say what speaks for a pattern: where else the same change was made, what those places have in common, what was passed over.

Knows trees and texts, and no place where the change is still due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.next_edit.alignment import Alignment
from palimpsest_engine.syntax.next_edit.pattern import Pattern
from palimpsest_engine.syntax.next_edit.scene import token_text
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True, slots=True)
class Examples:
    """The changes that are the same one. common: where the words begin, in the first, that all of them have.

    contested: a change made something else of the same text.
    """

    patterns: tuple[Pattern, ...]
    common: frozenset[int]
    contested: bool = False

    @property
    def several(self) -> bool:
        """Return whether the change was made more than once."""
        return len(self.patterns) > 1

    @property
    def are_enough(self) -> bool:
        """Return whether the change was made at two times, or in three places at once."""
        return len(self.patterns) > 2 or len({id(each.changed) for each in self.patterns}) > 1

    def are_met(self, alignment: Alignment) -> bool:
        """Return whether a place has the words that all examples have."""
        return self.common <= alignment.common

    def enclose(self, parsed: Parsed, span: Range) -> bool:
        """Return whether a place lies between two of the examples: whoever made those has passed it over."""
        starts = [each.changed.now_range[0] for each in self.patterns if each.changed.now is parsed]
        return len(starts) > 1 and min(starts) < span[0] < max(starts)


def examples_of(pattern: Pattern, patterns: Sequence[Pattern]) -> Examples:
    """Return what speaks for a pattern among all that were found."""
    found, common = [pattern], list[frozenset[int]]()
    for other in patterns:
        same = None if other is pattern else _same(pattern, other)
        if same is not None:
            found.append(other)
            common.append(same)
    contested = any(_contests(pattern, other) for other in patterns if other not in found)
    return Examples(tuple(found), frozenset.intersection(*common) if common else frozenset(), contested)


def _same(pattern: Pattern, other: Pattern) -> frozenset[int] | None:
    """Return where the words begin that both have; None unless the same happened in both: one carried over is the other."""
    if len(pattern.steps) != len(other.steps) or pattern.changed.was.grammar != other.changed.was.grammar:
        return None
    for one in reversed(pattern.levels):
        for two in other.levels:
            alignment = pattern.align(one, other.changed.was, two) if one.type == two.type else None
            made = None if alignment is None else pattern.carry(alignment, other.changed.was)
            if alignment is None or made is None:
                continue
            if all(
                b"".join(text.split()) == _bare(other.changed.now, step.hunk.now)
                for (_, text), step in zip(made.edits, other.steps, strict=True)
            ):
                return alignment.common
            return None
    return None


def _contests(pattern: Pattern, other: Pattern) -> bool:
    """Return whether the other change replaced the same text by something else."""
    if len(pattern.steps) != len(other.steps):
        return False
    pairs = [(one.hunk, two.hunk) for one, two in zip(pattern.steps, other.steps, strict=True)]
    return all(
        one.was and _bare(pattern.changed.was, one.was) == _bare(other.changed.was, two.was) for one, two in pairs
    ) and any(_bare(pattern.changed.now, one.now) != _bare(other.changed.now, two.now) for one, two in pairs)


def _bare(parsed: Parsed, tokens: Sequence[Node]) -> bytes:
    return "".join("".join(token_text(parsed, each).split()) for each in tokens).encode()

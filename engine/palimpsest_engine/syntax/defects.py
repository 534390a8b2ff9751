"""Count and locate the ERROR and MISSING nodes of a tree, in fills and outside. Knows no verdicts.

A *defect* is an ERROR or MISSING node, nested ones included; it is *in a hole* if it lies between the hole's ends, both
included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.spliced import Document
from palimpsest_engine.syntax.tree import Range

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True, slots=True)
class Defect:
    """An ERROR or MISSING node. outermost: not inside another ERROR node. tokens: those an ERROR node could not place."""

    range: Range
    outermost: bool
    tokens: tuple[Range, ...]

    def lies_in(self, fill: Range) -> bool:
        """Return whether the defect is wholly inside; its ends may touch the fill's."""
        return fill[0] <= self.range[0] and self.range[1] <= fill[1]


@dataclass(frozen=True, slots=True)
class Damage:
    """All defects of a document. within: their count in each hole; own_bytes: the user's bytes in ERROR nodes."""

    defects: tuple[Defect, ...]
    within: tuple[int, ...]
    own_bytes: int

    def exceeds(self, other: Damage) -> bool:
        """Return whether this document is worse than the other, by the rules 1 to 3 of the gate."""
        return (
            len(self.defects) > len(other.defects)
            or any(mine > its for mine, its in zip(self.within, other.within, strict=True))
            or self.own_bytes > other.own_bytes
        )


def measure(root: Node, document: Document, check: Callable[[], None]) -> Damage:
    """Measure a document's tree. check: called at every node; may raise to end it all."""
    defects = tuple(sorted(defects_of(root, check), key=lambda defect: defect.range))
    within = tuple(sum(defect.lies_in(fill) for defect in defects) for fill in document.ranges)
    errors = [defect.range for defect in defects if defect.outermost]
    own_bytes = _length(errors) - sum(_length(_clip(errors, fill)) for fill in document.ranges)
    return Damage(defects, within, own_bytes)


def defects_of(root: Node, check: Callable[[], None]) -> Iterator[Defect]:
    """Yield every defect of a tree, in no order."""
    nodes = [(root, True)]
    while nodes:
        check()
        node, outermost = nodes.pop()
        if not node.has_error:
            continue
        children = node.children
        if node.is_missing or node.is_error:
            tokens = tuple(c.byte_range for c in children if not c.child_count and not c.has_error)
            yield Defect(node.byte_range, outermost, tokens if children else (node.byte_range,))
            outermost = False
        elif not any(child.has_error for child in children):  # some MISSING tokens are not shown
            yield Defect((node.end_byte, node.end_byte), outermost, ())
        nodes += [(child, outermost) for child in children]


def places(before: Damage, damage: Damage, document: Document) -> list[tuple[int, int, int]]:
    """Return the (fill, start, end) to write anew, by the best evidence there is (see `SyntaxGate.judge`)."""
    fills = list(enumerate(document.ranges))
    grown = [(i, fill) for i, fill in fills if damage.within[i] > before.within[i]]
    own = [(i, *defect.range) for i, fill in grown for defect in damage.defects if defect.lies_in(fill)]
    if own:
        return own
    tokens = [token for defect in damage.defects for token in defect.tokens]
    lost = [(i, *token) for i, fill in fills for token in _clip(tokens, fill)]
    if lost:
        return lost
    return [document.tail(i) for i, (start, end) in fills if start < end] or [(0, *fills[0][1])]


def _clip(ranges: Iterable[Range], to: Range) -> list[Range]:
    """Clip the ranges to `to`; leave out the empty ones."""
    clipped = [(max(start, to[0]), min(end, to[1])) for start, end in ranges]
    return [(start, end) for start, end in clipped if start < end]


def _length(ranges: Iterable[Range]) -> int:
    return sum(end - start for start, end in ranges)

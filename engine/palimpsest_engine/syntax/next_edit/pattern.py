"""Tell a change as a pattern, and carry it over to another construct of the same shape. Knows no certainty.

A pattern is what happened in one statement, element or member: its hunks, and the constructs around them, from the smallest
to that statement, in the tree before the change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palimpsest_engine.syntax.next_edit.alignment import Alignment
from palimpsest_engine.syntax.next_edit.blanks import back, forward
from palimpsest_engine.syntax.next_edit.carrying import Carried, Carrier, Ends, Step
from palimpsest_engine.syntax.next_edit.scene import Changed, Hunk, token_text
from palimpsest_engine.syntax.next_edit.shapes import ancestors, is_beside, is_comment, is_container, is_token, unit_of
from palimpsest_engine.syntax.next_edit.words import Terms, word_map
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

_MOST_HUNKS = 12  # of a larger change no part is a pattern: something was written anew
_ROOMY = re.compile(
    r"statement|assignment|declarator|arguments?\Z|argument_list|return|pair|element|block|body|array|list\Z"
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A change of one construct. levels: the nodes around it, from the smallest to its unit. beside: something was put
    before a definition that says something of it."""

    changed: Changed
    steps: tuple[Step, ...]
    levels: tuple[Node, ...]
    beside: bool = False

    @property
    def unit(self) -> Node:
        """Return the statement, element or member."""
        return self.levels[-1]

    @property
    def held(self) -> tuple[Range, ...]:
        """Return the bytes that something happened to, before the change."""
        return tuple(_held(self.changed.was, step) for step in self.steps)

    @property
    def lines(self) -> int:
        """Return how many line ends the change has put in, between the tokens around it."""
        first, last = self.steps[0].hunk, self.steps[-1].hunk
        was = back(self.changed.was.data, first.was_at), forward(self.changed.was.data, _end(last.was, last.was_at))
        now = back(self.changed.now.data, first.now_at), forward(self.changed.now.data, _end(last.now, last.now_at))
        return self.changed.now.data.count(b"\n", *now) - self.changed.was.data.count(b"\n", *was)

    def align(self, level: Node, other: Parsed, node: Node) -> Alignment | None:
        """Lay one of the levels beside a node; None if their shapes differ."""
        alignment = Alignment(self.changed.was, other, self.held)
        return alignment if alignment.align(level, node) else None

    def fits(self, level: Node, other: Node) -> bool:
        """Return whether what has become of a level may stand in place of a node: no sum where a name is multiplied."""
        kind = self._now_type(level)
        if level == self.unit or kind == level.type:
            return True
        ours, theirs = level.parent, other.parent
        if not kind or ours is None or theirs is None:
            return False
        return ours.type == theirs.type and _ROOMY.search(ours.type) is not None

    def _now_type(self, level: Node) -> str:
        """Return the type of the node that a level has become: its own if there are several; "" if there is none."""
        now, first, last = self.changed.now, self.steps[0].hunk, self.steps[-1].hunk
        assert now.tree is not None
        start = first.now_at - (first.was_at - level.start_byte)
        was_end = last.was[-1].end_byte if last.was else last.was_at
        now_end = last.now[-1].end_byte if last.now else last.now_at
        end = now_end + level.end_byte - was_end
        if not last.was and level.end_byte <= last.was_at:
            end = now_end
        node = now.tree.root_node.descendant_for_byte_range(max(start, 0), max(end, 0))
        kind = ""
        while node is not None and (node.start_byte, node.end_byte) == (start, end) and kind != level.type:
            kind, node = node.type, node.parent
        return kind

    def _brought(self, step: Step) -> list[Node]:
        """Return the words that the step brings, which were not there before."""
        known = {token_text(self.changed.was, each) for each in step.hunk.was}
        return [each for each in step.hunk.now if each.is_named and token_text(self.changed.now, each) not in known]

    def carry(self, alignment: Alignment, other: Parsed) -> Carried | None:
        """Return the same steps in the other construct; None if it holds something else at these places."""
        ends = Ends(alignment)
        whole, several = alignment.substitution()
        terms = Terms(whole, word_map(whole))
        found = []
        for step in self.steps:
            if any(token_text(self.changed.now, each) in several for each in step.hunk.now):
                return None
            for token in step.hunk.was:
                there = ends.starts.get(token.start_byte)
                ours = token_text(self.changed.was, token)
                theirs = None if there is None else alignment.other_text(there).decode("utf-8", "replace")
                if theirs == ours and theirs != terms.of(ours):
                    terms = Terms({}, {})  # the change is about something else
                if theirs != terms.of(ours):
                    return None
            if any(terms.tears(token_text(self.changed.now, each)) for each in self._brought(step)):
                return None
            edit = Carrier(self.changed, other, ends, step, terms).edit()
            if edit is None:
                return None
            found.append(edit)
        return Carried(tuple(found), terms)


def patterns_of(changed: Changed) -> Iterator[Pattern]:
    """Yield what happened in each construct."""
    if not 0 < len(changed.hunks) <= _MOST_HUNKS:
        return
    groups: dict[Node, list[tuple[Step, Node, bool]]] = {}
    for hunk in changed.hunks:
        if any(map(is_comment, (*hunk.was, *hunk.now))):
            continue
        placed = _placed(changed, hunk)
        if placed is not None:
            groups.setdefault(unit_of(placed[1]), []).append(placed)
    for unit, group in groups.items():
        steps = tuple(step for step, _, _ in group)
        node = group[0][1]
        if len(group) > 1:
            start, end = min(each.start_byte for _, each, _ in group), max(each.end_byte for _, each, _ in group)
            node = unit.descendant_for_byte_range(start, end) or unit
        levels = tuple(each for each in ancestors(node, unit) if not is_token(each))
        if levels:
            yield Pattern(changed, steps, levels, any(beside for _, _, beside in group))


def _placed(changed: Changed, hunk: Hunk) -> tuple[Step, Node, bool] | None:
    """Return the step, the node that it happened to, and whether it is beside; None for whole new or removed statements."""
    was, now = changed.was, changed.now
    assert was.tree is not None
    assert now.tree is not None
    if hunk.was:
        node = was.tree.root_node.descendant_for_byte_range(hunk.was[0].start_byte, hunk.was[-1].end_byte)
        if node is None or is_container(node) or (not hunk.now and node.parent and is_container(node.parent)):
            return None
        return Step(hunk), node, False
    first, last = hunk.now[0].start_byte, hunk.now[-1].end_byte
    root = now.tree.root_node
    left, right = max(back(now.data, first) - 1, 0), min(forward(now.data, last) + 1, len(now.data))
    before, behind = (root.descendant_for_byte_range(*each) for each in ((left, last), (first, right)))
    at = forward(was.data, hunk.was_at)
    inner, outer = _leaf(was, max(back(was.data, at) - 1, 0)), _leaf(was, at)
    after = left < first and before is not None and not is_container(before) and not _is_smaller(behind, before)
    if after and inner is not None:
        return Step(hunk, after=True), inner, False
    own = root.descendant_for_byte_range(first, last)
    beside = own is not None and is_beside(own)
    if outer is None or behind is None or (is_container(behind) and not beside):
        return None
    return Step(hunk), outer, beside


def _is_smaller(one: Node | None, other: Node) -> bool:
    return (
        one is not None and not is_container(one) and one.end_byte - one.start_byte < other.end_byte - other.start_byte
    )


def _end(tokens: tuple[Node, ...], at: int) -> int:
    return tokens[-1].end_byte if tokens else at


def _held(was: Parsed, step: Step) -> Range:
    if step.hunk.was:
        return step.hunk.was[0].start_byte, step.hunk.was[-1].end_byte
    at = forward(was.data, step.hunk.was_at)
    return at, at


def _leaf(parsed: Parsed, at: int) -> Node | None:
    assert parsed.tree is not None
    node = parsed.tree.root_node.descendant_for_byte_range(at, at + 1)
    if node is not None and node.parent is not None and is_token(node.parent):
        return node.parent
    return node if node is not None and is_token(node) else None

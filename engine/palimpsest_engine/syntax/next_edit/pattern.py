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
from palimpsest_engine.syntax.next_edit.scene import Changed, Hunk, token_text
from palimpsest_engine.syntax.next_edit.shapes import ancestors, is_beside, is_comment, is_container, unit_of
from palimpsest_engine.syntax.next_edit.words import carried, word_map
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

_MOST_HUNKS = 12  # of a larger change no part is a pattern: something was written anew
_ROOMY = re.compile(
    r"statement|assignment|declarator|arguments?\Z|argument_list|return|pair|element|block|body|array|list\Z"
)
_SPACE = b" \t\r\n\x0c\\"


@dataclass(frozen=True, slots=True)
class Step:
    """One hunk of a pattern. after: an insertion belongs to the token before it, not to the one behind."""

    hunk: Hunk
    after: bool = False


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

    def carry(self, alignment: Alignment, other: Parsed) -> list[tuple[Range, bytes]] | None:
        """Return the same steps in the other construct; None if it holds something else at these places."""
        ends = _Ends(alignment)
        whole, several = alignment.substitution()
        words = word_map(whole)
        found = []
        for step in self.steps:
            if any(token_text(self.changed.now, each) in several for each in step.hunk.now):
                return None
            for token in step.hunk.was:
                there = ends.starts.get(token.start_byte)
                ours = token_text(self.changed.was, token)
                theirs = None if there is None else alignment.other_text(there).decode("utf-8", "replace")
                if theirs == ours and theirs != carried(ours, whole, words):
                    whole, words = {}, {}  # the change is about something else
                if theirs != carried(ours, whole, words):
                    return None
            edit = _Carrier(self.changed, other, ends, step, whole, words).edit()
            if edit is None:
                return None
            found.append(edit)
        return found


class _Ends:
    """Finds what stands for the token that begins or ends at a byte."""

    def __init__(self, alignment: Alignment) -> None:
        self.starts = {one.start_byte: other for one, other in alignment.pairs}
        self.ends = {one.end_byte: other for one, other in alignment.pairs}


@dataclass(frozen=True, slots=True)
class _Carrier:
    """Carries one step over: the tokens by their words, the white space as the place has it."""

    changed: Changed
    other: Parsed
    ends: _Ends
    step: Step
    whole: dict[str, str]
    words: dict[str, str]

    def edit(self) -> tuple[Range, bytes] | None:
        hunk = self.step.hunk
        if hunk.was and hunk.now:
            return self._replacement(hunk)
        return self._removal() if hunk.was else self._insertion()

    def _tokens(self) -> Range:
        was = self.step.hunk.was
        return self.ends.starts[was[0].start_byte].start_byte, self.ends.starts[was[-1].start_byte].end_byte

    def _replacement(self, hunk: Hunk) -> tuple[Range, bytes]:
        """Replace the tokens, and the white space on either side of them if that has changed, too."""
        was, now, there = self.changed.was.data, self.changed.now.data, self.other.data
        start, end = self._tokens()
        text = self._written(hunk)
        gap = was[hunk.was[-1].end_byte : _forward(was, hunk.was[-1].end_byte)]
        new = now[hunk.now[-1].end_byte : _forward(now, hunk.now[-1].end_byte)]
        own = there[end : _forward(there, end)]
        if new != gap and own == gap and b"\n" not in gap + new:
            end, text = end + len(own), text + new
        gap = was[_back(was, hunk.was[0].start_byte) : hunk.was[0].start_byte]
        new = now[_back(now, hunk.now[0].start_byte) : hunk.now[0].start_byte]
        own = there[_back(there, start) : start]
        if new != gap and own == gap and b"\n" not in gap + new:
            start, text = start - len(own), new + text
        return (start, end), text

    def _removal(self) -> tuple[Range, bytes]:
        was, now, hunk = self.changed.was.data, self.changed.now.data, self.step.hunk
        start, end = self._tokens()
        left = _gap(now, hunk.now_at)
        behind = was[hunk.was[-1].end_byte : _forward(was, hunk.was[-1].end_byte)]
        if behind == left or b"\n" in behind:
            return (_back(self.other.data, start), end), b""
        return (start, _forward(self.other.data, end)), b""

    def _insertion(self) -> tuple[Range, bytes] | None:
        was, now, hunk = self.changed.was.data, self.changed.now.data, self.step.hunk
        at = _forward(was, hunk.was_at)
        gap = was[_back(was, at) : at]
        first, last = hunk.now[0].start_byte, hunk.now[-1].end_byte
        before, behind = now[_back(now, first) : first], now[last : _forward(now, last)]
        text = self._written(hunk)
        if self.step.after:
            there = self.ends.ends.get(_back(was, at))
            if there is None:
                return None
            start = there.end_byte
            end = _forward(self.other.data, start)
            if behind != gap and self.other.data[start:end] == gap and b"\n" not in behind:
                return (start, end), before + text + behind
            return (start, start), before + text
        there = self.ends.starts.get(at)
        if there is None:
            return None
        end = there.start_byte
        start = _back(self.other.data, end)
        if before != gap and self.other.data[start:end] == gap:
            return (start, end), before + text + behind
        return (end, end), text + self._indented(behind, at, end)

    def _written(self, hunk: Hunk) -> bytes:
        """Return the new tokens, and what is between them, in terms of the other place."""
        now = self.changed.now
        found, at = b"", hunk.now[0].start_byte
        for token in hunk.now:
            found += now.data[at : token.start_byte]
            found += carried(token_text(now, token), self.whole, self.words).encode()
            at = token.end_byte
        anchor = self.ends.starts.get(hunk.was[0].start_byte) if hunk.was else None
        own = anchor.start_byte if anchor is not None else None
        return found if own is None else self._indented(found, hunk.was[0].start_byte, own)

    def _indented(self, text: bytes, ours: int, theirs: int) -> bytes:
        """Return a text whose further lines are indented like the other line."""
        if b"\n" not in text:
            return text
        one, other = _indent(self.changed.was.data, ours), _indent(self.other.data, theirs)
        head, *lines = text.split(b"\n")
        return b"\n".join([head, *(other + line[len(one) :] if line.startswith(one) else line for line in lines)])


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
        levels = tuple(each for each in ancestors(node, unit) if each.child_count)
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
    left, right = max(_back(now.data, first) - 1, 0), min(_forward(now.data, last) + 1, len(now.data))
    before, behind = (root.descendant_for_byte_range(*each) for each in ((left, last), (first, right)))
    at = _forward(was.data, hunk.was_at)
    inner, outer = _leaf(was, max(_back(was.data, at) - 1, 0)), _leaf(was, at)
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


def _held(was: Parsed, step: Step) -> Range:
    if step.hunk.was:
        return step.hunk.was[0].start_byte, step.hunk.was[-1].end_byte
    at = _forward(was.data, step.hunk.was_at)
    return at, at


def _leaf(parsed: Parsed, at: int) -> Node | None:
    assert parsed.tree is not None
    node = parsed.tree.root_node.descendant_for_byte_range(at, at + 1)
    return node if node is not None and not node.child_count else None


def _back(data: bytes, at: int) -> int:
    """Return where the white space before a byte begins."""
    while at and data[at - 1] in _SPACE:
        at -= 1
    return at


def _forward(data: bytes, at: int) -> int:
    """Return where the white space at a byte ends."""
    while at < len(data) and data[at] in _SPACE:
        at += 1
    return at


def _gap(data: bytes, at: int) -> bytes:
    """Return the white space around a byte."""
    return data[_back(data, at) : _forward(data, at)]


def _indent(data: bytes, at: int) -> bytes:
    line = data[data.rfind(b"\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]

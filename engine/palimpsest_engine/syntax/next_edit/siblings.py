"""Find places of the same shape where the same change is due.

One change alone is a weak sign: it has to be among alike neighbours, or the other place has to have most of its words. The
same change made twice is a strong one, at places that have all that those two have in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from palimpsest_engine.changes import Certainty, NextEdit
from palimpsest_engine.syntax.next_edit.examples import Examples, examples_of
from palimpsest_engine.syntax.next_edit.fragments import changed_fragment
from palimpsest_engine.syntax.next_edit.names import Names
from palimpsest_engine.syntax.next_edit.pattern import Pattern, patterns_of
from palimpsest_engine.syntax.next_edit.places import Fit, elsewhere, sides_of
from palimpsest_engine.syntax.next_edit.scene import Changed, Scene
from palimpsest_engine.syntax.next_edit.weakness import is_of_its_place, is_of_plain_literals, is_put_around, is_weak
from palimpsest_engine.syntax.tree import Parsed, Range

if TYPE_CHECKING:
    from tree_sitter import Node

_CHANGES = 6  # the newest changes, which are looked at
_PATTERNS = 8  # of them all
_FOUND = 10  # places in one document
_MANY = 8  # places that have all that the examples have in common: most of them are left as they are
_TELLING = 2  # words that definitions have in common, if the same is put before them
_ALIKE = 2  # neighbours of one shape make a row, with the changed one
_IMPORT = re.compile(r"import|include|use_declaration|package|using_directive")


@dataclass(frozen=True, slots=True)
class _Due:
    """A place where a pattern is due."""

    fit: Fit
    certainty: Certainty


def siblings(scene: Scene) -> Iterator[NextEdit]:
    """Yield the change that was just made, at each place where it is due, too."""
    patterns, names = list(_patterns(scene)), Names()
    for age, pattern in patterns:
        examples = examples_of(pattern, [each for _, each in patterns])
        if (age and not examples.several) or _IMPORT.search(pattern.unit.type):
            continue
        if not examples.several and is_weak(pattern):
            continue
        for name, parsed in scene.documents.items():
            if parsed.tree is None or parsed.grammar != pattern.changed.now.grammar:
                continue
            for due in _due(examples, parsed, names):
                if not any(_touches(each, parsed, due.fit.span) for each in scene.changes):
                    text = due.fit.text.decode("utf-8", "replace")
                    reason = _reason(scene, pattern)
                    yield NextEdit(name, parsed.span(due.fit.span), text, "sibling", reason, due.certainty)


def _patterns(scene: Scene) -> Iterator[tuple[int, Pattern]]:
    """Yield what happened in the newest changes, and which of them it was, from 0 on."""
    standing = {id(each.change): each for each in scene.changes}
    count = 0
    for age, change in enumerate(scene.question.changes[:_CHANGES]):
        changed = standing.get(id(change)) or changed_fragment(change, scene)
        if changed is None:
            continue
        for pattern in patterns_of(changed):
            yield age, pattern
            count += 1
            if count == _PATTERNS:
                return


def _due(examples: Examples, parsed: Parsed, names: Names) -> Iterator[_Due]:
    """Yield the places in a document where the first of the examples is due."""
    pattern, seen = examples.patterns[0], set[Range]()
    rows = [] if parsed is not pattern.changed.now else [_row(examples, level, names) for level in pattern.levels]
    others = list(islice(_others(examples, parsed, names), _FOUND))
    doubtful = _is_doubtful(examples, parsed, [each for row in (*rows, others) for each in row])
    for row in (*rows, others):
        alike = row is not others and len(row) >= _ALIKE
        for fit in row:
            if fit.span not in seen:
                seen.add(fit.span)
                follows = _follows(examples, fit) if examples.several else alike
                unlike = row is others and is_put_around(pattern)
                yield _Due(fit, "likely" if follows and fit.keeps_lines and not (doubtful or unlike) else "possible")


def _is_doubtful(examples: Examples, parsed: Parsed, found: list[Fit]) -> bool:
    """Return whether all places of a document are guesses: most of their like were left as they are, or passed over."""
    pattern = examples.patterns[0]
    met = [each for each in found if examples.are_met(each.alignment)]
    return (
        examples.contested
        or len(met) > _MANY
        or any(examples.enclose(parsed, each.span) for each in met)
        or is_of_its_place(pattern)
        or (pattern.beside and len(examples.common) < _TELLING)
    )


def _follows(examples: Examples, fit: Fit) -> bool:
    """Return whether a place has what several examples ask for."""
    plain = is_of_plain_literals(examples.patterns[0])
    return examples.are_enough and examples.are_met(fit.alignment) and not (plain and not fit.alignment.is_equal)


def _row(examples: Examples, level: Node, names: Names) -> list[Fit]:
    """Return the neighbours in which a pattern is due."""
    pattern = examples.patterns[0]

    def is_alike(fit: Fit) -> bool:
        return examples.several or (fit.alignment.equal > 0 and fit.alignment.same_callees)

    found = [fit for side in sides_of(pattern, level) for fit in takewhile(is_alike, side)]
    return [each for each in found if names.are_known(pattern, each.carried, pattern.changed.now, each.leaf)]


def _others(examples: Examples, parsed: Parsed, names: Names) -> Iterator[Fit]:
    pattern = examples.patterns[0]
    for fits in elsewhere(pattern, parsed):
        fit = next((each for each in reversed(fits) if _is_strong(examples, each)), None)
        if fit is not None and names.are_known(pattern, fit.carried, parsed, fit.leaf):
            yield fit


def _is_strong(examples: Examples, fit: Fit) -> bool:
    """Return whether a place has enough words of the change, with no more than one example in particular."""
    alignment = fit.alignment
    if examples.several:
        return alignment.equal >= 1 or examples.patterns[0].beside
    return alignment.equal >= 2 and 2 * alignment.equal >= alignment.words and alignment.loose <= 1


def _touches(changed: Changed, parsed: Parsed, span: Range) -> bool:
    """Return whether the span lies in what was changed."""
    start, end = changed.now_range
    return changed.now is parsed and span[0] < end and (start < span[1] or start == span[0])


def _reason(scene: Scene, pattern: Pattern) -> str:
    changed = pattern.changed
    hunk = pattern.steps[0].hunk
    if changed.now is scene.documents.get(changed.change.document):
        line = changed.now.data.count(b"\n", 0, hunk.now[0].start_byte if hunk.now else hunk.now_at) + 1
        return f"the same change as on line {line}"
    return "the same change as before"

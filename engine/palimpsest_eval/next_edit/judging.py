"""Judge an edit that was offered: whether it is at a place where something is due, and whether it is what is due there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from palimpsest_engine import Span
from palimpsest_engine.changes import NextEdit, OpenDocument
from palimpsest_eval.next_edit.accepting import common_ends
from palimpsest_eval.next_edit.cases import Due, Option

_TOGETHER = 4096  # combinations of due edits that are tried for one offered edit


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on an offered edit.

    right: with it, the text is as it is to be there. at_place: it is on a line where something is due. done: the numbers of
    what it does.
    """

    right: bool
    at_place: bool
    done: tuple[int, ...] = ()


def judged(documents: Sequence[OpenDocument], expected: Sequence[Due], edit: NextEdit) -> Verdict:
    """Judge an edit by all that is due or allowed. It may do several things at once, if it lies around them."""
    text = next((each.text for each in documents if each.name == edit.document), None)
    if text is None or not 0 <= edit.span.start <= edit.span.end <= len(text):
        return Verdict(False, False)
    first, last = _lines(text, edit.span)
    here, near = False, list[tuple[int, list[Option]]]()
    for number, due in enumerate(expected):
        lines = [(option, *_lines(text, option.span)) for option in due if option.document == edit.document]
        here = here or any(first <= end and start <= last for _, start, end in lines)
        # A line may be inserted before a line end or after it.
        options = [option for option, start, end in lines if first - 1 <= end and start <= last + 1]
        if options:
            near.append((number, options))
    done = _done(text, near, applied(text, [Option(edit.document, edit.span, edit.text)]))
    return Verdict(bool(done), here or bool(done), done)


def applied(text: str, options: Sequence[Option]) -> str:
    """Return the text with some edits, none of which overlap."""
    for option in sorted(options, key=lambda each: each.span.start, reverse=True):
        text = text[: option.span.start] + option.text + text[option.span.end :]
    return text


def _done(text: str, near: Sequence[tuple[int, list[Option]]], after: str) -> tuple[int, ...]:
    """Return the numbers of those due edits that make the text what it is after the offered one; none if none do."""
    head, tail = common_ends(text, after)
    within = [
        (number, [each for each in options if each.span.start <= len(text) - tail and head <= each.span.end])
        for number, options in near
    ]
    within = [(number, options) for number, options in within if options]
    tried = product(*([None, *options] for _, options in within))
    for _, chosen in zip(range(_TOGETHER), tried, strict=False):
        kept = [(number, each) for (number, _), each in zip(within, chosen, strict=True) if each is not None]
        if kept and applied(text, [each for _, each in kept]) == after:
            return tuple(number for number, _ in kept)
    for number, options in near:
        if any(applied(text, [each]) == after for each in options):
            return (number,)
    return ()


def _lines(text: str, span: Span) -> tuple[int, int]:
    """Return the first and the last line of a span, from 0 on."""
    return text.count("\n", 0, span.start), text.count("\n", 0, span.end)

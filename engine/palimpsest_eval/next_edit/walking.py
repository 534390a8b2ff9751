"""Follow next edits as a person would: accept what is right, refuse what is wrong, and ask again until nothing is offered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from palimpsest_engine import Span
from palimpsest_engine.changes import NextEdit, NextEditQuestion
from palimpsest_eval.next_edit.accepting import with_edit
from palimpsest_eval.next_edit.cases import Case, Due, Option
from palimpsest_eval.next_edit.judging import judged

Propose = Callable[[NextEditQuestion], tuple[NextEdit, ...]]

_MOST = 40  # questions in one walk


@dataclass(frozen=True, slots=True)
class Walk:
    """due: places at the beginning. reached: those that were changed rightly. wrong: edits shown that were not right."""

    due: int
    reached: int
    wrong: int


def walked(case: Case, propose: Propose, budget_ms: float) -> Walk:
    """Walk through a case. What was refused is not looked at again; the walk ends when nothing else is offered."""
    due, allowed, refused, reached = list(case.due), list(case.allowed), set[tuple[str, str, str]](), 0
    documents, changes, cursor = case.documents, case.changes, case.cursor
    for _ in range(_MOST):
        asked = replace(case, documents=documents, changes=changes, cursor=cursor)
        offered = [each for each in propose(asked.question(budget_ms)) if _key(asked, each) not in refused]
        if not offered:
            break
        edit = offered[0]
        verdict = judged(documents, (*due, *allowed), edit)
        if not verdict.right:
            refused.add(_key(asked, edit))
            continue
        reached += sum(number < len(due) for number in verdict.done)
        due, allowed = (
            [_moved(each, edit) for number, each in numbered if number not in verdict.done]
            for numbered in (list(enumerate(due)), list(enumerate(allowed, len(due))))
        )
        documents, changes, cursor = with_edit(documents, changes, edit.document, edit.span, edit.text)
    return Walk(len(case.due), reached, len(refused))


def _key(case: Case, edit: NextEdit) -> tuple[str, str, str]:
    """Return by what a refused edit is known again: its text, and what stands before and in it."""
    text = next((each.text for each in case.documents if each.name == edit.document), "")
    return edit.document, text[max(0, edit.span.start - 40) : edit.span.end], edit.text


def _moved(due: Due, edit: NextEdit) -> Due:
    """Return what is due after an edit, without options that it overlaps."""
    return tuple(kept for option in due if (kept := _shifted(option, edit)) is not None)


def _shifted(option: Option, edit: NextEdit) -> Option | None:
    grown = len(edit.text) - (edit.span.end - edit.span.start)
    start, end = option.span.start, option.span.end
    if option.document != edit.document or end <= edit.span.start:
        return option
    if start >= edit.span.end:
        return replace(option, span=Span(start + grown, end + grown))
    return None

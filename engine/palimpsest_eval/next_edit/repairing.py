"""Repair one wrong word with next edits: the tests of a program say whether it is mended (after CRB of CDLM, 2512.15596).

In each program one line was just typed, once with a wrong word and once as it is to be. Programs that pass with the wrong
word are left out. Knows no finder and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from palimpsest_engine.changes import Change, NextEdit, NextEditQuestion, OpenDocument
from palimpsest_eval.corrupted import wrong_words
from palimpsest_eval.next_edit.cases import Option
from palimpsest_eval.next_edit.judging import applied
from palimpsest_eval.next_edit.measuring import EAGERNESS
from palimpsest_eval.next_edit.walking import Propose
from palimpsest_eval.problems import Problem

Passes = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Repair:
    """One program, with an eagerness. in_vain: something is shown for the program as it is to be."""

    task: str
    eagerness: str
    wrong: str
    shown: bool
    mended: bool
    exact: bool
    in_vain: bool

    def as_json(self) -> dict[str, Any]:
        """Return the row for a results file."""
        return asdict(self)


def repaired(
    problems: Sequence[Problem],
    propose: Propose,
    passes: Passes,
    seed: int,
    budget_ms: float,
    advanced: Callable[[], None] = lambda: None,
) -> Iterator[Repair]:
    """Yield a row for each program and eagerness. passes: whether a program, with its test, runs to its end."""
    for problem in wrong_words(problems, seed):
        advanced()
        if passes(problem.program(problem.present)):
            continue
        right = problem.truth or ""
        for_wrong, for_right = (propose(_question(problem, line, budget_ms)) for line in (problem.present, right))
        for name, allowed in EAGERNESS.items():
            shown = next((each for each in for_wrong if each.certainty in allowed), None)
            text = problem.filled(problem.present) if shown is None else _with(problem, shown)
            mended = shown is not None and passes(text + problem.program("")[len(problem.filled("")) :])
            in_vain = any(each.certainty in allowed for each in for_right)
            exact = text == problem.filled(right)
            yield Repair(problem.task_id, name, problem.present, shown is not None, mended, exact, in_vain)


def _question(problem: Problem, line: str, budget_ms: float) -> NextEditQuestion:
    """Return the question once a line was typed."""
    text, start = problem.filled(line), problem.prompt.rfind("\n") + 1
    end = text.find("\n", len(problem.prompt) + len(line)) + 1 or len(text)
    document = OpenDocument(problem.task_id, text, problem.language)
    cursor = len(problem.prompt) + len(line)
    return NextEditQuestion(
        (document,), (Change(problem.task_id, start, "", text[start:end]),), cursor, budget_ms=budget_ms
    )


def _with(problem: Problem, edit: NextEdit) -> str:
    return applied(problem.filled(problem.present), [Option(edit.document, edit.span, edit.text)])

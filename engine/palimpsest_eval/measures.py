"""Measures one answer: exactness, similarity, tests, syntax. Knows neither systems nor files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any

from palimpsest_engine.fill.evidence import line_of
from palimpsest_engine.request import Span
from palimpsest_engine.syntax.watched import SyntaxGate
from palimpsest_eval.execute import Sandbox
from palimpsest_eval.problems import Problem
from palimpsest_eval.systems import Answer


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The measures of one answer: one problem, one system, one seed. None means "does not apply".

    passed: the test ran to its end; outcome: how it ended. exact: the text is the truth, except for white space at the
    ends. similarity: 0 to 1. parses: the whole text has no syntax error. raw: number of candidates before the gate;
    raw_parse: number of those that parse; first_parses: the preferred candidate parses.
    """

    system: str
    task: str
    kind: str
    seed: int
    text: str
    passed: bool | None
    outcome: str | None
    exact: bool | None
    any_exact: bool | None
    similarity: float | None
    parses: bool | None
    raw: int
    raw_parse: int
    first_parses: bool | None
    treatment: str
    nfe: int
    ms: float
    repair_ms: float
    line: bool | None = None
    language: str | None = None
    evidence: dict[str, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row as a results file has it."""
        return asdict(self)


def similarity(text: str, truth: str) -> float:
    """Return the share of characters that two texts have in common, in order (Ratcliff and Obershelp), ends stripped."""
    return SequenceMatcher(None, text.strip(), truth.strip(), autojunk=False).ratio()


def parses(problem: Problem, text: str) -> bool | None:
    """Tell whether the text has no syntax error with `text` in the hole; None without a grammar."""
    at = len(problem.prompt)
    gate = SyntaxGate(problem.prompt + problem.suffix, (Span(at, at),), problem.language, budget_ms=5000)
    status = gate.judge((text,)).status
    return None if status == "not checked" else status == "valid"


def measured(system: str, problem: Problem, seed: int, answer: Answer, sandbox: Sandbox | None) -> ResultRow:
    """Measure an answer. sandbox: runs the test, if the problem has one."""
    truth, text = problem.truth, answer.text
    outcome = sandbox.run(problem.program(text)) if sandbox is not None and problem.test is not None else None
    raw = [parses(problem, candidate) for candidate in answer.candidates if candidate]
    tried = {text, *answer.candidates}
    return ResultRow(
        system=system,
        task=problem.task_id,
        kind=problem.kind,
        seed=seed,
        text=text,
        passed=outcome.passed if outcome else None,
        outcome=(outcome.detail or outcome.outcome) if outcome else None,
        exact=None if truth is None else text.strip() == truth.strip(),
        any_exact=None if truth is None else any(each.strip() == truth.strip() for each in tried),
        similarity=None if truth is None else round(similarity(text, truth), 4),
        parses=parses(problem, text) if text else None,
        raw=len(raw),
        raw_parse=sum(each is True for each in raw),
        first_parses=raw[0] if raw else None,
        treatment=answer.treatment,
        nfe=answer.nfe,
        ms=round(answer.ms, 2),
        repair_ms=round(answer.repair_ms, 5),
        line=None if truth is None else line_of(text) == line_of(truth),
        language=problem.language,
        evidence=answer.evidence and {name: round(value, 5) for name, value in answer.evidence.items()},
    )

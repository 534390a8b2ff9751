"""Runs an evaluation: every problem through every system. Knows no files but the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from palimpsest_eval.execute import Sandbox
from palimpsest_eval.measures import measured
from palimpsest_eval.problems import Problem
from palimpsest_eval.results import Journal
from palimpsest_eval.systems import System

WARMING_SEED = 2**31


def evaluate(
    problems: Sequence[Problem],
    systems: Sequence[System],
    journal: Journal,
    sandbox: Sandbox | None = None,
    seeds: Sequence[int] = (0,),
    advanced: Callable[[int], None] = lambda rows: None,
) -> None:
    """Add every row that the journal lacks.

    It goes problem by problem: a run that is cut short then compares systems on the same problems, and a slow moment of
    the machine hits all systems. Each problem has noise of its own. Each system fills once before its time counts.
    """
    warm: set[str] = set()
    for number, problem in enumerate(problems):
        for seed in seeds:
            for system in systems:
                if (system.name, problem.task_id, seed) not in journal.done:
                    if system.name not in warm:
                        system.fill(problem, WARMING_SEED)
                        warm.add(system.name)
                    answer = system.fill(problem, seed * len(problems) + number)
                    journal.add(measured(system.name, problem, seed, answer, sandbox))
                advanced(1)

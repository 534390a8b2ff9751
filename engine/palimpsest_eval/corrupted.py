"""Put a wrong word into a line: problems for what keeps a part of a text. Knows no model."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from palimpsest_eval.problems import Problem

_WORD = re.compile(r"[^\W\d]\w*|\d+|[^\w\s]+")  # a name, a number, signs


def wrong_words(problems: Iterable[Problem], seed: int) -> Iterator[Problem]:
    """Yield those problems whose middle is one line, with a wrong word in it.

    A name is replaced by a name, a number by a number, signs by signs, which occur in the prompt or the suffix. A middle that
    has nothing to replace is left out.
    """
    draw = random.Random(seed)
    for problem in problems:
        if problem.truth is None or not problem.one_line:
            continue
        words = list(_WORD.finditer(problem.truth))
        around = _WORD.findall(problem.prompt + problem.suffix)
        for word in draw.sample(words, len(words)):
            others = sorted({each for each in around if each != word[0] and _kind(each) == _kind(word[0])})
            if others:
                wrong = problem.truth[: word.start()] + draw.choice(others) + problem.truth[word.end() :]
                yield replace(problem, present=wrong, kind="wrong word")
                break


def _kind(word: str) -> str:
    return "number" if word[0].isdigit() else "name" if word[0].isalpha() or word[0] == "_" else "signs"

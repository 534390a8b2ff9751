"""Score an edited text by its characters: chrF (Popović 2015), of the lines that were changed. Knows texts only.

An F score with beta 2 for each length of n-grams from 1 to 6, then their mean; white space counts. Two empty texts score 100.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

ORDER = 6
BETA = 2.0


def chrf(candidate: str, reference: str, order: int = ORDER, beta: float = BETA) -> float:
    """Return the score from 0 to 100. Lengths of which neither text has an n-gram are left out."""
    scores = [_f_score(_grams(candidate, n), _grams(reference, n), beta) for n in range(1, order + 1)]
    counted = [score for score in scores if score is not None]
    return 100.0 * sum(counted) / len(counted) if counted else 100.0


def delta_chrf(before: Sequence[str], candidate: Sequence[str], reference: Sequence[str]) -> float:
    """Return the score of those lines that differ from the text before, from the first to the last."""
    return chrf(changed_lines(before, candidate), changed_lines(before, reference))


def changed_lines(before: Sequence[str], after: Sequence[str]) -> str:
    """Return the lines of a text without those that it begins and ends with as before."""
    least = min(len(before), len(after))
    head = next((at for at in range(least) if before[at] != after[at]), least)
    most = least - head
    tail = next((at for at in range(most) if before[-1 - at] != after[-1 - at]), most)
    return "\n".join(after[head : len(after) - tail])


def _grams(text: str, length: int) -> Counter[str]:
    return Counter(text[at : at + length] for at in range(len(text) - length + 1))


def _f_score(candidate: Counter[str], reference: Counter[str], beta: float) -> float | None:
    if not candidate and not reference:
        return None
    common = (candidate & reference).total()
    if not common:
        return 0.0
    precision, recall = common / candidate.total(), common / reference.total()
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)

"""Gather what speaks for a candidate, as numbers: what the model thinks of it, and what others and the text around it say.

`checkpoint/calibration.py` makes a probability of them. Knows no model and no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from palimpsest_engine.request import Fill

FOLLOWING = 8  # tokens behind the first line that count


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence for a candidate, before it is judged.

    line: log-likelihood of each token of its first line, in nats. behind: of the tokens that follow. lead: how much more
    likely its first line is than that of the next other candidate, in nats; 0 if there is none. agreement: share of the
    candidates that begin with its first line. strange: names in it that stand nowhere in sight.
    """

    line: tuple[float, ...]
    behind: tuple[float, ...] = ()
    lead: float = 0.0
    agreement: float = 1.0
    strange: int = 0


def features(evidence: Evidence, fill: Fill) -> dict[str, float]:
    """Return the numbers that a calibration weighs, by name; all are finite.

    total, worst, mean: log-likelihood of the first line, of its least likely token, of a token. behind: the mean of what
    follows. length: logarithm of the tokens. lead, agreement, strange: as in `Evidence`. doubtful: the gate does not call the
    document valid. mended: it is a later draw, or was cut.
    """
    line, behind = evidence.line or (0.0,), evidence.behind or (0.0,)
    return {
        "total": sum(line),
        "worst": min(line),
        "mean": sum(line) / len(line),
        "behind": sum(behind) / len(behind),
        "length": log(len(line)),
        "lead": min(evidence.lead, 20.0),
        "agreement": evidence.agreement,
        "strange": float(evidence.strange),
        "doubtful": float(fill.verdict.status != "valid"),
        "mended": float(fill.treatment != "none"),
    }


def first_line(texts: Sequence[str]) -> int:
    """Return how many of these tokens, given as text, its first line with anything on it takes."""
    said = False
    for number, text in enumerate(texts):
        before, newline, _ = text.partition("\n")
        if newline and (said or before.strip()):
            return number + bool(before.strip())
        said = said or bool(text.strip())
    return len(texts)


def line_of(text: str) -> str:
    """Return the first line of a text that is not blank, without blanks around it."""
    return text.strip().partition("\n")[0].rstrip()

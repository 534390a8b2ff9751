"""Hold how sure a model's fills have to be to be right: measured by `palimpsest eval calibrate`, for one model. Torch-free.

The probability is that of a logistic regression (Platt 1999) over the numbers of `fill/evidence.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp

from palimpsest_engine.request import Confidence

ANY = ""  # stands for the languages that were not measured


@dataclass(frozen=True, slots=True)
class Calibration:
    """A model's calibration.

    intercept, weights: of the regression, by feature. languages: what a language adds to the intercept; those that are not
    there are as `ANY`, and without that not calibrated. precisions: pairs (precision, least probability), ascending: of the
    held-out fills that were at least so probable, that share was right.
    """

    intercept: float = 0.0
    weights: Mapping[str, float] = field(default_factory=dict)
    languages: Mapping[str, float] = field(default_factory=dict)
    precisions: tuple[tuple[float, float], ...] = ()

    def confidence(self, features: Mapping[str, float], language: str | None) -> Confidence | None:
        """Return how sure a fill with these features is, or None for a language that nobody measured."""
        key = language if language is not None and language in self.languages else ANY
        if key not in self.languages:
            return None
        logit = self.intercept + self.languages[key]
        logit += sum(weight * features.get(name, 0.0) for name, weight in self.weights.items())
        probability = 1 / (1 + exp(-max(-50.0, min(50.0, logit))))
        reached = [precision for precision, least in self.precisions if probability >= least]
        return Confidence(probability, max(reached, default=0.0))

"""Decide what is shown unasked: what is sure enough for the user's `eagerness`. No LSP, no engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from palimpsest_engine import Confidence
from palimpsest_server.settings import Eagerness

# The share of right ones among the suggestions that are shown unasked, on code that the model was measured on.
PRECISION: Mapping[Eagerness, float] = {"low": 0.8, "medium": 0.6, "high": 0.0}


@dataclass(frozen=True, slots=True)
class Offer:
    """Texts to insert, best first, or none and the reason. confidences: of each text, where the model was measured."""

    texts: tuple[str, ...] = ()
    reason: str = ""
    confidences: tuple[Confidence, ...] = ()

    def unasked(self, eagerness: Eagerness) -> Offer:
        """Return the part that is shown unasked, to a user who only types. What was not measured is shown."""
        if not self.confidences:
            return self
        sure = [at for at, each in enumerate(self.confidences) if each.precision >= PRECISION[eagerness]]
        if self.texts and not sure:
            return Offer(reason=f"not sure enough ({self.likely}; eagerness is {eagerness})")
        return Offer(tuple(self.texts[at] for at in sure), self.reason, tuple(self.confidences[at] for at in sure))

    @property
    def likely(self) -> str:
        """Say how likely the first text is to be right, or "" if nobody knows."""
        return f"about {100 * self.confidences[0].probability:.0f} % likely to be right" if self.confidences else ""

    def after(self, typed: str) -> Offer:
        """Return the rests of the texts behind what was typed of them."""
        left = [at for at, text in enumerate(self.texts) if text.startswith(typed) and text != typed]
        confidences = tuple(self.confidences[at] for at in left) if self.confidences else ()
        return Offer(tuple(self.texts[at][len(typed) :] for at in left), self.reason, confidences)


def waits_for_the_end(eagerness: Eagerness, *, measured: bool) -> bool:
    """Return whether a draft is not shown unasked: only the end tells how sure it is."""
    return measured and PRECISION[eagerness] > 0

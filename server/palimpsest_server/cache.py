"""Suggestions kept, so that typing along one, or asking again in the same place, costs no model call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the model offered at `offset` of `text`; an empty `fill` has a `reason`."""

    uri: str
    text: str
    offset: int
    fill: str
    reason: str = ""


class Suggestions:
    """The last few suggestions. An answer is given only for the very text it was made for, or that text and
    more of the suggestion typed in; so a kept suggestion is never stale.
    """

    def __init__(self, size: int = 16) -> None:
        self._kept: deque[Suggestion] = deque(maxlen=size)

    def keep(self, suggestion: Suggestion) -> None:
        """Remember; the oldest one goes."""
        self._kept.appendleft(suggestion)

    def find(self, uri: str, text: str, offset: int) -> Suggestion | None:
        """What is left to be suggested at this place, or None if the model was not asked here."""
        for kept in self._kept:
            if kept.uri == uri and (rest := _rest(kept, text, offset)) is not None:
                return Suggestion(uri, text, offset, rest, kept.reason)
        return None

    def forget(self, uri: str | None = None) -> None:
        """Drop what was kept for a document, or for all."""
        if uri is None:
            self._kept.clear()
        else:
            self._kept = deque((each for each in self._kept if each.uri != uri), maxlen=self._kept.maxlen)


def _rest(kept: Suggestion, text: str, offset: int) -> str | None:
    """The rest of the suggestion after what was typed of it; None if anything else was typed."""
    typed = text[kept.offset : offset]
    if offset < kept.offset or len(text) != len(kept.text) + len(typed) or not kept.fill.startswith(typed):
        return None
    if kept.fill and typed == kept.fill:
        return None  # all of it was typed or accepted: a new question
    same = text.startswith(kept.text[: kept.offset]) and text.endswith(kept.text[kept.offset :])
    return kept.fill[len(typed) :] if same else None

"""Suggestions kept, so that typing along one, or asking again in the same place, costs no model call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the model offered at `offset` of `text`, best first; without `fills` there is a `reason`.

    wide: it was asked for more than one.
    """

    uri: str
    text: str
    offset: int
    fills: tuple[str, ...]
    reason: str = ""
    wide: bool = False


class Suggestions:
    """The last few suggestions. An answer is given only for the very text it was made for, or that text and
    more of a suggestion typed in; so a kept suggestion is never stale.
    """

    def __init__(self, size: int = 16) -> None:
        self._kept: deque[Suggestion] = deque(maxlen=size)

    def keep(self, suggestion: Suggestion) -> None:
        """Remember; the oldest one goes."""
        self._kept.appendleft(suggestion)

    def find(self, uri: str, text: str, offset: int) -> Suggestion | None:
        """What is left to be suggested at this place, or None if the model was not asked here."""
        for kept in self._kept:
            if kept.uri == uri and (rests := _rests(kept, text, offset)) is not None:
                return replace(kept, text=text, offset=offset, fills=rests)
        return None

    def forget(self, uri: str | None = None) -> None:
        """Drop what was kept for a document, or for all."""
        if uri is None:
            self._kept.clear()
        else:
            self._kept = deque((each for each in self._kept if each.uri != uri), maxlen=self._kept.maxlen)


def _rests(kept: Suggestion, text: str, offset: int) -> tuple[str, ...] | None:
    """The rests of the suggestions after what was typed of them; None if anything else was typed, or all of one: that is
    a new question."""
    typed = text[kept.offset : offset]
    if offset < kept.offset or len(text) != len(kept.text) + len(typed):
        return None
    rests = tuple(fill[len(typed) :] for fill in kept.fills if fill.startswith(typed) and fill != typed)
    if not rests and (typed or kept.fills):
        return None
    same = text.startswith(kept.text[: kept.offset]) and text.endswith(kept.text[kept.offset :])
    return rests if same else None

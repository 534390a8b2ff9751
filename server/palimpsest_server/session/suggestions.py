"""Keep suggestions, so that typing along one, or asking again in the same place, costs no model call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The model's texts for `offset` of `text`, best first; without `fills` there is a `reason`.

    wide: several were asked for.
    """

    uri: str
    text: str
    offset: int
    fills: tuple[str, ...]
    reason: str = ""
    wide: bool = False


class Suggestions:
    """The last few suggestions, never stale. One is found only for exactly the text that it was made for, or for that text
    with a part of the suggestion typed in.
    """

    def __init__(self, size: int = 16) -> None:
        self._kept: deque[Suggestion] = deque(maxlen=size)

    def keep(self, suggestion: Suggestion) -> None:
        """Keep a suggestion, and drop the oldest one."""
        self._kept.appendleft(suggestion)

    def find(self, uri: str, text: str, offset: int) -> Suggestion | None:
        """Return the rest of a suggestion for this place, or None if the model was not asked here."""
        for kept in self._kept:
            if kept.uri == uri and (rests := _rests(kept, text, offset)) is not None:
                return replace(kept, text=text, offset=offset, fills=rests)
        return None

    def forget(self, uri: str | None = None) -> None:
        """Drop the suggestions of a document, or all."""
        if uri is None:
            self._kept.clear()
        else:
            self._kept = deque((each for each in self._kept if each.uri != uri), maxlen=self._kept.maxlen)


def _rests(kept: Suggestion, text: str, offset: int) -> tuple[str, ...] | None:
    """Return the rests of the suggestions behind what was typed of them; None if anything else, or all of one, was typed."""
    typed = text[kept.offset : offset]
    if offset < kept.offset or len(text) != len(kept.text) + len(typed):
        return None
    rests = tuple(fill[len(typed) :] for fill in kept.fills if fill.startswith(typed) and fill != typed)
    if not rests and (typed or kept.fills):
        return None
    same = text.startswith(kept.text[: kept.offset]) and text.endswith(kept.text[kept.offset :])
    return rests if same else None

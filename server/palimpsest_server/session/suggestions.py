"""Keep suggestions, so that typing along one, or asking again in the same place, costs no model call."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from palimpsest_server.session.eagerness import Offer


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The model's offer for `offset` of `text`. wide: several texts were asked for. typed: a part of it was typed since."""

    uri: str
    text: str
    offset: int
    offer: Offer
    wide: bool = False
    typed: bool = False


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
            if kept.uri == uri and (rest := _rest(kept, text, offset)) is not None:
                return Suggestion(uri, text, offset, rest, kept.wide, kept.typed or offset > kept.offset)
        return None

    def forget(self, uri: str | None = None) -> None:
        """Drop the suggestions of a document, or all."""
        if uri is None:
            self._kept.clear()
        else:
            self._kept = deque((each for each in self._kept if each.uri != uri), maxlen=self._kept.maxlen)


def _rest(kept: Suggestion, text: str, offset: int) -> Offer | None:
    """Return the rest of a suggestion behind what was typed of it; None if anything else, or all of one, was typed."""
    typed = text[kept.offset : offset]
    if offset < kept.offset or len(text) != len(kept.text) + len(typed):
        return None
    rest = kept.offer.after(typed)
    if not rest.texts and (typed or kept.offer.texts):
        return None
    same = text.startswith(kept.text[: kept.offset]) and text.endswith(kept.text[kept.offset :])
    return rest if same else None

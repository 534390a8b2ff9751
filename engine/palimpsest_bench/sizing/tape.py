"""Reads a typing session as the server would see it: where it would ask, and what a right suggestion would spare.

What follows from texts is found here, once; whoever plays a tape knows numbers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from palimpsest_bench.server import replay
from palimpsest_bench.server.stand_ins import WRONG, Foresight
from palimpsest_engine import Outline
from palimpsest_server.session import suppression

RIGHT = 0.3  # about the share of suggestions that users accept from a good assistant
_LOOK_AHEAD = 200  # keystrokes, the most that a suggestion may cover

Kind = Literal["open", "change", "move", "accept", "cancel"]


@dataclass(frozen=True, slots=True)
class Moment:
    """The document after an event.

    pause: seconds since the event before. state: a number, the same for the same text with the same cursor. due: the rules
    allow a suggestion here. right: the model would foresee the rest of the line. along: the next keystroke types along what
    it foresees. goal: the moment at which all of that is typed, if there is one.
    """

    pause: float
    kind: Kind
    state: int
    due: bool
    right: bool = False
    along: bool = False
    goal: int | None = None


@dataclass(frozen=True, slots=True)
class Tape:
    """A session, moment by moment. texts: the document at each moment, and the cursor's offset in it."""

    name: str
    language: str
    moments: tuple[Moment, ...]
    texts: tuple[tuple[str, int], ...]

    @property
    def keystrokes(self) -> int:
        """Return the number of keystrokes."""
        return sum(moment.kind == "change" for moment in self.moments)

    @property
    def seconds(self) -> float:
        """Return how long the typing takes."""
        return sum(moment.pause for moment in self.moments)


@cache
def tapes(right: float = RIGHT, languages: tuple[str, ...] = ()) -> tuple[Tape, ...]:
    """Read the sessions of the package that are in these languages, all if there are none.

    right: the share of the lines that the model knows.
    """
    sessions = replay.sessions().items()
    return tuple(
        tape(name, each, right) for name, each in sessions if not languages or replay.opened(each).language in languages
    )


def tape(name: str, session: replay.TypingSession, right: float) -> Tape:
    """Read one session."""
    document = replay.opened(session)
    texts = tuple(_texts(session))
    foresight = Foresight(replay.final_text(session), right)
    numbers = dict[tuple[str, int], int]()
    foreseen = [foresight.rest_of_line(*each) for each in texts]
    moments = [
        Moment(
            event.at - session[max(0, at - 1)].at,
            _kind(event),
            numbers.setdefault(texts[at], len(numbers)),
            due,
            (known := foreseen[at] != WRONG),
            known and _along(session, texts, at, foreseen[at]),
            _goal(session, texts, at, foreseen[at]) if known else None,
        )
        for at, (event, due) in enumerate(zip(session, _due(document, texts), strict=True))
    ]
    return Tape(name, document.language, tuple(moments), texts)


def _kind(event: replay.Event) -> Kind:
    match event.what:
        case replay.Open():
            return "open"
        case replay.Change():
            return "change"
        case replay.Move():
            return "move"
        case "accept" | "cancel" as kind:
            return kind


def _texts(session: replay.TypingSession) -> Iterable[tuple[str, int]]:
    """Yield the text after each event, and the offset of the cursor in it."""
    text, cursor = "", (0, 0)
    for event in session:
        match event.what:
            case replay.Open():
                text = event.what.text
            case replay.Change():
                text, cursor = event.what.apply(text), event.what.cursor
            case replay.Move():
                cursor = event.what.cursor
        yield text, replay.offset_of(text, cursor)


def _due(document: replay.Open, texts: Sequence[tuple[str, int]]) -> Iterable[bool]:
    """Yield whether the server's rules allow an automatic suggestion."""
    outline: Outline | None = None
    seen = ""
    for text, offset in texts:
        if outline is None or text != seen:
            outline, seen = Outline(text, document.language, document.name, outline), text
        spot = suppression.Spot(
            text[:offset],
            text[offset:],
            text[: suppression.HEAD],
            len(text),
            document.name,
            document.language,
            outline.kind_at(offset),
        )
        yield not suppression.reason(spot)


def _along(session: replay.TypingSession, texts: Sequence[tuple[str, int]], at: int, foreseen: str) -> bool:
    """Return whether the next event types the first of what is foreseen."""
    if at + 1 == len(session) or not isinstance(change := session[at + 1].what, replay.Change):
        return False
    (text, offset), (after, behind) = texts[at], texts[at + 1]
    return (
        bool(change.text)
        and foreseen.startswith(change.text)
        and after == _typed(text, offset, change.text)
        and (behind == offset + len(change.text))
    )


def _goal(session: replay.TypingSession, texts: Sequence[tuple[str, int]], at: int, foreseen: str) -> int | None:
    """Return the first moment at which the text is the one that accepting would make."""
    wanted = _typed(*texts[at], foreseen)
    ahead = range(at + 1, min(at + 1 + _LOOK_AHEAD, len(session)))
    return next((each for each in ahead if texts[each][0] == wanted), None)


def _typed(text: str, offset: int, more: str) -> str:
    return text[:offset] + more + text[offset:]

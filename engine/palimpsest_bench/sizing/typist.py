"""Plays a typing session as an editor and the language server do, without either: when to ask, what ends a question.

The rules are those of `session/debounce.py`, `session/jobs.py` and `features/inline_completion.py`, over numbers in place
of texts; the pauses are the product's own class. Knows neither clocks nor engines: an `Office` has both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from palimpsest_bench.sizing.tape import Tape
from palimpsest_engine import Job
from palimpsest_server.session.debounce import Debounce

_BEFORE_PREFETCH = 0.1  # seconds, as in features/inline_completion.py
_ANSWER_WITHIN = 0.25  # seconds; a request that has its answer cannot be cancelled by the editor
_KEPT = 16  # suggestions, as in session/suggestions.py
_URI = "document"

Key = tuple[str, int]
Outcome = Literal["", "answered", "cancelled"]


@dataclass(eq=False, slots=True)
class Ask:
    """A question of one document at one moment.

    key: the same for the same place; a speculative one about a text that nobody will type has a key of its own. made,
    submitted, begun, ended: times in seconds; made is that of the keystroke. job: what
    takes its turn for it.
    """

    client: int
    document: int
    tape: Tape
    moment: int
    key: Key
    speculative: bool
    made: float
    submitted: float | None = None
    begun: float | None = None
    ended: float | None = None
    outcome: Outcome = ""
    awaited: bool = False
    job: Job | None = None


class Office(Protocol):
    """The world of a typist: time, and an engine."""

    def now(self) -> float:
        """Return the time in seconds."""
        ...

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call after so many seconds."""
        ...

    def submit(self, ask: Ask) -> None:
        """Hand a question to the engine, which calls `answered` or `given_up` once unless the question is cancelled."""
        ...

    def cancel(self, ask: Ask) -> None:
        """Tell the engine that nobody wants the answer any more."""
        ...


class Typist:
    """One developer in one document: types a tape from a moment on, until told to stop, or to its end.

    at_end: called there. keystrokes: those typed. refused: questions that the rules ended before the engine was asked.
    """

    def __init__(
        self,
        office: Office,
        client: int,
        document: int,
        tape: Tape,
        first: int = 0,
        at_end: Callable[[], None] = lambda: None,
        *,
        speculate: bool = True,
    ) -> None:
        self.keystrokes = self.refused = 0
        self.over = False
        self._office, self._client, self._document = office, client, document
        self._tape, self._moments = tape, tape.moments
        self._at = min(first, len(tape.moments) - 1)
        self._speculate, self._at_end = speculate, at_end
        self._debounce = Debounce()
        self._kept = dict[Key, bool]()  # whether something was offered
        self._typed = dict[Key, Key]()  # where a part of a kept suggestion stands, and where that was made
        self._right: Key | None = None  # where the right suggestion that holds here was made
        self._seen = False  # and whether it is on the screen
        self._ask: Ask | None = None

    def begin(self) -> None:
        """Wait for the next event."""
        if self._at + 1 < len(self._moments):
            self._office.later(self._moments[self._at + 1].pause, self._press)
        else:
            self._office.later(0.0, self._come_to_the_end)

    def stop(self) -> None:
        """Press no further key, and want nothing any more."""
        self.over = True
        self._end()

    def answered(self, ask: Ask) -> None:
        """Take an answer of the engine."""
        if ask is not self._ask:
            return
        self._ask = None
        self._keep(ask.key, offered=True)
        if ask.key == self._here:
            self._show(ask.key)

    def given_up(self, ask: Ask) -> None:
        """Take note that the engine ended a speculative question for that of another typist."""
        if ask is self._ask:
            self._ask = None
            if ask.awaited:
                self._start()

    def _come_to_the_end(self) -> None:
        if not self.over:
            self.stop()
            self._at_end()

    @property
    def _here(self) -> Key:
        return ("at", self._moments[self._at].state)

    @property
    def _waits_for_answer(self) -> bool:
        """Return whether the editor's own request is open, so that Escape ends it."""
        ask = self._ask
        return ask is not None and not ask.speculative and self._office.now() - ask.made < _ANSWER_WITHIN

    def _press(self) -> None:
        if self.over:
            return
        before, kind = self._moments[self._at], self._moments[self._at + 1].kind
        if kind == "accept" and self._seen and before.goal is not None:
            self._at = before.goal
            self._changed(along=True, made=None)
        else:
            self._at += 1
            if kind == "change":
                self.keystrokes += 1
                along = self._right is not None and before.along
                self._changed(along, self._right if along and before.goal != self._at else None)
            elif kind == "move":
                self._right, self._seen = None, False
                self._end()
                self._question()
            elif kind == "cancel":
                self._seen = False
                if self._waits_for_answer:
                    self._end()
        self.begin()

    def _changed(self, along: bool, made: Key | None) -> None:
        """Go on after a change of the text. made: where the suggestion was made whose rest stands here, if one does."""
        self._debounce.changed(_URI, self._office.now())
        self._right, self._seen = None, False
        if made is not None:
            self._typed[self._here] = made
        if not along or (self._ask and not self._ask.speculative):
            self._end()
        self._question()

    def _question(self) -> None:
        """Ask for a suggestion here: what is kept or under way serves, else a new question."""
        made = self._here if self._here in self._kept else self._typed.get(self._here, self._here)
        if (offered := self._kept.get(made)) is not None:
            if offered:
                self._show(made)
        elif self._ask and self._ask.key == self._here:
            self._ask.awaited = True
            self._hand_in(self._ask)
        else:
            self._start()

    def _start(self) -> None:
        now = self._office.now()
        self._end()
        self._ask = ask = Ask(self._client, self._document, self._tape, self._at, self._here, False, now)
        delay = self._debounce.delay(_URI, now)
        if delay > 0:
            self._office.later(delay, lambda: self._hand_in(ask))
        else:
            self._hand_in(ask)

    def _hand_in(self, ask: Ask) -> None:
        """Submit a question, unless something ended it or nothing is due where it is."""
        if ask is not self._ask or ask.submitted is not None:
            return
        if not self._moments[ask.moment].due:
            self.refused += 1
            self._ask = None
            self._keep(ask.key, offered=False)
            return
        ask.submitted = self._office.now()
        self._office.submit(ask)

    def _show(self, made: Key) -> None:
        self._seen = self._moments[self._at].right
        self._right = made if self._seen else None
        self._prefetch()

    def _prefetch(self) -> None:
        """Ask ahead for what follows what is shown, once the user has looked at it for a moment."""
        if not self._speculate or self._ask is not None:
            return
        goal = self._moments[self._at].goal if self._right else None
        moment = self._at if goal is None else goal
        key = ("behind", self._moments[self._at].state) if goal is None else ("at", self._moments[goal].state)
        if key not in self._kept:
            self._ask = ask = Ask(self._client, self._document, self._tape, moment, key, True, self._office.now())
            self._office.later(_BEFORE_PREFETCH, lambda: self._hand_in(ask))

    def _end(self) -> None:
        ask, self._ask = self._ask, None
        if ask is not None and ask.submitted is not None and not ask.outcome:
            self._office.cancel(ask)

    def _keep(self, key: Key, *, offered: bool) -> None:
        self._kept[key] = offered
        while len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]

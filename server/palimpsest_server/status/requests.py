"""Number the requests for fills, log how each of them ended, keep the last ones and count all."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import perf_counter

logger = logging.getLogger(__name__)

_KEPT = 20


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered. reason: why the answer is empty, or ""; ms: the time it took; source: "cache", "model",
    "draft", "parser", or "" for an empty one."""

    id: str
    method: str
    reason: str
    ms: float
    source: str


@dataclass(slots=True)
class _Open:
    """A request under way."""

    id: str
    begun: float
    answered: bool = False


current: ContextVar[_Open | None] = ContextVar("palimpsest_request", default=None)


class Requests:
    """Numbers the requests for fills, logs how each of them ended, keeps the last ones and counts all.

    log_text: the lines may show the text that was offered.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.log_text = False
        self.recent: deque[Answered] = deque(maxlen=_KEPT)
        self._clock = clock
        self._begun = 0
        self._counts: Counter[str] = Counter()

    @contextmanager
    def under_way(self, method: str) -> Iterator[str]:
        """Begin a request and yield its id, which all log lines of this task get until it ends.

        Being cancelled and failing are noted as answers here; any other is to be passed to `answered`.
        """
        request = self._new()
        token = current.set(request)
        try:
            yield request.id
        except asyncio.CancelledError:
            if not request.answered:
                self.answered(method, "cancelled")
            raise
        except Exception as error:
            if not request.answered:
                self.answered(method, f"failed: {type(error).__name__}")
            raise
        finally:
            current.reset(token)

    def answered(self, method: str, reason: str = "", source: str = "", text: str = "") -> None:
        """Note the answer to the request under way in this task: an empty one, if there is a reason."""
        request = current.get() or self._new()
        request.answered = True
        end = Answered(request.id, method, reason, round((self._clock() - request.begun) * 1000, 1), source)
        self.recent.append(end)
        self._counts["empty" if reason else source] += 1
        what = f"nothing: {reason}" if reason else f"offered, {source}" if source else "offered"
        shown = f" {text!r}" if text and self.log_text else ""
        logger.info("[%s] %s %.1f ms, %s%s", request.id, method, end.ms, what, shown)

    def counters(self) -> dict[str, int]:
        """Count the requests, and their answers by source."""
        counts = self._counts
        named = {name: counts[name] for name in ("cache", "model", "draft", "empty")}
        return {"requests": sum(counts.values()), **named}

    def _new(self) -> _Open:
        self._begun += 1
        return _Open(f"r{self._begun}", self._clock())

"""Bound what one user may ask for: requests a minute, and requests at once. Knows nothing of HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from palimpsest_engine import PalimpsestError

_MANY_USERS = 10_000  # above that, users who have not asked for a while are forgotten


class QuotaExceeded(PalimpsestError):
    """A user has asked for too much. retry_after: seconds until it may be tried again."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(slots=True)
class _Use:
    left: float
    at: float
    running: int = 0


@dataclass
class Quotas:
    """Counts for each user. per_minute: requests, as a bucket that fills evenly. at_once: requests that run or wait.

    clock: seconds that never go back. Used by one event loop.
    """

    per_minute: int = 600
    at_once: int = 8
    clock: Callable[[], float] = time.monotonic
    _users: dict[str, _Use] = field(default_factory=dict)

    @contextmanager
    def admitted(self, user: str) -> Iterator[None]:
        """Count a request of a user while the block runs. Raises QuotaExceeded."""
        use = self._refilled(user)
        if use.running >= self.at_once:
            raise QuotaExceeded(f"Only {self.at_once} requests of a user run at once.", 1.0)
        if use.left < 1:
            wait = (1 - use.left) * 60 / self.per_minute
            raise QuotaExceeded(f"Only {self.per_minute} requests a minute are answered for a user.", wait)
        use.left -= 1
        use.running += 1
        try:
            yield
        finally:
            use.running -= 1

    def _refilled(self, user: str) -> _Use:
        now = self.clock()
        use = self._users.get(user)
        if use is None:
            if len(self._users) >= _MANY_USERS:
                self._forget(now)
            use = self._users[user] = _Use(float(self.per_minute), now)
        use.left = min(float(self.per_minute), use.left + (now - use.at) * self.per_minute / 60)
        use.at = now
        return use

    def _forget(self, now: float) -> None:
        """Forget users whose bucket is full again: they are as good as new."""
        for user, use in list(self._users.items()):
            if not use.running and now - use.at >= 60:
                del self._users[user]

"""Pass our own log messages on to the client."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import get_ident
from time import monotonic

from palimpsest_server.documents.latest import Latest
from palimpsest_server.status.log import OURS, named, sentence

KINDS = {logging.ERROR: 1, logging.WARNING: 2, logging.INFO: 3}  # the numbers of LSP's MessageType

_A_MINUTE = 20
_REMEMBERED = 256


class ClientLog(logging.Handler):
    """Passes our own errors, warnings and, if it is logged at all, information on to the client.

    send: takes one of `KINDS` and the message, on the event loop. post: has a function called there, from any thread.
    A message goes once, and no more than some of each level in a minute; a record that is made while one is sent does not go.
    """

    def __init__(
        self,
        send: Callable[[int, str], object],
        post: Callable[..., object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(logging.INFO)
        self._send = send
        self._post = post
        self._clock = clock
        self._seen = Latest[str, None](_REMEMBERED)
        self._minutes: dict[int, _Minute] = {}
        self._sending = 0
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record to the event loop."""
        if self._sending == get_ident() or record.name.split(".")[0] not in OURS:
            return
        message = sentence(record, text=False)
        if record.exc_info and record.exc_info[1] is not None:
            message += f" ({named(record.exc_info[1], text=False)})"
        level = max(known for known in KINDS if known <= record.levelno)
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            self._post(self._say, level, message)

    def close(self) -> None:
        """Pass nothing more on."""
        logging.getLogger().removeHandler(self)
        super().close()

    def _say(self, level: int, message: str) -> None:
        known = message in self._seen
        self._seen[message] = None
        if known:
            return
        now = self._clock()
        minute = self._minutes.get(level)
        if minute is None or now - minute.begun >= 60:
            if minute and minute.left_out:
                self._tell(level, f"{minute.left_out} messages were left out; they are in the log on standard error")
            minute = self._minutes[level] = _Minute(now)
        if minute.said < _A_MINUTE:
            minute.said += 1
            self._tell(level, message)
        else:
            minute.left_out += 1

    def _tell(self, level: int, message: str) -> None:
        self._sending = get_ident()
        try:
            self._send(KINDS[level], message)
        except Exception:
            pass  # the client has gone, and to log that would lead here again
        finally:
            self._sending = 0


@dataclass(slots=True)
class _Minute:
    begun: float
    said: int = 0
    left_out: int = 0

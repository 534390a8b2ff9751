"""Keep the outcomes of suggestions in a file on this machine: numbers and kinds, no code and no path. Nothing sends it.

One line an event, in a folder that only the user can read. Several servers may add to it at a time.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from palimpsest_engine import replace

What = Literal["completion", "nextEdit"]
Outcome = Literal["kept", "changed", "accepted", "refused", "typedOver", "ignored"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
TAKEN: tuple[Outcome, ...] = ("kept", "changed", "accepted")

MOST = 4000  # events that are kept
BUCKETS_MS = (10, 30, 100, 300, 1000, 3000)
SLOW_MS = 10_000  # stands for all that took longer
_FILE = "outcomes.jsonl"
_LARGEST = 1 << 20  # bytes; then the older half goes
_NAME = re.compile(r"[A-Za-z0-9+#._-]{0,32}\Z")


@dataclass(frozen=True, slots=True)
class Event:
    """A suggestion that was shown, and its outcome.

    day: days since 1970. hour: of the day, 0 to 23, where the user is. kind: of a completion, where it was from; of a next
    edit, its kind. certainty: of a next edit. ms: the time it took, as the upper end of a bucket.
    """

    day: int
    hour: int
    what: What
    language: str
    kind: str
    certainty: str
    ms: int
    outcome: Outcome

    @property
    def taken(self) -> bool:
        """Return whether it was accepted, whatever became of it then."""
        return self.outcome in TAKEN


def bucket(ms: float) -> int:
    """Return the upper end of the bucket that a time falls into."""
    return next((most for most in BUCKETS_MS if ms <= most), SLOW_MS)


def named(name: str) -> str:
    """Return a name as it may be kept: a client's own name for a language could be anything."""
    return name if _NAME.match(name) else "other"


def place() -> Path | None:
    """Return the file, or None where the user has no folder for such things, or wants none: `PALIMPSEST_STATE` names it."""
    if (chosen := os.environ.get("PALIMPSEST_STATE")) is not None:
        return Path(chosen, _FILE) if os.path.isabs(chosen) else None
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        folder = os.path.join(home, "Library", "Application Support")
    else:
        folder = os.environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return Path(folder, "palimpsest", _FILE) if os.path.isabs(folder) else None


def add(events: Iterable[Event]) -> None:
    """Add events to the file. Raises OSError."""
    if (file := place()) is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = "".join(f"{json.dumps(asdict(each))}\n" for each in events).encode()
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(file, flags, 0o600)
    try:
        os.write(descriptor, lines)  # at once, so that lines of several servers are not mixed
        large = os.fstat(descriptor).st_size > _LARGEST
    finally:
        os.close(descriptor)
    if large:
        _replace(file, read()[-MOST // 2 :])


def read() -> tuple[Event, ...]:
    """Return the last events, the oldest first; what nobody can read is left out. Raises OSError."""
    return read_with_damage()[0]


def read_with_damage() -> tuple[tuple[Event, ...], int]:
    """Return the last events, and how many lines beside them cannot be read. Raises OSError."""
    file = place()
    try:
        if file is None or not _regular(file):
            return (), 0
        lines = file.read_bytes().splitlines()[-MOST:]
    except FileNotFoundError:
        return (), 0
    events = tuple(each for each in map(_event, lines) if each is not None)
    return events, len(lines) - len(events)


def clear() -> bool:
    """Remove the file; return whether there was one. Raises OSError."""
    file = place()
    if file is None or not file.exists():
        return False
    file.unlink()
    return True


def _regular(file: Path) -> bool:
    found = file.lstat()
    ours = sys.platform == "win32" or found.st_uid == os.getuid()
    return stat.S_ISREG(found.st_mode) and ours and found.st_size <= 2 * _LARGEST


def _event(line: bytes) -> Event | None:
    try:
        given: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, dict) or set(given) != {each.name for each in fields(Event)}:
        return None
    numbers = (given["day"], given["hour"], given["ms"])
    words = (given["language"], given["kind"], given["certainty"])
    known = given["what"] in get_args(What) and given["outcome"] in OUTCOMES
    plain = all(type(each) is int for each in numbers) and all(isinstance(each, str) for each in words)
    if not known or not plain or not 0 <= given["hour"] < 24 or not all(_NAME.match(each) for each in words):
        return None
    return Event(**given)


def _replace(file: Path, events: Iterable[Event]) -> None:
    """Replace the file with a new one."""
    descriptor, name = tempfile.mkstemp(prefix=f"{file.stem}.", suffix=".new", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.writelines(f"{json.dumps(asdict(each))}\n" for each in events)
        replace(name, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise

"""Write a running server's status to a file of its own, for `palimpsest doctor --live`; knows no engine and no documents.

The files lie in a folder that only the user can read, one a process. There is no code in them. They are written by a
thread of their own: a disk that is slow, full or gone holds nobody up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from palimpsest_engine import __version__, replace, runtime_folders
from palimpsest_server.status.requests import Requests

logger = logging.getLogger(__name__)

FORMAT = 1

_SECONDS = 0.5
_LARGEST = 1 << 20
_SAME_SECONDS = 10.0  # a clock that is set right moves the time at which a process seems to have begun


# The server's side


class Live:
    """Keeps the file up to date, from `open` to `close`; called on the event loop, and never waits.

    client: its name. folders: the workspace's, as URIs.
    """

    def __init__(self, status: Callable[[], dict[str, Any]], requests: Requests) -> None:
        self.client = ""
        self.folders: tuple[str, ...] = ()
        self._status = status
        self._requests = requests
        self._started = _now()
        self._news: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = False
        self._closed = False

    def open(self) -> None:
        """Write the file from now on."""
        if self._thread is None and not self._closed:
            self._thread = Thread(target=_keep, args=(self._news,), name="palimpsest-live", daemon=True)
            self._thread.start()
            self.changed()

    def changed(self) -> None:
        """Write the file anew: at once, or half a second after the last time."""
        if self._thread is None or self._closed:
            return
        if self._timer is not None:
            self._due = True
            return
        if self._news.empty():  # else the disk is slow, and the waiting content is old
            self._news.put(self._content())
        else:
            self._due = True
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._rested)

    def close(self) -> None:
        """Remove the file, for good."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._closed = True
            self._news.put(None)

    def _rested(self) -> None:
        self._timer = None
        if self._due:
            self._due = False
            self.changed()

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": __version__,
            "pid": os.getpid(),
            "started": self._started,
            "updated": _now(),
            "client": self.client,
            "folders": list(self.folders),
            "status": self._status(),
            "requests": [asdict(request) | {"reason": request.reason or None} for request in self._requests.recent],
        }


def _keep(news: SimpleQueue[dict[str, Any] | None]) -> None:
    """Write everything that the queue brings, and remove the file at the end, on a thread; log the first failure."""
    file: Path | None = None
    said = False
    while (content := news.get()) is not None:
        try:
            content["created"] = _process_created(os.getpid())
            if file is None:
                folder = _folder_of_ours()
                _clean(folder)
                file = folder / f"{os.getpid()}.json"
            _write(file, json.dumps(content))
        except Exception as error:
            file = None  # the folder may have been taken away
            if not said:
                said = True
                logger.warning("the status for `palimpsest doctor --live` cannot be written: %s", _why(error))
    if file is not None:
        with suppress(OSError):
            file.unlink()


def _write(file: Path, text: str) -> None:
    """Replace the file with a new one, readable by the user alone."""
    import tempfile  # brings random numbers and three compressions along

    descriptor, name = tempfile.mkstemp(prefix=f"{file.stem}.", suffix=".new", dir=file.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
        replace(new, file)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def _folder_of_ours() -> Path:
    """Return the first of the folders that is, or can be made, the user's alone. Raises OSError if there is none."""
    fault: OSError | None = None
    for folder in runtime_folders():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            if not _ours(folder):
                raise OSError(f"{folder} belongs to another user")
            folder.chmod(0o700)
            return folder
        except OSError as error:
            fault = fault or error
    raise fault or OSError("there is no folder to write to")


# Both sides


def _ours(path: Path) -> bool:
    """Return whether a path belongs to the user and is no link."""
    found = path.lstat()
    return not stat.S_ISLNK(found.st_mode) and (sys.platform == "win32" or found.st_uid == os.getuid())


def _process_created(pid: int) -> float | None:
    """Return the time when a process began, in seconds since the epoch; None if it has ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return 0.0  # somebody's, so not ours


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


# The reader's side


def servers() -> list[dict[str, Any]]:
    """Return the content of each running server's file, the oldest first; remove the files of servers that ended."""
    found = [content for folder in runtime_folders() for _, content in _clean(folder)]
    return sorted(found, key=lambda content: (str(content.get("started")), content["pid"]))


def _clean(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the files of running servers with their contents, and remove the others."""
    running = []
    for file in _files(folder):
        content = _read(file)
        pid = int(file.name.partition(".")[0])
        created = _process_created(pid)
        if created is None or (content is not None and not _same(content.get("created"), created)):
            with suppress(OSError):
                file.unlink()
        elif content is not None and file.suffix == ".json":
            running.append((file, content | {"pid": pid}))
    return running


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder that have the name of a process, if the folder is the user's."""
    try:
        names = sorted(os.listdir(folder)) if _ours(folder) else []
    except OSError:
        return
    for name in names:
        pid, _, kind = name.partition(".")
        if pid.isascii() and pid.isdigit() and len(pid) < 10 and (kind == "json" or kind.endswith("new")):
            yield folder / name


def _read(file: Path) -> dict[str, Any] | None:
    """Read a server's file, or return None if it is not one."""
    try:
        if not _ours(file) or not stat.S_ISREG(file.lstat().st_mode) or file.stat().st_size > _LARGEST:
            return None
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("status"), dict) else None


def _same(written: object, created: float) -> bool:
    """Return whether both times are of one process."""
    return isinstance(written, int | float) and abs(written - created) < _SAME_SECONDS

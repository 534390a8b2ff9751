"""Rename a finished file over an old one, also where a reader may hold the old one; knows nothing of contents."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_WAITS = (0.01, 0.03, 0.1, 0.3)  # seconds


def replace(new: str | Path, old: str | Path) -> None:
    """Rename `new` to `old` atomically, whether `old` is there or not. Raises OSError.

    Windows refuses that while any program has the old file open, such as a reader or a virus scanner. There it is tried again
    for half a second, so call it where a thread may wait.
    """
    for seconds in _WAITS if sys.platform == "win32" else ():
        try:
            return os.replace(new, old)
        except PermissionError:
            time.sleep(seconds)
    os.replace(new, old)

"""Run a node of Ray as a child that ends with its parent: `ray start` as it is, in a process that the system tells so."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def end_with_parent(parent: int) -> None:
    """Ask the system for SIGTERM when the parent is gone, where the system can do that. parent: its process id.

    A parent that went before that is known by another one's id. Being 1 says nothing: in a container that is the service.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies, so that they can be ended, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


if __name__ == "__main__":
    end_with_parent(int(sys.argv.pop(1)))
    from ray.scripts.scripts import main

    main()

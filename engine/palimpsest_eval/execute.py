"""Runs candidate programs in a sandbox: a process that forks one child a program. Knows nothing of problems or models.

The sandbox stops accidents: a program cannot hang the machine, fill its memory or disk, or reach a network by chance. With
bubblewrap on the PATH nothing outside can be written, and home folders cannot be read. It is no security boundary against
hostile code, and a program that looks for a way can claim to have passed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from palimpsest_engine.errors import PalimpsestError

_WORKER = Path(__file__).with_name("worker.py")
NAMESPACE, HOOK, BUBBLEWRAP = "a network namespace of their own", "an audit hook", "bubblewrap"
_HIDDEN = ("/home", "/root", "/Users", "/tmp", "/var/tmp", "/dev/shm", "/run", "/mnt", "/media", "/srv")
_ROOM = 1 << 26  # bytes of all files that programs write


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a program. It may never start another process.

    seconds: wall clock and, rounded up, CPU time. memory: bytes of address space. file_size: bytes of each file.
    """

    seconds: float = 3.0
    memory: int = 1 << 30
    file_size: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a program. failed: an exception, named in `detail`. crashed: a signal or an early exit. ms: wall clock."""

    outcome: Literal["passed", "failed", "timed out", "crashed"]
    detail: str = ""
    ms: float = 0.0

    @property
    def passed(self) -> bool:
        """Tell whether the program ran to its end."""
        return self.outcome == "passed"


def check_system() -> None:
    """Raise PalimpsestError where programs cannot be run."""
    if sys.platform == "win32":
        raise PalimpsestError("running programs needs a system that can fork processes, such as Linux or macOS")


class Sandbox:
    """Runs programs one at a time, each from a clean state; a context manager. A repeated program is run only once.

    network: the means that keeps programs off the network, in words. user: the user they run as, in words. files: the files
    that they can read, in words.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        check_system()
        self._limits = limits or Limits()
        self._known: dict[str, Outcome] = {}
        wrapper, self.network = isolation()
        bubble = self.network == BUBBLEWRAP
        self.files = "the system's, no home folder" if bubble else "all that this user can read"
        settings = {
            "seconds": self._limits.seconds,
            "memory": self._limits.memory,
            "file_size": self._limits.file_size,
            "isolated": bool(wrapper),
        }
        self._command = [*wrapper, sys.executable, "-P", "-s", "-S", "-B", str(_WORKER), json.dumps(settings)]
        self._process = self._started()

    def run(self, program: str) -> Outcome:
        """Run a program until it ends or reaches a limit."""
        if program not in self._known:
            self._known[program] = self._asked(program) or self._asked(program) or Outcome("crashed", "the sandbox")
        return self._known[program]

    def close(self) -> None:
        """End the worker. It also ends by itself with this process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # it has died, with something still unsent
                pipe.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _asked(self, program: str) -> Outcome | None:
        """Ask the worker. If it has died, start a new one and return None."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"program": program}).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if line:
            return Outcome(**json.loads(line))
        self._process.kill()
        self.close()
        self._process = self._started()
        return None

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=os.sep,
            # Sets are then in the same order in every run; the worker clears even this before any program runs.
            env={"PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.kill()
            process.wait()
            raise PalimpsestError("the sandbox for programs does not start")
        # In a namespace of their own users see themselves as root.
        dropped = json.loads(line)["dropped"]
        self.user = "nobody" if dropped else "root" if _is_root() else "this user"
        return process


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def isolation(readable: Sequence[str] = ()) -> tuple[list[str], str]:
    """Return the command that starts a program without a network, and the means in words; no command if there is none.

    readable: folders that programs can read where others are hidden.
    """
    if (bubble := shutil.which("bwrap")) and _works(command := _bubble(bubble, readable)):
        return command, BUBBLEWRAP
    if unshare := shutil.which("unshare"):
        # Root can go without a user namespace, and can then still become nobody.
        for flags in (["-n"], ["-rn"]) if _is_root() else (["-rn"],):
            if _works(command := [unshare, *flags, "--"]):
                return command, NAMESPACE
    return [], HOOK


def _bubble(bubble: str, readable: Sequence[str]) -> list[str]:
    """Return the command of bubblewrap: a machine that can only be read, without homes, with a little room in `/tmp`."""
    command = [bubble, "--die-with-parent", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    if _is_root():  # without a user namespace the worker can make each program nobody's
        command += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
        command += [part for right in ("SETUID", "SETGID", "KILL") for part in ("--cap-add", f"CAP_{right}")]
    else:
        command.append("--unshare-all")
    for folder in _HIDDEN:
        if os.path.isdir(folder):
            command += ["--size", str(_ROOM), "--tmpfs", folder]
    # Python itself may be installed in a home.
    for folder in dict.fromkeys((sys.base_prefix, sys.prefix, str(_WORKER.parent), *readable)):
        command += ["--ro-bind", folder, folder]
    return [*command, "--"]


def _works(command: list[str]) -> bool:
    """Return whether Python can be started by a command."""
    tried = [*command, sys.executable, "-P", "-s", "-S", "-c", ""]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0

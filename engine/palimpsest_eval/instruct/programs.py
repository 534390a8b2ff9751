"""Run the program of a case. Python runs in `execute.Sandbox`, other languages in processes of their own.

As there, accidents are stopped and nothing else: no network where the system can do without, little time, small files.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from palimpsest_eval.execute import Sandbox, check_system, isolation

_SECONDS = 10.0
_BYTES = 1 << 20
NEEDS = {"javascript": "node", "c": "gcc"}


def missing(language: str) -> str:
    """Return the program that a language needs and this machine lacks, or ""."""
    needed = NEEDS.get(language, "")
    return needed if needed and shutil.which(needed) is None else ""


class Programs:
    """Runs programs; a context manager."""

    def __init__(self) -> None:
        self._sandbox: Sandbox | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="palimpsest-programs-")
        self._wrapper, _ = isolation((self._folder.name,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
        self._folder.cleanup()

    def passes(self, language: str, program: str) -> bool:
        """Return whether a program runs to its end."""
        if language == "python":
            self._sandbox = self._sandbox or Sandbox()
            return self._sandbox.run(program).passed
        if language == "javascript":
            return self._ends([*self._wrapper, "node", "-"], program)
        binary = Path(self._folder.name, "program")
        with suppress(FileNotFoundError):
            binary.unlink()
        compiler = ["gcc", "-std=gnu11", "-w", "-x", "c", "-", "-o", str(binary), "-lm"]
        return self._ends(compiler, program) and self._ends([*self._wrapper, str(binary)], "")

    def _ends(self, command: list[str], given: str) -> bool:
        """Return whether a process ends without an error, in time."""
        check_system()
        try:
            done = subprocess.run(
                command,
                input=given.encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=False,
                cwd=self._folder.name,
                preexec_fn=_bound,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def _bound() -> None:
    if sys.platform == "win32":
        return
    import resource

    seconds = int(_SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_BYTES, _BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

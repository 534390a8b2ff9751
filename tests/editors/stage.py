"""The stage behind an editor in a test: the script that its server plays, and the log of the messages."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from editors.editor import Server
from editors.tap import Tap

HERE = Path(__file__).parent


@dataclass
class Stage:
    """The script and the log of an editor's server. folder: holds the script, the log and the server's wrapper."""

    folder: Path
    python: Path

    @cached_property
    def tap(self) -> Tap:
        """All messages between the two."""
        return Tap(self.folder / "messages.jsonl")

    @property
    def server(self) -> Server:
        """The way to start it."""
        wrapper = self.folder / "palimpsest"
        tap = [sys.executable, str(HERE / "tap.py"), str(self.tap.log)]
        scripted = [str(self.python), str(HERE / "scripted.py"), str(self.folder / "script.json")]
        # The word that an extension puts before its own options is `serve`; the script brings it itself.
        wrapper.write_text(f'#!/bin/sh\n[ "$1" = serve ] && shift\nexec {shlex.join(tap + scripted)} "$@"\n')
        wrapper.chmod(0o755)
        return Server(wrapper, {})

    def play(
        self,
        answers: Mapping[str, str | list[str]],
        *,
        steps: int = 0,
        seconds: float = 0.0,
        error: str = "",
        real: bool = False,
        renamed: Mapping[str, str] | None = None,
        instructs: bool = False,
        held: int = 0,
    ) -> None:
        """From now on; `real` from the next start of the server on. See scripted.py.

        held: every fill waits after so many steps, until `let_go`.
        """
        script = {
            "answers": answers,
            "steps": steps,
            "seconds": seconds,
            "error": error,
            "log": str(self._jobs),
            "real": real,
            "renamed": dict(renamed or {}),
            "instructs": instructs,
            "held": {"after": held, "file": str(self._hold)} if held else None,
        }
        if held:
            self._hold.touch()
        else:
            self.let_go()
        being_written = self.folder / "script.tmp"
        being_written.write_text(json.dumps(script), "utf-8")
        being_written.replace(self.folder / "script.json")

    def let_go(self) -> None:
        """Let fills that are held go on."""
        self._hold.unlink(missing_ok=True)

    def mark(self) -> None:
        """Forget messages and jobs so far."""
        self.tap.mark()
        self._jobs.write_text("", "utf-8")

    def jobs(self, *, event: str = "begin", speculative: bool = False) -> list[dict[str, Any]]:
        """Fills of the scripted engine since the mark."""
        lines = self._jobs.read_text("utf-8").split("\n") if self._jobs.exists() else [""]
        entries = [json.loads(line) for line in lines[:-1]]  # the last one may not be complete
        return [each for each in entries if each["event"] == event and each["speculative"] == speculative]

    @property
    def _hold(self) -> Path:
        return self.folder / "held"

    @property
    def _jobs(self) -> Path:
        return self.folder / "jobs.jsonl"

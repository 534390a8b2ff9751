"""An emulation of what LSP4IJ does with a template's installer.json, on commands that are really run.

Read in the same source as the client (lsp4ij.py). A task is an object with one key, its kind. `check` and then, if that
failed, `run`; a task's `onSuccess` and `onFail`, inside of it, decide what follows. `exec` succeeds if the program ends
with 0 and an empty standard error (unless `ignoreStderr`), *or if it still runs after `timeout` milliseconds*. A command
that is one text is parted at blanks; `${server.command}` stands for that of the Server tab; macros such as `$USER_HOME$`
are replaced in commands and folders. `showMessage` without actions is a failure. Only what the template uses is here.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from editors.lsp4ij_template import words


@dataclass
class Installer:
    """The tasks of the Installer tab, and the command of the Server tab. environment: of the commands."""

    declared: Mapping[str, Any]
    command: str
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def start(self) -> bool:
        """Run the tasks that precede the server's first start; return whether it is installed then."""
        return self.task(self.declared["check"]) or self.task(self.declared["run"])

    def task(self, task: Mapping[str, Any]) -> bool:
        """Run a task, and what follows from it."""
        [(kind, what)] = task.items()
        self.steps.append(what["name"])
        done = getattr(self, f"_{kind}")(what)
        then = what.get("onSuccess" if done else "onFail")
        return self.task(then) if then else done

    def expanded(self, text: str) -> str:
        """With macros replaced."""
        return text.replace("$USER_HOME$", str(self.home))

    def _exec(self, what: Mapping[str, Any]) -> bool:
        folder = Path(self.expanded(what["workingDir"])) if "workingDir" in what else self.home
        folder.mkdir(parents=True, exist_ok=True)
        command = _of_system(what["command"])
        if command == "${server.command}":
            command = words(self.command)
        parts = command.split(" ") if isinstance(command, str) else command
        try:
            process = subprocess.Popen(
                [self.expanded(part) for part in parts],
                cwd=folder,
                env={**os.environ, "HOME": str(self.home), **self.environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError:
            return False
        try:
            with process:
                timeout = what.get("timeout")
                _, errors = _wait(process, timeout / 1000 if timeout else None)
                return process.returncode == 0 and (bool(what.get("ignoreStderr")) or not errors)
        except subprocess.TimeoutExpired:
            return True

    def _configureServer(self, what: Mapping[str, Any]) -> bool:  # noqa: N802 - the name is LSP4IJ's
        self.command = _of_system(what["command"])
        return True

    def _showMessage(self, what: Mapping[str, Any]) -> bool:  # noqa: N802
        assert "actions" not in what, "not emulated"
        self.shown.append("\n".join([what["name"], *what["content"]]))
        return False


def _wait(process: subprocess.Popen[bytes], seconds: float | None) -> tuple[bytes, bytes]:
    """Its output, with its input left open; killed if it takes longer."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.stdout.read(), process.stderr.read()


def _of_system(value: Any) -> Any:
    return value.get("unix", value["default"]) if isinstance(value, dict) else value

"""Drives a real Helix in a terminal, with the lines of editors/README.md. What is in its file is told by saving it."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

from editors.editor import until
from editors.programs import debian
from editors.terminal import Terminal

README = Path(__file__).parents[2] / "editors" / "README.md"


class Helix:
    """One file in it. server: the program `palimpsest`."""

    def __init__(self, cache: Path, folder: Path, server: Path, text: str) -> None:
        command = debian.command(debian.get(cache, "forky", ["hx"]), "usr/bin/hx")
        [block] = re.findall(r"```toml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
        settings = folder / "config" / "helix"
        settings.mkdir(parents=True)
        ours = block.replace('command = "palimpsest"', f"command = {json.dumps(str(server))}")
        (settings / "languages.toml").write_text(ours, "utf-8")
        (settings / "config.toml").write_text("[editor]\nauto-completion = false\n", "utf-8")
        self.file = folder / "main.py"
        self.file.write_text(text, "utf-8")
        places = {name: str(folder / name.lower()) for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")}
        environment = {"XDG_CONFIG_HOME": str(folder / "config"), "HOME": str(folder), **places}
        self.terminal = Terminal([*command, str(self.file)], environment, folder)
        until(lambda: self.shows(" NOR "), "Helix takes keys", seconds=30)

    def shows(self, part: str) -> bool:
        """It is on the screen."""
        return part in self.terminal.text()

    def keys(self, keys: str) -> None:
        """Type that."""
        self.terminal.send(keys)

    def leave(self) -> None:
        """To normal mode. Helix would take Escape and the next key for Alt and that key."""
        self.keys("\x1b")
        until(lambda: self.shows(" NOR "), "normal mode")

    def saved(self) -> str:
        """The file, saved; nothing while it is being replaced."""
        self.keys(":w\r")
        with contextlib.suppress(FileNotFoundError):
            return self.file.read_text("utf-8")
        return ""

    def run(self, title: str) -> None:
        """space a, and down to that entry; the first one is chosen from the start."""
        self.keys(" a")
        until(lambda: self.shows(title), "the actions")
        offered = re.findall(r"Palimpsest: .*?(?= \(|  |$)", self.terminal.text(), re.MULTILINE)
        self.keys("\x0e" * offered.index(title) + "\r")

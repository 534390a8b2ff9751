"""A real Helix, in a terminal, with the lines of editors/README.md: the entry of the list, and code actions."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from editors.editor import until
from editors.programs import Unavailable, debian
from editors.stage import Stage
from editors.terminal import Terminal

pytestmark = pytest.mark.editors

README = Path(__file__).parents[2] / "editors" / "README.md"


class Helix:
    """One file in it. What is in the file is told by saving it."""

    def __init__(self, command: list[str], folder: Path, stage: Stage, text: str) -> None:
        [block] = re.findall(r"```toml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
        settings = folder / "config" / "helix"
        settings.mkdir(parents=True)
        ours = block.replace('command = "palimpsest"', f"command = {json.dumps(str(stage.server.command))}")
        (settings / "languages.toml").write_text(ours, "utf-8")
        (settings / "config.toml").write_text("[editor]\nauto-completion = false\n", "utf-8")
        self.file = folder / "main.py"
        self.file.write_text(text, "utf-8")
        places = {name: str(folder / name.lower()) for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")}
        environment = {"XDG_CONFIG_HOME": str(folder / "config"), "HOME": str(folder), **places}
        self.terminal = Terminal([*command, str(self.file)], environment, folder)
        self.stage = stage
        until(lambda: stage.tap.messages("textDocument/didOpen", "client"), "the server knows the file", seconds=30)

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


@pytest.fixture
def helix(cache, installed, tmp_path, request) -> Iterator[Helix]:
    """Helix on the text and the answers of the test's parameter; without answers, on the embedded checkpoint."""
    text, answers = request.param
    stage = Stage(tmp_path, installed)
    stage.play(answers, real=not answers)
    try:
        folder = debian.get(cache, "forky", ["hx"])
        command = debian.command(folder, "usr/bin/hx")
    except Unavailable as error:
        pytest.skip(f"because {error}")
    editor = Helix(command, tmp_path, stage, text)
    try:
        yield editor
    finally:
        editor.terminal.close()


WORDS = 's = "😀漢"; total = fir\n', {"= fir": "st + second"}


@pytest.mark.parametrize("helix", [WORDS], indirect=True)
def test_the_entry_of_the_list(helix):
    helix.keys("A\x18")  # at the end of the line; C-x asks
    until(lambda: helix.shows("first + second"), "the list")
    helix.keys("\t\r")
    until(lambda: helix.shows("total = first + second") and helix.shows(" INS "), "it is taken")
    helix.leave()
    until(lambda: helix.saved() == 's = "😀漢"; total = first + second\n')
    helix.keys("u")
    until(lambda: helix.saved() == WORDS[0])


HOLES = "def f(a):\n    ...\n\n\ndef g(b):\n    ...\n", {"def f(a):\n    ": "return a", "def g(b):\n    ": "return b"}


@pytest.mark.parametrize("helix", [HOLES], indirect=True)
def test_a_code_action_undone_in_one_step(helix):
    helix.run("Palimpsest: fill 2 holes")
    until(lambda: helix.saved() == "def f(a):\n    return a\n\n\ndef g(b):\n    return b\n")
    helix.keys("u")
    until(lambda: helix.saved() == HOLES[0])


SELECTION = 's = "😀漢"; t = old\n', {"t = ": "new"}


@pytest.mark.parametrize("helix", [SELECTION], indirect=True)
def test_a_selection_behind_emoji(helix):
    helix.keys("glb")  # the last word of the line
    helix.run("Palimpsest: rewrite")
    until(lambda: helix.saved() == 's = "😀漢"; t = new\n')


REAL = "import math\n\n\ndef area(radius):\n    return math.\n", {}


@pytest.mark.parametrize("helix", [REAL], indirect=True)
def test_the_model_itself(helix, screenshots):
    """The installed server with the checkpoint that comes with it."""
    helix.keys("geA")  # the last line with text
    for _ in range(20):  # the first answers may not have waited for the checkpoint
        helix.keys("\x18")
        with contextlib.suppress(AssertionError):
            until(lambda: re.search(r"\S +text *$", helix.terminal.text(), re.MULTILINE), "an entry", seconds=5)
            break
    told = helix.stage.tap.messages("palimpsest/status")[-1].params["model"]
    assert told not in ("", "scripted")
    (screenshots / "helix-list.svg").write_text(helix.terminal.svg(), "utf-8")
    helix.keys("\t\r")
    until(lambda: re.search(r"math\.\w", helix.terminal.text()), "it is taken")
    helix.leave()
    until(lambda: helix.saved() not in ("", REAL[0]))
    compile(helix.saved(), "main.py", "exec")

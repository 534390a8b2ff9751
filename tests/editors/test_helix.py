"""A real Helix, in a terminal, with the lines of editors/README.md: the entry of the list, and code actions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pytest

from editors.editor import until
from editors.helix import Helix
from editors.programs import Unavailable
from editors.stage import Stage
from editors.tap import Tap

pytestmark = pytest.mark.editors


@pytest.fixture
def helix(cache, installed, tmp_path, request) -> Iterator[Helix]:
    """Helix on the text and the answers of the test's parameter; without answers, on the embedded checkpoint."""
    text, answers = request.param
    stage = Stage(tmp_path, installed)
    stage.play(answers, real=not answers)
    try:
        editor = Helix(cache, tmp_path, stage.server.command, text)
    except Unavailable as error:
        pytest.skip(f"because {error}")
    try:
        until(lambda: stage.tap.messages("textDocument/didOpen", "client"), "the server knows the file", seconds=30)
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
def test_the_model_itself(helix, tmp_path, screenshots):
    """The installed server with the checkpoint that comes with it."""
    helix.keys("geA")  # the last line with text
    for _ in range(20):  # the first answers may not have waited for the checkpoint
        helix.keys("\x18")
        with contextlib.suppress(AssertionError):
            until(lambda: re.search(r"\S +text *$", helix.terminal.text(), re.MULTILINE), "an entry", seconds=5)
            break
    told = Tap(tmp_path / "messages.jsonl").messages("palimpsest/status")[-1].params["model"]
    assert told not in ("", "scripted")
    (screenshots / "helix-list.svg").write_text(helix.terminal.svg(), "utf-8")
    helix.keys("\t\r")
    until(lambda: re.search(r"math\.\w", helix.terminal.text()), "it is taken")
    helix.leave()
    until(lambda: helix.saved() not in ("", REAL[0]))
    compile(helix.saved(), "main.py", "exec")

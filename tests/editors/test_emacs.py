"""Features that only Emacs has: the list, UTF-32, actions that Eglot itself would wait for. The real Emacs, in a terminal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from editors import emacs, programs
from editors.editor import CURSOR, until
from editors.emacs import Emacs
from editors.programs import Unavailable

pytestmark = [pytest.mark.editors, pytest.mark.parametrize("staged", ["emacs"], indirect=True)]

TAKE = "\x1b\t"  # C-M-i: complete, from the list
README = Path(__file__).parents[2] / "editors" / "README.md"
LIST, RUN = "textDocument/completion", "workspace/executeCommand"


def shown(editor: Emacs) -> str:
    text, at = editor.text(), editor.cursor()
    return text[:at] + CURSOR + text[at:]


def becomes(editor: Emacs, expected: str) -> None:
    try:
        until(lambda: shown(editor) == expected)
    except AssertionError:
        assert shown(editor) == expected


LISTED = [
    ("several lines", "def f(x):\n    y = x\n    ‸\n", "y = x\n    ", "for _ in x:\n        y += 1\n    return y", {}),
    ("the rest of a word", "total = fir‸\n", "= fir", "st + second", {}),
    ("tabs", "def f(x):\n\tif x:\n\t\t‸\n", "if x:\n\t\t", "for y in x:\n\t\t\tprint(y)", {"tabs": True}),
    ("code behind it", "print(first, ‸)\n", "first, ", "second", {}),
    ("emoji and Chinese", 'say("😀 漢字 👩‍👩‍👧", ‸) + "😀"\n', '", ', 'volume("🙃")', {}),
    ("a bracket of the editor's", "print(‸)\n", "print(", '"hello")', {"pairs": True}),
]


@pytest.mark.parametrize(
    ("text", "after", "answer", "options"), [each[1:] for each in LISTED], ids=[e[0] for e in LISTED]
)
def test_taken_from_the_list_and_undone_in_one_step(editor, stage, text, after, answer, options):
    stage.play({after: answer})
    editor.open("main.py", text, **options)
    editor.keys(TAKE)
    whole = text.replace(CURSOR, answer.removesuffix(")") + CURSOR if answer == '"hello")' else answer + CURSOR)
    becomes(editor, whole)
    editor.press("undo")
    until(lambda: editor.text() == text.replace(CURSOR, ""))


def test_the_entry_is_the_last_of_its_word_and_says_what_it_is(editor, stage):
    stage.play({"= fir": "st + second"})
    editor.open("main.py", "total = fir‸\n")
    editor.press("trigger")
    until(lambda: editor.ghost() == "st + second")
    until(lambda: any("first + second" in line for line in editor.terminal.lines()), "the list on the screen")
    assert editor.text() == "total = fir\n"


def test_positions_are_code_points(editor, stage):
    line = 's = "😀漢👩‍👩‍👧"; t = '
    stage.play({"t = ": "1"})
    editor.open("main.py", line + CURSOR + "\n")
    [initialize] = stage.tap.messages("initialize") or [None]
    stage.mark()
    editor.keys(TAKE)
    becomes(editor, line + "1" + CURSOR + "\n")
    asked = stage.tap.messages(LIST, "client")[0]
    assert asked.params["position"] == {"line": 0, "character": len(line)}
    assert initialize is None or initialize.params["capabilities"]["general"]["positionEncodings"][0] == "utf-32"


@pytest.mark.parametrize(
    ("text", "reason"),
    [("x = 1  # a note ‸\n", "comment"), ('x = "a note ‸"\n', "string"), ("x = 1‸2\n", "middle of a word")],
)
def test_nothing_is_offered_there_and_the_reason_can_be_read(editor, stage, text, reason):
    stage.play({"": "WRONG"})
    editor.open("main.py", text)
    editor.keys(TAKE)
    asked = until(lambda: stage.tap.messages(LIST, "client"), "the list is asked for")
    until(lambda: stage.tap.answer(asked[-1]), "an answer")
    assert shown(editor) == text
    until(lambda: reason in editor.reason())
    assert stage.jobs() == []


def test_a_key_ends_the_wait_for_the_list(editor, stage):
    stage.play({"x = ": "slow"}, steps=2000, seconds=0.05)
    editor.open("main.py", "x = ‸\n")
    editor.keys(TAKE)
    until(stage.jobs, "the fill begins")
    stage.play({})
    editor.type("y")
    becomes(editor, "x = y‸\n")
    until(lambda: stage.jobs(event="end"), "the fill ends")


def test_typing_goes_on_during_an_action(editor, stage):
    """Eglot itself would wait for the end of the command, for ten seconds at most."""
    stage.play({"t = ": "new"}, steps=2000, seconds=0.05)
    text = "t = old\n\n"
    editor.open("main.py", text + CURSOR)
    editor.select(4, 7)
    editor.run("rewrite")
    until(stage.jobs, "the fill begins")
    editor.keys("\x1b>")
    editor.type("u = 1")
    becomes(editor, text + "u = 1‸")
    until(lambda: stage.jobs(event="end"), "the fill ends")
    assert editor.text() == text + "u = 1"


def test_an_edit_that_arrives_while_one_types_is_refused(editor, stage):
    """Eglot tells of changes half a second later, and would put the edit in the wrong place until then."""
    editor.open("main.py", "t = old ‸\n")
    editor.ask("(progn (palimpsest-preview-mode -1) (setq-local eglot-send-changes-idle-time 30) t)")
    stage.play({"t = ": "new"}, steps=1, held=1)
    editor.select(4, 7)
    editor.run("rewrite")
    until(stage.jobs, "the fill begins")
    editor.edit("u = 1; ")
    until(lambda: editor.text() == "u = 1; t = old \n", "that is typed")
    stage.let_go()
    until(lambda: stage.jobs(event="end"), "the fill ends")
    edits = until(lambda: stage.tap.messages("workspace/applyEdit"), "the edit arrives")
    assert "error" in until(lambda: stage.tap.answer(edits[0]), "an answer").body
    assert editor.text() == "u = 1; t = old \n"


def test_pausing_and_going_on(editor, stage):
    stage.play({"x = ": "42"})
    editor.open("main.py", "x = ‸\n")
    editor.press("toggle")
    until(lambda: editor.said("[palimpsest]"), "what is paused")
    editor.keys(TAKE)
    until(lambda: "paused" in editor.reason())
    assert editor.text() == "x = \n"
    editor.press("toggle")
    editor.keys(TAKE)
    becomes(editor, "x = 42‸\n")


def test_a_server_that_is_killed_comes_back(editor, stage):
    stage.play({"x = ": "42"})
    editor.open("main.py", "x = ‸\n")
    lasting = "(null (eglot--inhibit-autoreconnect (eglot-current-server)))"
    until(lambda: editor.ask(f"(and {lasting} t)"), "it has lasted so long that Eglot would start another one")
    stage.mark()
    os.kill(until(stage.tap.pid, "a server"), signal.SIGKILL)
    until(lambda: stage.tap.starts() == 1, "another server")
    editor.connected()
    editor.keys(TAKE)
    becomes(editor, "x = 42‸\n")


def loaded(stage):
    told = stage.tap.messages("palimpsest/status", "server")
    return told and told[-1].params["model"] not in ("", "scripted") and told[-1].params["state"] == "ready"


def test_the_model_itself(editor, stage, screenshots):
    """The installed server with the checkpoint that comes with it."""
    stage.play({}, real=True)
    editor.open("area.py", "import math\n\n\ndef area(radius):\n    return math.‸\n\n\nprint(area(2))\n")
    editor.restart()
    try:
        editor.press("trigger")
        until(lambda: loaded(stage), "the checkpoint", seconds=120)  # the first answer may not have waited for it
        before = editor.text()
        if not editor.ghost():
            editor.press("trigger")
        suggested = until(editor.ghost, "a suggestion of the model", seconds=60)
        until(lambda: suggested in editor.terminal.text() and "Making" not in editor.terminal.text(), "the list")
        editor.screenshot(screenshots / "emacs-list")
        editor.keys("\x1b[1;3B\x1b\r")  # M-<down>, M-RET: with several entries one chooses
        becomes(editor, before.replace("math.", f"math.{suggested}{CURSOR}"))
        compile(editor.text(), "area.py", "exec")
        editor.open("area.py", "import math\n\n\ndef area(radius):\n    return math‸\n\n\nprint(area(2))\n")
        editor.type(".")
        until(editor.ghost, "a suggestion behind the cursor", seconds=60)
        editor.screenshot(screenshots / "emacs-ghost")
        editor.open(
            "shapes.py", "def square(x):\n    ...‸\n\n\ndef area(width, height):\n    ...\n\n\nprint(area(2, 3))\n"
        )
        before = editor.text()
        editor.run("fillHoles")
        done = until(lambda: [m for m in stage.tap.messages(RUN) if stage.tap.answer(m)], "the end", seconds=60)
        result = stage.tap.answer(done[-1]).body["result"]
        assert result["applied"] or result["reason"]
        assert (editor.text() != before) is result["applied"]
        compile(editor.text(), "shapes.py", "exec")
        editor.screenshot(screenshots / "emacs-holes")
    finally:
        stage.play({})
        editor.restart()


def test_the_package_compiles_without_a_warning(staged, cache, tmp_path):
    program = programs.emacs.get(cache)
    shutil.copy(emacs.PACKAGE, tmp_path)
    lazy = ["--eval", "(setq native-comp-jit-compilation nil byte-compile-error-on-warn t)"]
    done = subprocess.run(
        [*program.command, "-Q", "--batch", *lazy, "-f", "batch-byte-compile", emacs.PACKAGE.name],
        cwd=tmp_path,
        env={**os.environ, **program.environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_few_lines_without_our_package(staged, cache, stage, tmp_path):
    """The lines that editors/README.md has for plain Eglot work."""
    [block] = re.findall(r"```elisp\n(\(with-eval-after-load 'eglot.*?)```", README.read_text("utf-8"), re.DOTALL)
    ours = block.replace('"palimpsest"', "{command}").replace("{command}", str(stage.server.command).join('""'))
    ours += "\n(add-hook 'python-mode-hook #'eglot-ensure)\n(setq palimpsest-modes '(python-mode))\n"
    stage.play({"return ": "a + b", "t = ": "new", "if x:\n        ": "y = 1\n        return y"})
    try:
        with emacs.start(cache, stage.server, tmp_path, ours.replace("{", "{{").replace("}", "}}")) as editor:
            editor.open("main.py", "def add(a, b):\n    return ‸\n")
            editor.keys(TAKE)
            becomes(editor, "def add(a, b):\n    return a + b‸\n")
            editor.open("main.py", "t = old\n‸")
            editor.select(4, 7)
            editor.run("rewrite")
            until(lambda: editor.text() == "t = new\n")
            [preview] = re.findall(r"```elisp\n(\(setq completion-preview.*?)```", README.read_text("utf-8"), re.DOTALL)
            editor.ask(f"(progn {preview} t)")
            editor.open("main.py", "def f(x):\n    if x:‸\n")
            editor.type("\n")
            until(lambda: editor.ghost() == "y = 1")  # its first line
            editor.press("accept")
            becomes(editor, "def f(x):\n    if x:\n        y = 1\n        return y‸\n")
    except Unavailable as error:
        pytest.skip(f"because {error}")


def test_next_edits_are_made_one_after_the_other_by_a_command(editor, stage):
    stage.play({}, renamed={"limit": "bound"})
    editor.open("main.py", "def f(boun‸):\n    漢 = '😀'; print(limit)\n    return limit\n")
    editor.type("d")
    until(lambda: "bound" in editor.text())
    editor.keys("\x15\x1bxpalimpsest-next-edit\r")
    until(lambda: editor.ask("(line-number-at-pos)") == 2, "with a prefix it only goes there")
    assert editor.text().count("limit") == 2
    for left in (1, 0):
        editor.keys("\x1bxpalimpsest-next-edit\r")
        until(lambda left=left: editor.text().count("limit") == left)
    until(lambda: editor.said("`limit` was renamed above"))
    assert editor.text() == "def f(bound):\n    漢 = '😀'; print(bound)\n    return bound\n"
    editor.keys("\x1bxpalimpsest-next-edit\r")
    until(lambda: editor.said("no next edit: "))


def test_the_next_edit_is_a_code_action(editor, stage):
    stage.play({}, renamed={"limit": "bound"})
    editor.open("main.py", "def f(boun‸):\n    return limit\n")
    editor.type("d")
    until(lambda: "bound" in editor.text())
    editor.keys("\x1bxeglot-code-action-quickfix\r")
    until(lambda: editor.text() == "def f(bound):\n    return bound\n")

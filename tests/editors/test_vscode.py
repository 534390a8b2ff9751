"""Features that only VS Code has: drafts and previews as it paints them, IntelliSense beside ours, settings, the status bar.

Times of the extension host, of the tap and of this process are of one clock: Linux's monotonic one.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from editors.editor import CURSOR, until
from editors.stage import Stage
from editors.vscode import VSCode

pytestmark = [pytest.mark.editors, pytest.mark.parametrize("staged", ["vscode"], indirect=True)]

POINT = '''"""Points of a plane."""

import math


class Point:
    def __init__(self, x, y):
        self.x = x
        self‸

    def __repr__(self):
        return f"Point({self.x}, {self.y})"

    def distance(self, other):
        return math.hypot(self.x - other.x, self.y - other.y)
'''
STACK = '''class Stack:
    """Last in, first out."""

    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        return self.items.pop()

    def __len__(self):
        «count = 0
        for item in self.items:
            count += 1
        return count»
'''
INLINE = "textDocument/inlineCompletion"
FUNCTION = "def f(a):\n    x = 1\n    return x\n"
BODY = (FUNCTION.index("x = 1"), len(FUNCTION) - 1)


@pytest.fixture
def model(editor: VSCode, stage: Stage) -> Iterator[None]:
    """The server with its embedded checkpoint, for one test."""
    stage.play({}, real=True)
    editor.open("begin.py", f"begin = 1{CURSOR}\n")
    editor.restart()
    yield
    stage.play({})
    editor.open("end.py", f"end = 1{CURSOR}\n")
    editor.restart()


@pytest.fixture
def preview(editor: VSCode) -> Iterator[None]:
    """Turn the preview on: the user has to accept the edits of commands."""
    editor.configure({"palimpsest.ui.preview": True})
    yield
    editor.configure({"palimpsest.ui.preview": False})


@pytest.fixture
def intellisense(editor: VSCode) -> Iterator[None]:
    """Another extension that completes names, and notes when it is asked."""
    editor.probe.run(
        """
        kept.asked = [];
        kept.provider = vscode.languages.registerCompletionItemProvider("python", {
          provideCompletionItems() {
            kept.asked.push(Number(process.hrtime.bigint()) / 1e9);
            return ["first_of_all", "first_of_some"].map((name) => new vscode.CompletionItem(name));
          },
        });
        """
    )
    yield
    editor.probe.run("kept.provider.dispose()")


def new_messages(editor: VSCode, before: int) -> list[str]:
    return editor.messages()[before:]


def test_the_bundle_is_small(editor: VSCode) -> None:
    [installed] = (editor.project.parent / "extensions").glob("palimpsest.palimpsest-*")
    assert sum(file.stat().st_size for file in installed.rglob("*.js")) <= 500_000


def test_the_embedded_checkpoint_looks_at_what_comes_after(
    editor: VSCode, stage: Stage, model: None, screenshots: Path
) -> None:
    editor.open("point.py", POINT)
    editor.type(".")
    ghost = until(editor.ghost, "a suggestion of the model", 60)
    editor.screenshot(screenshots / "vscode-ghost.png")
    editor.press("accept")
    until(lambda: f"\n        self.{ghost}" in editor.text(), "it is accepted")
    ast.parse(editor.text())
    assert not stage.tap.messages("window/showMessage")


def test_the_embedded_checkpoint_rewrites(
    editor: VSCode, stage: Stage, model: None, preview: None, screenshots: Path
) -> None:
    editor.open("stack.py", STACK.replace("«", "").replace("»", "") + CURSOR)
    editor.select(STACK.index("«"), STACK.index("»") - 1)
    editor.run("rewrite")
    until(lambda: len(editor.preview()) > 12, "a draft of the model", 60)
    editor.screenshot(screenshots / "vscode-draft-of-rewrite.png")
    until(editor.lenses, "what there is to accept", 60)
    editor.screenshot(screenshots / "vscode-rewrite.png")
    before = editor.text()
    editor.press("accept")
    until(lambda: editor.text() != before, "it is written")
    ast.parse(editor.text())
    assert not stage.tap.messages("window/showMessage")


def test_drafts_are_painted_before_the_last_one_and_do_not_flicker(
    editor: VSCode, stage: Stage, screenshots: Path
) -> None:
    final = "filter(is_prime, numbers_of(x))"
    assert len(final) == 31, "with that, what the first fill of a server settles grows from the start in several steps"
    editor.open("begin.py", f"begin = 1{CURSOR}\n")
    editor.restart()
    stage.play({"numbers = ": final}, steps=24, seconds=0.2)
    editor.open("drafts.py", f"numbers ={CURSOR}\n")
    editor.forget()
    editor.type(" ")
    until(lambda: len({text for _, text in editor.painted()} - {"", final}) > 1, "drafts")
    editor.screenshot(screenshots / "vscode-draft.png")
    until(lambda: editor.ghost() == final, "the last one")
    until(lambda: (editor.painted() or [(0, "")])[-1][1] == final, "painted")
    painted = editor.painted()
    shown = [text for _, text in painted if text]
    blank = [after - at for (at, text), (after, _) in itertools.pairwise(painted) if not text]
    print("blank for", [f"{1000 * each:.0f} ms" for each in blank])
    # The editor has to hide one draft to show the next: for a frame or two, here; not for the blink of an eye.
    assert statistics.median(blank or [0.0]) < 0.1
    lengths = [len(text) for text in shown if final.startswith(text)]  # two drafts may have the same noise by chance
    assert len(lengths) > 1
    assert lengths == sorted(lengths), "it grows"
    assert shown[-1] == final
    editor.press("accept")
    until(lambda: editor.text() == f"numbers = {final}\n")
    editor.press("undo")
    until(lambda: editor.text() == "numbers = \n", "one step back")
    assert len(stage.jobs()) == 1


def test_without_drafts_there_is_only_the_last_one(editor: VSCode, stage: Stage) -> None:
    editor.configure({"palimpsest.ui.drafts": False})
    try:
        stage.play({"numbers = ": "filter(a, b)"}, steps=10, seconds=0.1)
        editor.open("drafts.py", f"numbers ={CURSOR}\n")
        editor.forget()
        editor.type(" ")
        until(lambda: stage.jobs(event="end"), "the fill ends")
        until(lambda: [text for _, text in editor.painted()] == ["filter(a, b)"], "it is painted, and nothing else was")
    finally:
        editor.configure({"palimpsest.ui.drafts": None})


def test_normal_completion_is_asked_soon_while_a_slow_fill_runs(
    editor: VSCode, stage: Stage, intellisense: None
) -> None:
    """No later than 400 ms after the keystroke, as the tap has it. VS Code waits for the ghost text up to 750 ms.

    The median of seven, for one of them may meet a busy machine; were completion held up, all of them would be late.
    """
    stage.play({"": "never_mind"}, steps=100, seconds=0.1)
    waits = []
    for number in range(7):
        editor.open(f"slow{number}.py", f"value = {CURSOR}\n")
        stage.mark()
        editor.probe.run("kept.asked = []")
        editor.type("f")
        asked = until(lambda: editor.probe.run("return kept.asked[0]"), "normal completion is asked for")
        # Of the extension's own clock, which may be ahead of what has gone through the tap.
        [typed] = until(lambda: stage.tap.messages("textDocument/didChange"), "the server is told")
        until(lambda: stage.tap.messages(INLINE), "and we are asked, too")
        waits.append(asked - typed.at)
        # The fill for the document before may end late, though it was cancelled.
        ended = [each for each in stage.jobs(event="end") if each["document"].endswith(f"/slow{number}.py")]
        assert not ended, "the fill was slow"
    print("normal completion asked after", [f"{1000 * wait:.0f} ms" for wait in waits])
    assert statistics.median(waits) <= 0.4, waits


def test_the_list_of_names_stays_open_while_drafts_come(
    editor: VSCode, stage: Stage, intellisense: None, screenshots: Path
) -> None:
    stage.play({"value = f": "irst_of_all[0]", "value = first_of_all": "[0]"}, steps=20, seconds=0.1)
    editor.open("names.py", f"value = {CURSOR}\n")
    editor.type("f")
    until(lambda: listed(editor), "the list is open")
    deadline = time.monotonic() + 15
    while not stage.jobs(event="end"):
        assert listed(editor) == ["first_of_all", "first_of_some"]
        assert time.monotonic() < deadline, "the fill does not end"
        time.sleep(0.02)
    until(lambda: editor.ghost() == "irst_of_all[0]", "what would come after the chosen name is shown, too")
    editor.screenshot(screenshots / "vscode-intellisense.png")
    assert listed(editor) == ["first_of_all", "first_of_some"]
    editor.press("accept")
    until(lambda: editor.text().startswith("value = first_of_all"), "the key belongs to the list")
    assert not listed(editor)


def listed(editor: VSCode) -> list[str]:
    """The names in the completion list, if that is open."""
    labels = ".suggest-widget.visible .monaco-list-row .label-name"
    return list(editor.screen.evaluate(f"[...document.querySelectorAll('{labels}')].map((each) => each.textContent)"))


def test_a_rewrite_crystallises_and_is_accepted(editor: VSCode, stage: Stage, preview: None, screenshots: Path) -> None:
    begin_rewrite(editor, stage, "return a * 2 if a > 0 else abs(a)")
    until(lambda: editor.preview(), "drafts are painted")
    assert editor.text() == FUNCTION
    editor.screenshot(screenshots / "vscode-crystallising.png")
    until(
        lambda: "return a * 2 if a > 0 else abs(a)" in editor.preview() and editor.lenses(),
        "what there is to accept",
        30,
    )
    editor.screenshot(screenshots / "vscode-preview.png")
    assert editor.text() == FUNCTION
    assert "x = 1" in editor.struck(), "what goes can be read, too"
    editor.press("accept")
    until(lambda: editor.text() == "def f(a):\n    return a * 2 if a > 0 else abs(a)\n", "it is written")
    until(lambda: not editor.preview() and not editor.lenses(), "and not painted any more")
    editor.press("undo")
    until(lambda: editor.text() == FUNCTION, "one step back")


def test_lines_are_rewritten_as_the_user_says(editor: VSCode, stage: Stage, preview: None, screenshots: Path) -> None:
    stage.play({"def f(a):\n": "    # <instruction>\n    return a\n"})
    editor.open("main.py", FUNCTION + CURSOR)
    editor.select(*BODY)
    for said in ("make it short", "make it shorter"):
        editor.run("instruct")
        until(
            lambda: editor.screen.evaluate("!!document.activeElement?.closest('.quick-input-widget')"), "the question"
        )
        editor.type(said)
        editor.screenshot(screenshots / "vscode-instruct.png")
        editor.screen.do(lambda page: page.keyboard.press("Enter"))
        until(lambda said=said: said in editor.preview() and editor.lenses(), "what there is to accept", 30)
        editor.press("accept")
        until(lambda said=said: editor.text() == f"def f(a):\n    # {said}\n    return a\n", "it is written")
        editor.press("undo")
        until(lambda: editor.text() == FUNCTION, "one step back")
        editor.select(*BODY)


def test_compare_shows_the_old_text_and_the_new_one(
    editor: VSCode, stage: Stage, preview: None, screenshots: Path
) -> None:
    new = "def f(a):\n    return a * 2\n"
    begin_rewrite(editor, stage, "return a * 2")
    until(editor.lenses, "what there is to accept", 30)
    editor.command("palimpsest.comparePreview")
    until(lambda: editor.compared() == (FUNCTION, new), f"both texts; the last were {editor.compared()}")
    editor.screenshot(screenshots / "vscode-compare.png")
    editor.command("palimpsest.acceptPreview")
    until(lambda: editor.text() == new, "it is written, and the file is in sight again")


def test_a_rewrite_is_rejected(editor: VSCode, stage: Stage, preview: None) -> None:
    begin_rewrite(editor, stage, "return a")
    until(editor.lenses, "what there is to accept", 30)
    editor.press("escape")
    until(lambda: not editor.preview() and not editor.lenses(), "it is gone")
    until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server knows")
    assert editor.text() == FUNCTION
    until(lambda: editor.selection() == BODY, "what was selected is selected again")


def test_typing_drops_the_preview(editor: VSCode, stage: Stage, preview: None) -> None:
    begin_rewrite(editor, stage, "return a")
    until(editor.lenses, "what there is to accept", 30)
    editor.type("y")
    until(lambda: not editor.preview() and not editor.lenses(), "it is gone")
    until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server knows")
    assert editor.text() == FUNCTION.replace("x = 1", "yx = 1")


def test_escape_cancels_a_rewrite_at_work(editor: VSCode, stage: Stage, preview: None) -> None:
    begin_rewrite(editor, stage, "return a", steps=1000)
    until(lambda: editor.preview(), "drafts are painted")
    editor.press("escape")
    until(lambda: stage.jobs(event="end"), "the model stops, long before it would be done")
    until(lambda: not editor.preview(), "nothing is painted")
    assert editor.text() == FUNCTION


def test_a_longer_rewrite_is_shown_over_the_lines_below(
    editor: VSCode, stage: Stage, preview: None, screenshots: Path
) -> None:
    new = "if a < 0:\n        return 0\n    for b in range(a):\n        a += b\n    return a"
    stage.play({"def f(a):\n    ": new}, steps=15, seconds=0.1)
    below = "\n\ndef g(b):\n    return b\n\n\nprint(f(1), g(2))\n"
    editor.open("longer.py", FUNCTION + below + CURSOR)
    editor.select(*BODY)
    editor.run("rewrite")
    until(editor.lenses, "what there is to accept", 30)
    until(lambda: all(line.strip() in editor.preview() for line in new.splitlines()), "all of it is painted")
    editor.screenshot(screenshots / "vscode-longer.png")
    editor.press("accept")
    until(lambda: editor.text() == f"def f(a):\n    {new}\n{below}", "it is written")
    editor.press("undo")
    until(lambda: editor.text() == FUNCTION + below, "one step back")


def test_lines_at_the_cursor_are_previewed_as_ghost_text(
    editor: VSCode, stage: Stage, preview: None, screenshots: Path
) -> None:
    new = "for b in range(a):\n        a += b\n    return a"
    stage.play({"def f(a):\n    ": new}, steps=15, seconds=0.1)
    editor.open("lines.py", f"def f(a):\n    {CURSOR}\n\n\nprint(f(1))\n")
    editor.run("fill")
    until(lambda: editor.ghost() == new, "all of it", 30)
    editor.screenshot(screenshots / "vscode-lines.png")
    editor.press("accept")
    until(lambda: editor.text() == f"def f(a):\n    {new}\n\n\nprint(f(1))\n", "it is written")
    editor.press("undo")
    until(lambda: editor.text() == "def f(a):\n    \n\n\nprint(f(1))\n", "one step back")


def begin_rewrite(editor: VSCode, stage: Stage, answer: str, steps: int = 15) -> None:
    stage.play({"def f(a):\n    ": answer}, steps=steps, seconds=0.1)
    editor.open("rewrite.py", FUNCTION + CURSOR)
    editor.select(*BODY)
    stage.mark()
    editor.run("rewrite")


def test_a_killed_server_is_started_again_once(editor: VSCode, stage: Stage, screenshots: Path) -> None:
    stage.play({"x = ": "42"})
    editor.open("killed.py", f"x ={CURSOR}\n")
    editor.restart()
    stage.mark()
    before = len(editor.messages())
    os.kill(until(stage.tap.pid), signal.SIGKILL)
    until(lambda: stage.tap.messages("textDocument/didOpen"), "it is there again")
    until(lambda: new_messages(editor, before), "the user is told")
    editor.type(" ")
    until(lambda: editor.ghost() == "42")
    [message] = new_messages(editor, before)
    assert "again" in message
    os.kill(until(stage.tap.pid), signal.SIGKILL)
    until(lambda: len(new_messages(editor, before)) == 2, "the user is told that it stays so")
    editor.screenshot(screenshots / "vscode-killed.png")
    editor.type("y")
    until(lambda: editor.text() == "x = y\n", "typing goes on")
    assert stage.tap.starts() == 1
    assert editor.reason()
    editor.restart()
    assert stage.tap.starts() == 2
    assert len(new_messages(editor, before)) == 2


def test_no_checkpoint_is_said_once(editor: VSCode, stage: Stage, model: None, screenshots: Path) -> None:
    before = len(editor.messages())
    editor.configure({"palimpsest.model": "no-such-checkpoint"})
    try:
        until(lambda: "no-such-checkpoint" in editor.reason(), "the status item says so", 60)
        until(lambda: new_messages(editor, before), "the user is told")
        editor.screenshot(screenshots / "vscode-no-checkpoint.png")
        editor.open("none.py", f"x ={CURSOR}\n")
        stage.mark()
        for count, key in enumerate(" y + z", 1):
            editor.type(key)
            until(lambda: len(stage.tap.messages(INLINE, "client")) >= count)  # noqa: B023
        until(lambda: not stage.tap.unanswered(INLINE))
        [message] = new_messages(editor, before)
        assert "no-such-checkpoint" in message
        assert "no-such-checkpoint" in editor.reason()
        assert editor.text() == "x = y + z\n"
    finally:
        editor.configure({"palimpsest.model": None})


def test_the_status_item_says_why_there_is_nothing(editor: VSCode, model: None, screenshots: Path) -> None:
    editor.open("point.py", POINT.replace(f"self{CURSOR}", f"self.y = y  # as on paper,{CURSOR}"))
    editor.type(" ")
    until(lambda: "the cursor is in a comment" in editor.reason(), "the reason", 60)
    until(lambda: "ready" in editor.reason())
    editor.hover_status()
    until(lambda: "the cursor is in a comment" in editor.hovered(), "the reason, on the screen")
    editor.screenshot(screenshots / "vscode-status.png")
    editor.command("workbench.action.closeActiveEditor")
    until(lambda: "comment" not in editor.reason(), "it goes with the document that it is about")


def test_a_workspace_chooses_no_checkpoint(editor: VSCode, stage: Stage) -> None:
    """The user's own settings are taken from the user alone, the rest from everywhere; no message pops up."""
    of_workspace = editor.project / ".vscode" / "settings.json"
    editor.open("settings.py", f"x = 1{CURSOR}\n")
    before = len(editor.messages())
    own = {
        "model": "/code/evil",
        "adapter": "/code/evil",
        "device": "cuda",
        "logText": True,
        "trustWorkspace": True,
    }
    theirs = {f"palimpsest.{key}": value for key, value in {**own, "maxLines": 7}.items()}
    theirs["palimpsest.server.path"] = "/code/evil"
    stage.mark()
    try:
        of_workspace.parent.mkdir()
        of_workspace.write_text(json.dumps(theirs), encoding="utf-8")
        until(lambda: told(stage).get("maxLines") == 7, "the workspace's settings come")
        editor.configure({"palimpsest.threads": 1})
        until(lambda: initial(stage).get("threads") == 1, "the user's own come, with a new server")
        editor.restart()
        assert stage.tap.pid(), "which is not the workspace's"
        until(lambda: told(stage).get("maxLines") == 7)
        ours = {"server", "ui"}
        for section in sections(stage):
            assert not set(section) & (set(own) | ours)
        for message in stage.tap.messages("initialize", "client"):
            section = message.params["initializationOptions"]["palimpsest"]
            assert not (set(section) & (ours | {"model", "adapter", "logText", "trustWorkspace"}))
            assert section.get("device") in (None, "auto")
        assert not new_messages(editor, before)
        assert not stage.tap.messages("window/showMessage")
        assert not stage.tap.messages("window/logMessage")
    finally:
        of_workspace.unlink()
        of_workspace.parent.rmdir()
        editor.configure({"palimpsest.threads": None})
        until(lambda: told(stage).get("maxLines") is None, "the workspace's settings go")
        editor.restart()


def initial(stage: Stage) -> dict[str, Any]:
    """Return the settings that the server got at its latest start."""
    starts = stage.tap.messages("initialize", "client")
    return dict(starts[-1].params["initializationOptions"]["palimpsest"]) if starts else {}


def sections(stage: Stage) -> list[dict[str, Any]]:
    """The configurations that the server was told since the mark, each for the workspace and its folders."""
    answers = (stage.tap.answer(each) for each in stage.tap.messages("workspace/configuration", "server"))
    return list(itertools.chain.from_iterable(answer.body["result"] for answer in answers if answer))


def told(stage: Stage) -> dict[str, Any]:
    """The latest of them."""
    return (sections(stage) or [{}])[-1]

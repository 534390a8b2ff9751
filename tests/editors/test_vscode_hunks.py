"""The preview of VS Code, hunk by hunk: what is accepted is written as one edit, and what is rejected stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from editors.editor import CURSOR, until
from editors.stage import Stage
from editors.vscode import VSCode

pytestmark = [pytest.mark.editors, pytest.mark.parametrize("staged", ["vscode"], indirect=True)]

OLD = """def total(books):
    sum = 0
    for book in books:
        sum += book.price
    print("done")
    return sum


print(total([]))
"""
NEW = (
    OLD.replace("sum = 0", "sum = 0.0")
    .replace("book.price", "book.price * book.copies")
    .replace('    print("done")\n', "")
)
FIRST = OLD.replace("sum = 0", "sum = 0.0")
SECOND = OLD.replace("book.price", "book.price * book.copies")
BODY = (OLD.index("    sum"), OLD.index("\n\n\nprint") + 1)


@pytest.fixture(autouse=True)
def preview(editor: VSCode, stage: Stage) -> Iterator[None]:
    """An answer with two places that differ waits to be accepted."""
    editor.configure({"palimpsest.ui.preview": True})
    stage.play({"def total(books):\n": NEW[BODY[0] : NEW.index("\n\n\nprint") + 1]})
    editor.open("total.py", OLD + CURSOR)
    editor.select(*BODY)
    stage.mark()
    editor.run("instruct")
    until(lambda: editor.screen.evaluate("!!document.activeElement?.closest('.quick-input-widget')"), "the question")
    editor.type("count the copies")
    editor.screen.do(lambda page: page.keyboard.press("Enter"))
    until(
        lambda: sum("Accept This" in each for each in editor.lenses()) == 2,
        f"two hunks; there are {editor.lenses()}",
        30,
    )
    yield
    editor.configure({"palimpsest.ui.preview": False})


def press(editor: VSCode, *keys: str) -> None:
    for key in keys:
        editor.screen.do(lambda page, key=key: page.keyboard.press(key))


def undone(editor: VSCode) -> None:
    """One step back, and all is as it was."""
    editor.press("undo")
    until(lambda: editor.text() == OLD, "one step back")


def test_some_are_accepted(editor: VSCode, stage: Stage, screenshots: Path) -> None:
    editor.screenshot(screenshots / "vscode-hunks.png")
    press(editor, "Alt+F5", "Alt+F5", "Alt+y")  # to the second one, and round to the first
    until(lambda: "1 of 2, accepted" in editor.lens_lines(), "it says so")
    assert editor.text() == OLD, "nothing is written before all is decided"
    editor.screenshot(screenshots / "vscode-hunk-accepted.png")
    press(editor, "Alt+n")  # the cursor is at the next one
    until(lambda: editor.text() == FIRST, "one of them is written")
    until(lambda: not editor.lenses() and not editor.preview(), "and nothing is to be decided")
    undone(editor)
    until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server is done")
    [asked] = stage.tap.messages("workspace/applyEdit", "server")
    answer = stage.tap.answer(asked)
    assert answer
    assert answer.body["result"]["applied"] is True
    assert not stage.tap.messages("window/showMessage")


def test_a_key_before_the_news_of_the_cursor_is_about_where_the_key_before_it_led(editor: VSCode) -> None:
    editor.probe.run(
        """
        const run = (command) => vscode.commands.executeCommand(`palimpsest.${command}`);
        const second = () => vscode.window.activeTextEditor.selection.active.line === 3;
        await run("nextHunk");
        await new Promise((done) => setTimeout(done, 8)); // the window hears where the cursor is to be,
        for (const end = Date.now() + 300; Date.now() < end; ); // and says that it is there while nobody listens
        await run("nextHunk"); // round to the first
        // What it said is heard.
        for (const end = Date.now() + 1000; !second() && Date.now() < end; ) await new Promise(setImmediate);
        await run("acceptHunk");
        """
    )
    until(lambda: ", accepted" in editor.lens_lines(), "one is accepted")
    assert "1 of 2, accepted" in editor.lens_lines()


def test_a_rejected_one_is_left_out_when_the_rest_is_accepted(editor: VSCode) -> None:
    editor.command("palimpsest.rejectHunk", 0)
    until(lambda: "sum = 0.0" not in editor.preview() and "0.0" not in editor.preview(), "it is not painted any more")
    editor.press("accept")
    until(lambda: editor.text() == NEW.replace("0.0", "0"), "the rest is written")
    undone(editor)


def test_the_accepted_ones_are_written_alone(editor: VSCode) -> None:
    editor.command("palimpsest.acceptHunk", 0)
    until(lambda: any("Write Accepted (1)" in each for each in editor.lenses()), "a link for it")
    editor.command("palimpsest.keepAccepted")
    until(lambda: editor.text() == FIRST)
    undone(editor)


def test_a_verdict_can_be_changed(editor: VSCode) -> None:
    editor.command("palimpsest.acceptHunk", 0)
    editor.command("palimpsest.rejectHunk", 0)
    until(lambda: "1 of 2, rejected" in editor.lens_lines())
    editor.command("palimpsest.acceptHunk", 1)
    until(lambda: editor.text() == NEW.replace("0.0", "0"))


def test_all_are_rejected_one_by_one(editor: VSCode, stage: Stage) -> None:
    press(editor, "Alt+n", "Alt+n")
    until(lambda: not editor.lenses() and not editor.preview(), "it is gone")
    until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server knows")
    assert editor.text() == OLD


@pytest.mark.parametrize("key", ["accept", "escape"])
def test_all_at_once_as_ever(editor: VSCode, stage: Stage, key: str) -> None:
    editor.press("accept" if key == "accept" else "escape")
    until(lambda: not editor.lenses() and not editor.preview(), "it is gone")
    until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server knows")
    assert editor.text() == (NEW if key == "accept" else OLD)


def test_the_comparison_follows(editor: VSCode, screenshots: Path) -> None:
    editor.command("palimpsest.comparePreview")
    until(lambda: editor.compared()[1].startswith(NEW[:60]), "both texts")
    editor.command("palimpsest.rejectHunk", 0)
    until(lambda: "sum = 0.0" not in editor.compared()[1], "without the change that was rejected")
    assert "book.copies" in editor.compared()[1]

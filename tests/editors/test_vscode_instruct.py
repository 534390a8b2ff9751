"""Conversations about a selection in VS Code: follow-ups, versions, explanations, tests, what was said before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from editors.editor import CURSOR, until
from editors.stage import Stage
from editors.vscode import VSCode

pytestmark = [pytest.mark.editors, pytest.mark.parametrize("staged", ["vscode"], indirect=True)]

FUNCTION = "def f(a):\n    x = 1\n    return x\n"
BODY = (FUNCTION.index("x = 1"), len(FUNCTION) - 1)
RUN = "workspace/executeCommand"


@pytest.fixture(autouse=True)
def opened(editor: VSCode, stage: Stage) -> Iterator[None]:
    """A function, its body selected; the model says what it was told to do."""
    stage.play({"def f(a):\n": "    # <instruction>\n    return a\n"})
    editor.command("palimpsest.forgetInstructions")
    editor.open("main.py", FUNCTION + CURSOR)
    editor.select(*BODY)
    stage.mark()
    yield
    editor.probe.run("kept.problems?.dispose()")


def answered(said: str) -> str:
    return f"def f(a):\n    # {said}\n    return a\n"


def ask(editor: VSCode, action: str) -> None:
    editor.run(action)
    until(lambda: editor.screen.evaluate("!!document.activeElement?.closest('.quick-input-widget')"), "the question")


def say(editor: VSCode, action: str, said: str) -> None:
    ask(editor, action)
    editor.type(said)
    editor.screen.do(lambda page: page.keyboard.press("Enter"))


def offered(editor: VSCode) -> list[str]:
    """Return what can be picked."""
    names = ".quick-input-list .monaco-list-row .label-name"
    return list(editor.screen.evaluate(f"[...document.querySelectorAll({names!r})].map((each) => each.textContent)"))


def version(editor: VSCode) -> str:
    """Return what the status bar has of the versions of the answer."""
    item = """document.querySelector(".statusbar-item[id$='palimpsest.conversation']:not(.hidden)")?.innerText ?? ''"""
    return str(editor.screen.evaluate(item)).strip()


def sent(stage: Stage) -> dict[str, Any]:
    """Return the argument of the last command."""
    return dict(stage.tap.messages(RUN, "client")[-1].params["arguments"][0])


def test_a_follow_up_and_the_versions_before_it(editor: VSCode, stage: Stage, screenshots: Path) -> None:
    assert not version(editor)
    say(editor, "instruct", "make it short")
    until(lambda: editor.text() == answered("make it short"))
    until(lambda: version(editor) == "1 of 1")
    ask(editor, "followUp")
    editor.screenshot(screenshots / "vscode-follow-up.png")
    editor.type("shorter still")
    editor.screen.do(lambda page: page.keyboard.press("Enter"))
    until(lambda: editor.text() == answered("shorter still"))
    until(lambda: version(editor) == "2 of 2")
    for action, text, shown in [
        ("earlier", answered("make it short"), "1 of 2"),
        ("earlier", FUNCTION, "original, 2 answers"),
        ("later", answered("make it short"), "1 of 2"),
        ("later", answered("shorter still"), "2 of 2"),
    ]:
        editor.run(action)
        until(lambda text=text: editor.text() == text, f"{action}: {text!r}")
        until(lambda shown=shown: version(editor) == shown, f"{shown}; it is {version(editor)}")
    editor.screenshot(screenshots / "vscode-versions.png")
    editor.press("undo")
    until(lambda: editor.text() == answered("make it short"), "one step back")
    until(lambda: version(editor) == "2 answers", "which one stands there, the server knows alone")
    editor.run("earlier")
    until(lambda: editor.text() == FUNCTION)
    until(lambda: version(editor) == "original, 2 answers")
    assert not stage.tap.messages("window/showMessage")


def test_versions_are_put_there_without_a_preview(editor: VSCode) -> None:
    editor.configure({"palimpsest.ui.preview": True})
    try:
        say(editor, "instruct", "make it short")
        until(editor.lenses, "what there is to accept", 30)
        editor.press("accept")
        until(lambda: editor.text() == answered("make it short"))
        until(lambda: version(editor) == "1 of 1")
        editor.run("earlier")
        until(lambda: editor.text() == FUNCTION)
        until(lambda: not editor.lenses(), "and nothing is to be decided")
    finally:
        editor.configure({"palimpsest.ui.preview": False})


def test_an_answer_that_was_edited_is_followed_up(editor: VSCode, stage: Stage) -> None:
    say(editor, "instruct", "make it short")
    until(lambda: version(editor) == "1 of 1")
    editor.type("bc")  # behind what was written
    edited = answered("make it short").replace("return a", "return abc")
    until(lambda: editor.text() == edited)
    say(editor, "followUp", "as one line")
    until(lambda: version(editor) == "2 of 2")
    assert editor.text() == answered("as one line")
    editor.run("earlier")
    until(lambda: editor.text() == edited, "the answer as it was edited")
    assert not stage.tap.messages("window/showMessage")


def test_instructions_are_offered_again_the_newest_first(editor: VSCode, screenshots: Path) -> None:
    for said in ("make it long", "make it short"):
        say(editor, "instruct", said)
        until(lambda said=said: editor.text() == answered(said))
        editor.press("undo")
        until(lambda: editor.text() == FUNCTION)
        editor.select(*BODY)
    ask(editor, "instruct")
    until(lambda: offered(editor)[:3] == ["make it short", "make it long", "add a docstring"], str(offered(editor)))
    editor.screenshot(screenshots / "vscode-instructions.png")
    editor.press("escape")
    editor.command("palimpsest.forgetInstructions")
    ask(editor, "instruct")
    until(lambda: offered(editor)[:1] == ["add a docstring"], "it is forgotten")
    editor.press("escape")


def test_diagnostics_of_the_lines_go_along(editor: VSCode, stage: Stage) -> None:
    editor.probe.run(
        """
        kept.problems = vscode.languages.createDiagnosticCollection("linter");
        const at = (line, message, severity) =>
          new vscode.Diagnostic(new vscode.Range(line, 4, line, 5), message, vscode.DiagnosticSeverity[severity]);
        kept.problems.set(vscode.window.activeTextEditor.document.uri, [
          at(1, "x is a constant", "Warning"), at(1, "never mind", "Hint"), at(0, "not in there", "Error"),
        ]);
        """
    )
    say(editor, "instruct", "make it short")
    until(lambda: editor.text() == answered("make it short"))
    place = {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 5}}
    assert sent(stage)["diagnostics"] == [{"range": place, "message": "x is a constant"}]


def test_an_explanation_is_a_hover(editor: VSCode, stage: Stage, screenshots: Path) -> None:
    said = "It **returns** one:\n\n```python\nx = 1\n```\n\n![seen](https://example.invalid/seen.png)"
    stage.play({"def f(a):\n": said})
    editor.run("explain")
    # The mouse may rest on the status item, which has a hover of its own.
    hover = (
        "[...document.querySelectorAll('.monaco-hover:not(.hidden)')].find((each) => /It.returns/.test(each.innerText))"
    )
    until(lambda: "It returns one" in editor.screen.evaluate(f"{hover}?.innerText ?? ''").replace("\u00a0", " "))
    editor.screenshot(screenshots / "vscode-explanation.png")
    assert editor.screen.evaluate(f"{hover}.querySelectorAll('strong').length") == 1, "it is rendered"
    assert editor.screen.evaluate(f"{hover}.querySelectorAll('img').length") == 0, "and nothing is fetched"
    editor.press("escape")
    until(lambda: not editor.screen.evaluate(f"!!{hover}"), "it is gone")
    assert editor.text() == FUNCTION
    assert not stage.tap.messages("window/showMessage")


def test_a_test_is_written_into_the_file_next_door(editor: VSCode, stage: Stage, screenshots: Path) -> None:
    stage.play({"": "from main import f\n\n\ndef test_f():\n    assert f(1) == 1\n"})
    editor.select(0, BODY[1])
    editor.run("test")
    until(lambda: "def test_f():\n    assert f(1) == 1\n" in editor.text(), "it is shown", 30)
    name = editor.probe.run("return vscode.window.activeTextEditor.document.uri.path")
    assert Path(name).name == "test_main.py"
    editor.screenshot(screenshots / "vscode-test.png")
    assert not stage.tap.messages("window/showMessage")


def test_the_page_of_the_canvas_is_opened(editor: VSCode, stage: Stage) -> None:
    def opened(page: Page) -> str:
        with page.expect_popup() as popup:
            page.keyboard.press("Control+Alt+c")
        url = popup.value.url
        popup.value.close()
        return url

    address = editor.screen.do(opened)
    [asked] = [each for each in stage.tap.messages(RUN, "client") if each.params["command"] == "palimpsest.canvas"]
    answer = until(lambda: stage.tap.answer(asked), "the page is there a moment before the answer")
    told = urlsplit(answer.body["result"]["url"])
    assert told.hostname == "127.0.0.1"
    assert str(told.port) in address, "it may be the address of a proxy of the window's server"


def offers(editor: VSCode, words: str, *commands: str) -> None:
    """The palette has these of our commands for the words, and no others."""
    editor.screen.do(lambda page: page.keyboard.press("F1"))
    until(lambda: editor.screen.evaluate("!!document.activeElement?.closest('.quick-input-widget')"), "the palette")
    editor.type(f"Palimpsest: {words}")
    rows = "[...document.querySelectorAll('.quick-input-list .monaco-list-row')].map((each) => each.textContent)"
    until(
        lambda: any(
            each in [*editor.screen.evaluate(rows), ""][0] for each in (words, "similar commands", "No matching")
        ),
        "it is filtered",
    )
    assert [each for each in offered(editor) if each.startswith("Palimpsest: ") and words in each] == [
        f"Palimpsest: {each}" for each in commands
    ]
    editor.press("escape")


def test_the_palette_has_only_commands_that_can_work(editor: VSCode) -> None:
    offers(editor, "Version")
    offers(editor, "Follow Up")
    offers(editor, "Change of the Preview")
    offers(editor, "Explain the Selection", "Explain the Selection")
    say(editor, "instruct", "make it short")
    until(lambda: version(editor) == "1 of 1")
    offers(editor, "Version", "Earlier Version")
    offers(editor, "Follow Up", "Follow Up…")
    editor.run("earlier")
    until(lambda: version(editor) == "original, 1 answer")
    offers(editor, "Version", "Later Version")


def test_the_menu_of_the_editor(editor: VSCode, screenshots: Path) -> None:
    say(editor, "instruct", "make it short")
    until(lambda: version(editor) == "1 of 1")
    editor.command("editor.action.selectAll")
    editor.screen.do(lambda page: page.keyboard.press("Shift+F10"))
    until(lambda: "Palimpsest" in menu(editor), "the menu")
    for _ in range(menu(editor).index("Palimpsest") + 1):
        editor.press("down")
    editor.press("right")
    until(lambda: "Explain the Selection" in menu(editor), "the submenu")
    editor.screenshot(screenshots / "vscode-menu.png")
    entries = menu(editor)
    assert {"Rewrite with Instruction…", "Follow Up…", "Earlier Version", "Write a Test", "Show Canvas"} <= set(entries)
    assert "Later Version" not in entries
    editor.press("escape")
    editor.press("escape")


def menu(editor: VSCode) -> list[str]:
    """Return the entries of the menus that are open."""
    labels = """[...document.querySelectorAll('.context-view, .shadow-root-host')]
        .flatMap((each) => [...(each.shadowRoot ?? each).querySelectorAll('.action-label')])
        .map((each) => each.textContent)"""
    return list(editor.screen.evaluate(labels))

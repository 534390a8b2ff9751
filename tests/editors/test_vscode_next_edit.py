"""Next edit in VS Code: from place to place with Tab, and whose Tab that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from editors.editor import until
from editors.stage import Stage
from editors.vscode import VSCode

pytestmark = [pytest.mark.editors, pytest.mark.parametrize("staged", ["vscode"], indirect=True)]

ASK, CLOSED = "textDocument/copilotInlineEdit", "palimpsest/didCloseInlineEdit"
TEXT = "def f(boun‸):\n    if limit:\n        return limit\n    漢 = '😀'; print('é', limit)  # tail\n"
FAR = "def f(boun‸):\n" + "    step()\n" * 60 + "    return limit\n"


def begin(editor: VSCode, stage: Stage, text: str = TEXT) -> None:
    """Rename what the text has at its cursor; a next edit is due."""
    stage.play({}, renamed={"limit": "bound"})
    editor.open("main.py", text)
    stage.mark()
    editor.type("d")
    until(lambda: stage.tap.messages(ASK, "client") and not stage.tap.unanswered(ASK), "the server answers")
    until(lambda: "renamed above" in editor.preview(), "the next edit is offered")


def line_of(editor: VSCode) -> int:
    """Return the number of the line that the cursor is on, from 1."""
    return editor.text()[: editor.cursor()].count("\n") + 1


class TestNextEdit:
    def test_tab_leads_from_place_to_place_until_none_is_left(
        self, editor: VSCode, stage: Stage, screenshots: Path
    ) -> None:
        begin(editor, stage)
        assert editor.struck() == "limit"
        assert "bound" in editor.preview()
        editor.screenshot(screenshots / "vscode-next-edit.png")
        for line in (2, 3, 4):
            before = editor.text()
            editor.press("accept")  # maybe before the next one is there
            until(lambda line=line: line_of(editor) == line, "it goes there")
            assert editor.text() == before
            editor.press("accept")
            until(lambda before=before: editor.text() != before, "it is made")
        assert editor.text() == TEXT.replace("boun‸", "bound").replace("limit", "bound")
        until(lambda: not stage.tap.unanswered(ASK) and "renamed" not in editor.preview())
        editor.press("undo")
        until(lambda: editor.text().count("limit") == 1, "each was a step of undo")

    def test_diagnostics_of_others_go_with_the_request(self, editor: VSCode, stage: Stage) -> None:
        stage.play({}, renamed={"limit": "bound"})
        editor.open("main.py", TEXT)
        editor.probe.run(
            """const place = new vscode.Range(1, 7, 1, 12);
            kept.said ??= vscode.languages.createDiagnosticCollection("other");
            kept.said.set(vscode.window.activeTextEditor.document.uri, [
              new vscode.Diagnostic(place, '"limit" is not defined', vscode.DiagnosticSeverity.Error),
              new vscode.Diagnostic(place, "a hint", vscode.DiagnosticSeverity.Hint),
            ]);"""
        )
        stage.mark()
        editor.type("d")
        until(lambda: "renamed above" in editor.preview(), "the next edit is offered")
        editor.probe.run("kept.said.clear();")
        [said] = stage.tap.messages(ASK, "client")[-1].params["diagnostics"]
        assert said["range"] == {"start": {"line": 1, "character": 7}, "end": {"line": 1, "character": 12}}
        assert (said["message"], said["severity"]) == ('"limit" is not defined', 1)

    def test_a_refused_edit_does_not_come_back(self, editor: VSCode, stage: Stage) -> None:
        begin(editor, stage)
        editor.press("escape")
        until(lambda: editor.struck() == "")
        [closed] = until(lambda: stage.tap.messages(CLOSED, "client"))
        [told] = stage.tap.messages("textDocument/didShowInlineEdit", "client")
        assert closed.params == {"id": told.params["item"]["command"]["arguments"][0], "why": "refused"}
        editor.type("s")
        until(lambda: editor.struck() == "limit", "the one after it")
        editor.press("accept")
        until(lambda: line_of(editor) == 3)

    def test_out_of_sight_a_mark_says_where_it_is(self, editor: VSCode, stage: Stage, screenshots: Path) -> None:
        begin(editor, stage, FAR)
        until(lambda: "↓ 62: `limit` was renamed above" in editor.preview())
        assert not stage.tap.messages("textDocument/didShowInlineEdit", "client")
        editor.screenshot(screenshots / "vscode-next-edit-far.png")
        editor.press("accept")
        until(lambda: line_of(editor) == 62)
        until(lambda: editor.struck() == "limit")
        assert "↓" not in editor.preview()
        editor.press("accept")
        until(lambda: editor.text().endswith("return bound\n"))

    def test_in_another_file(self, editor: VSCode, stage: Stage) -> None:
        stage.play({}, renamed={"limit": "bound"})
        editor.open("one.py", "limit()‸\n")
        editor.show("two.py", "x =‸\n")
        editor.type(" ")
        editor.type("1")
        until(lambda: "one.py:1: `limit` was renamed above" in editor.preview())
        editor.press("accept")
        until(lambda: editor.text() == "limit()\n" and editor.struck() == "limit", "it is opened")
        editor.press("accept")
        until(lambda: editor.text() == "bound()\n")

    def test_subtle_is_only_a_mark_until_the_key(self, editor: VSCode, stage: Stage, screenshots: Path) -> None:
        editor.configure({"palimpsest.ui.nextEdit": "subtle"})
        try:
            stage.play({}, renamed={"limit": "bound"})
            editor.open("main.py", TEXT)
            editor.type("d")
            until(lambda: editor.screen.evaluate(GUTTER), "the mark")
            editor.screenshot(screenshots / "vscode-next-edit-subtle.png")
            assert editor.struck() == ""
            assert "renamed" not in editor.preview()
            editor.press("accept")
            until(lambda: editor.struck() == "limit")
            editor.press("accept")
            until(lambda: "if bound:" in editor.text())
        finally:
            editor.configure({"palimpsest.ui.nextEdit": None})


class TestWhoseTab:
    def test_an_open_menu_comes_first(self, editor: VSCode, stage: Stage) -> None:
        begin(editor, stage, "alphabet = 1\ndef f(boun‸):\n    limit\n")
        editor.probe.run(
            """
            kept.provider = vscode.languages.registerCompletionItemProvider("python", {
              provideCompletionItems: () => [new vscode.CompletionItem("bound_by_something")],
            });
            """
        )
        try:
            editor.command("editor.action.triggerSuggest")
            until(lambda: editor.screen.evaluate(MENU), "the menu")
            editor.press("accept")
            until(lambda: "def f(bound_by_something):" in editor.text())
            assert "    limit\n" in editor.text()
        finally:
            editor.probe.run("kept.provider.dispose()")

    def test_a_snippet_comes_first(self, editor: VSCode, stage: Stage) -> None:
        begin(editor, stage, "def f(boun‸):\n    limit\n")
        editor.probe.run(
            """
            await vscode.window.activeTextEditor.insertSnippet(new vscode.SnippetString(", ${1:a}, ${2:b}"));
            """
        )
        until(lambda: "renamed above" in editor.preview(), "it is offered anew")
        editor.type("x")
        editor.press("accept")
        editor.type("y")
        until(lambda: editor.text() == "def f(bound, x, y):\n    limit\n")

    def test_in_front_of_code_it_indents(self, editor: VSCode, stage: Stage) -> None:
        begin(editor, stage, "def f(boun‸):\n    limit\n    \n")
        editor.press("down")
        editor.press("down")
        until(lambda: line_of(editor) == 3)
        editor.press("accept")
        until(lambda: editor.text() == "def f(bound):\n    limit\n        \n")

    def test_ghost_text_comes_first(self, editor: VSCode, stage: Stage) -> None:
        stage.play({"x = 1": "23"}, renamed={"limit": "bound"})
        editor.open("main.py", "limit\nx = ‸\n")
        editor.type("1")
        until(lambda: editor.ghost() == "23" and "renamed above" in editor.preview())
        editor.press("accept")
        until(lambda: editor.text() == "limit\nx = 123\n")


MENU = "document.querySelector('.suggest-widget.visible .monaco-list-row') !== null"
GUTTER = "document.querySelector('.monaco-editor.focused .glyph-margin-widgets [class*=ced-]') !== null"

"""Conversations about a selection in Neovim: follow-ups, versions, explanations, tests, what was said before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from editors.editor import until
from editors.neovim import Neovim
from editors.stage import Stage

pytestmark = [pytest.mark.editors, pytest.mark.parametrize("staged", ["neovim", "neovim_older"], indirect=True)]

FUNCTION = "def f(a):\n    x = 1\n    return x\n"
RUN = "workspace/executeCommand"


@pytest.fixture(autouse=True)
def opened(editor: Neovim, stage: Stage) -> None:
    """A function, of which the model is told to rewrite the body."""
    stage.play({"def f(a):\n": "    # <instruction>\n    return a\n"})
    editor.open("main.py", FUNCTION + "‸")
    editor.keys("<Esc>")
    until(lambda: editor.mode() == "n", "normal mode")
    stage.mark()


def answered(said: str) -> str:
    return f"def f(a):\n    # {said}\n    return a\n"


def version(editor: Neovim) -> str:
    return str(editor.lua("return vim.b.palimpsest_version or ''"))


def sent(stage: Stage) -> dict[str, Any]:
    """Return the argument of the last command."""
    return dict(stage.tap.messages(RUN, "client")[-1].params["arguments"][0])


def test_a_follow_up_and_the_versions_before_it(editor: Neovim, stage: Stage) -> None:
    assert not version(editor)
    editor.keys(":2,3Palimpsest rewrite make it short<CR>")
    until(lambda: editor.text() == answered("make it short"))
    until(lambda: version(editor) == "1 of 1")
    editor.keys(":Palimpsest followup shorter still<CR>")
    until(lambda: editor.text() == answered("shorter still"))
    until(lambda: version(editor) == "2 of 2")
    for action, text, shown in [
        ("earlier", answered("make it short"), "1 of 2"),
        ("earlier", FUNCTION, "the original"),
        ("later", answered("make it short"), "1 of 2"),
        ("later", answered("shorter still"), "2 of 2"),
    ]:
        editor.keys(f":Palimpsest {action}<CR>")
        until(lambda text=text: editor.text() == text, f"{action}: {text!r}")
        until(lambda shown=shown: version(editor) == shown, shown)
        assert f"Palimpsest: version: {shown}" in editor.messages()[-1]
    editor.press("undo")
    until(lambda: editor.text() == answered("make it short"), "one step back")
    editor.keys(":Palimpsest earlier<CR>")
    until(lambda: version(editor) == "the original")
    assert editor.text() == FUNCTION


def test_versions_are_put_there_without_a_preview(editor: Neovim, stage: Stage) -> None:
    editor.keys(":2,3Palimpsest rewrite make it short<CR>")
    until(lambda: version(editor) == "1 of 1")
    editor.lua("require('palimpsest').options.preview = true")
    try:
        editor.keys(":Palimpsest earlier<CR>")
        until(lambda: editor.text() == FUNCTION)
    finally:
        editor.lua("require('palimpsest').options.preview = false")


def test_an_answer_in_part_is_followed_up(editor: Neovim, stage: Stage) -> None:
    stage.play({"def f(a):\n": "    x = 2\n    a = x\n    return a\n"})
    editor.open("part.py", "def f(a):\n    x = 1\n    a = x\n    return x\n‸")
    editor.lua("require('palimpsest').options.preview = true")
    try:
        editor.keys("<Esc>:2,4Palimpsest rewrite other numbers<CR>")
        until(lambda: "2/2" in "".join(editor.draw().lines()), "the preview")
        editor.keys("gg<M-y><M-n>")
        until(lambda: editor.text() == "def f(a):\n    x = 2\n    a = x\n    return x\n", "the first of two")
    finally:
        editor.lua("require('palimpsest').options.preview = false")
    until(lambda: version(editor) == "1 of 1")
    editor.keys(":Palimpsest followUp shorter<CR>")
    until(lambda: version(editor) == "2 of 2")
    assert editor.text() == "def f(a):\n    x = 2\n    a = x\n    return a\n"
    editor.keys(":Palimpsest earlier<CR>")
    until(lambda: editor.text() == "def f(a):\n    x = 2\n    a = x\n    return x\n", "what was taken of the first")
    editor.keys(":Palimpsest earlier<CR>")
    until(lambda: editor.text() == "def f(a):\n    x = 1\n    a = x\n    return x\n", "one step back")


def test_it_asks_and_offers_what_was_said(editor: Neovim, stage: Stage, screenshots: Path) -> None:
    editor.keys(":2,3Palimpsest instruct make it short<CR>")
    until(lambda: editor.text() == answered("make it short"))
    editor.keys(":2,3Palimpsest instruct<CR>ma<Tab>")
    until(lambda: "make it short" in editor.draw().lines()[-1], "what was said is completed")
    editor.screenshot(screenshots / f"{editor.name}-instruct.svg")
    editor.keys("<C-u>add a d<Tab><CR>")
    until(lambda: editor.text() == answered("add a docstring"), "what is ready-made, too")
    editor.keys(":2,3Palimpsest instruct<CR><Up><Up><CR>")
    until(lambda: editor.text() == answered("make it short"), "and the history has it")
    editor.keys(":Palimpsest followUp<CR>keep the n<Tab><CR>")
    until(lambda: editor.text() == answered("keep the names"), "a follow-up has its own")


def test_diagnostics_of_the_lines_go_along(editor: Neovim, stage: Stage) -> None:
    editor.lua(
        """local severity = vim.diagnostic.severity
        vim.diagnostic.set(vim.api.nvim_create_namespace('linter'), 0, {
          { lnum = 1, col = 4, end_lnum = 1, end_col = 5, message = 'x is a constant', severity = severity.WARN },
          { lnum = 1, col = 4, message = 'never mind', severity = severity.HINT },
          { lnum = 0, col = 4, message = 'not in there', severity = severity.ERROR },
        })"""
    )
    editor.keys(":2,3Palimpsest rewrite make it short<CR>")
    until(lambda: editor.text() == answered("make it short"))
    place = {"start": {"line": 1, "character": 4}, "end": {"line": 1, "character": 5}}
    assert sent(stage)["diagnostics"] == [{"range": place, "message": "x is a constant"}]


def test_an_explanation_is_a_window_that_q_closes(editor: Neovim, stage: Stage, screenshots: Path) -> None:
    stage.play({"def f(a):\n": "It **returns** one:\n\n```python\nx = 1\n```\n"})
    windows = "return #vim.api.nvim_list_wins()"
    for leave in ("q", "<C-w>p"):
        editor.keys(":2,3Palimpsest explain<CR>")
        until(lambda: editor.lua(windows) == 2, "a window")
        shown = "\n".join(editor.draw().lines())
        editor.screenshot(screenshots / f"{editor.name}-explanation.svg")
        assert "returns" in shown
        assert "It **" not in shown, "it is rendered"
        editor.keys(leave)
        until(lambda: editor.lua(windows) == 1, "it is gone")
    assert editor.text() == FUNCTION


def test_typing_is_not_interrupted_by_an_explanation(editor: Neovim, stage: Stage) -> None:
    stage.play({"def f(a):\n": "It returns one."}, steps=5, seconds=0.1)
    editor.keys(":2,3Palimpsest explain<CR>o")
    until(lambda: editor.lua("return #vim.api.nvim_list_wins()") == 2 or not stage.tap.unanswered(RUN))
    editor.type("# more")
    until(lambda: "# more" in editor.text(), "the keys go into the text")
    until(lambda: editor.lua("return #vim.api.nvim_list_wins()") == 1, "and the window goes")


def test_an_explanation_by_the_menu_of_code_actions(editor: Neovim, stage: Stage) -> None:
    stage.play({"": "It returns one."}, instructs=True)
    editor.lua(
        """vim.ui.select = function(items, options, choose)
          for number, item in ipairs(items) do
            if options.format_item(item):find('explain', 1, true) then choose(item, number) end
          end
        end"""
    )
    editor.keys("ggVjjgra")
    until(lambda: "It returns one." in "\n".join(editor.draw().lines()), "the window", 30)
    assert not any("It returns one." in line for line in editor.messages()), "no message beside it"
    editor.keys("q")


def test_a_test_is_written_into_the_file_next_door(editor: Neovim, stage: Stage) -> None:
    stage.play({"": "from main import f\n\n\ndef test_f():\n    assert f(1) == 1\n"})
    folder = str(Path(editor.nvim.current.buffer.name).parent)
    editor.lua("vim.lsp.buf.add_workspace_folder(...)", folder)
    editor.keys(":1,3Palimpsest test<CR>")
    until(lambda: Path(editor.nvim.current.buffer.name).name == "test_main.py", "it is shown", 30)
    assert "def test_f():\n    assert f(1) == 1\n" in editor.text()
    assert len(editor.nvim.windows) == 2
    assert any("test_main.py, which is not saved yet" in line for line in editor.messages())
    editor.keys(":bwipeout!<CR>")


def test_the_page_of_the_canvas_is_opened_once(editor: Neovim, stage: Stage) -> None:
    editor.lua(
        """OPENED = {}
        vim.ui.open = function(url)
          table.insert(OPENED, url)
          return { wait = function() return { code = 0 } end }
        end"""
    )
    editor.keys(":2Palimpsest canvas<CR>")
    until(lambda: editor.lua("return #OPENED > 0"), "the page", 30)
    [address] = editor.lua("return OPENED")
    assert "Palimpsest canvas" in httpx.get(address, follow_redirects=True, trust_env=False, timeout=60).text
    [asked] = stage.tap.messages(RUN, "client")
    assert asked.params["arguments"][0]["range"]["start"]["line"] == 1

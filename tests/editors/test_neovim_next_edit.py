"""Next edit in Neovim: from place to place with one key, and whose key that is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from editors.editor import until
from editors.neovim import Neovim
from editors.stage import Stage

pytestmark = pytest.mark.editors

both = pytest.mark.parametrize("staged", ["neovim", "neovim_older"], indirect=True)
ASK = "textDocument/copilotInlineEdit"
TEXT = "def f(boun‸):\n    if limit:\n        return limit\n    漢 = '😀'; print('é', limit)  # tail\n"
FAR = "def f(boun‸):\n" + "    step()\n" * 40 + "    return limit\n"


def shown(editor: Neovim) -> int:
    """Count the marks of the next edit, in any buffer."""
    return int(
        editor.lua(
            """local namespace, count = vim.api.nvim_get_namespaces()['palimpsest.next_edit'], 0
            for _, bufnr in ipairs(namespace and vim.api.nvim_list_bufs() or {}) do
              count = count + #vim.api.nvim_buf_get_extmarks(bufnr, namespace, 0, -1, {})
            end
            return count"""
        )
    )


def begin(editor: Neovim, stage: Stage, text: str = TEXT, name: str = "main.py") -> None:
    """Make a change in insert mode, and leave that; a next edit is due."""
    stage.play({}, renamed={"limit": "bound"})
    editor.open(name, text)
    stage.mark()
    editor.type("d")
    editor.keys("<Esc>")
    until(lambda: editor.mode() == "n")
    until(lambda: shown(editor), "the next edit is offered")


@both
class TestNextEdit:
    def test_tab_leads_from_place_to_place_until_none_is_left(
        self, editor: Neovim, stage: Stage, screenshots: Path
    ) -> None:
        begin(editor, stage)
        editor.screenshot(screenshots / f"{editor.name}-next-edit.svg")
        assert editor.draw().lines()[1].startswith("    if limitbound:  `limit` was renamed above  <Tab> goes there")
        for times in range(1, 4):
            editor.keys("<Tab>")
            until(lambda: "<Tab> makes it" in "\n".join(editor.draw().lines()), "it has been gone to")
            assert editor.text().count("limit") == 4 - times
            editor.keys("<Tab>")
            until(lambda times=times: editor.text().count("limit") == 3 - times)
            if times < 3:
                until(lambda: shown(editor))
        assert editor.text() == TEXT.replace("‸", "d").replace("limit", "bound")
        until(lambda: not stage.tap.unanswered(ASK))
        until(lambda: editor.lua("return vim.fn.maparg('<Tab>', 'n')") == "", "the key is given back")
        assert not shown(editor)
        editor.keys("u")
        until(lambda: editor.text().count("limit") == 1, "each was a step of undo")

    def test_diagnostics_of_others_go_with_the_request(self, editor: Neovim, stage: Stage) -> None:
        stage.play({}, renamed={"limit": "bound"})
        editor.open("main.py", TEXT)
        editor.lua(
            """local line = vim.api.nvim_buf_get_lines(0, 3, 4, false)[1]
            local from = line:find('limit', 1, true) - 1
            vim.diagnostic.set(vim.api.nvim_create_namespace('other'), 0, {
              { lnum = 3, col = from, end_col = from + 5, message = '"limit" is not defined', severity = 1 },
              { lnum = 0, col = 0, message = 'a hint', severity = 4 },
              { lnum = 99, col = 0, message = 'of a longer text', severity = 1 },
            })"""
        )
        stage.mark()
        editor.type("d")
        editor.keys("<Esc>")
        until(lambda: shown(editor))
        [said] = stage.tap.messages(ASK, "client")[-1].params["diagnostics"]
        line = TEXT.split("\n")[3]
        encoding = editor.lua("return vim.lsp.get_clients({ name = 'palimpsest' })[1].offset_encoding")
        width = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}[encoding]
        unit = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[encoding]
        start = len(line[: line.index("limit")].encode(width)) // unit
        assert said["range"] == {"start": {"line": 3, "character": start}, "end": {"line": 3, "character": start + 5}}
        assert (said["message"], said["severity"]) == ('"limit" is not defined', 1)

    def test_tab_may_be_pressed_faster_than_edits_come(self, editor: Neovim, stage: Stage) -> None:
        begin(editor, stage)
        editor.keys("<Tab><Tab><Tab><Tab>")
        until(lambda: editor.lua("return vim.api.nvim_win_get_cursor(0)[1]") == 3, "it goes to the next one")
        assert editor.text() == TEXT.replace("‸", "d").replace("limit", "bound", 1), "which is not made unseen"

    def test_a_refused_edit_does_not_come_back(self, editor: Neovim, stage: Stage) -> None:
        begin(editor, stage)
        editor.keys("<Esc>")
        until(lambda: not shown(editor))
        [closed] = until(lambda: stage.tap.messages("palimpsest/didCloseInlineEdit", "client"))
        [told] = stage.tap.messages("textDocument/didShowInlineEdit", "client")
        assert closed.params == {"id": told.params["item"]["command"]["arguments"][0], "why": "refused"}
        editor.keys("ix<BS><Esc>")
        until(lambda: "return limitbound" in "\n".join(editor.draw().lines()), "the one after it")
        assert editor.lua("return vim.fn.maparg('<Esc>', 'n', false, true).buffer") == 1

    def test_typing_on_takes_it_away_until_that_is_over(self, editor: Neovim, stage: Stage) -> None:
        begin(editor, stage)
        stage.mark()
        editor.keys("ix")
        until(lambda: stage.tap.messages("palimpsest/didCloseInlineEdit", "client"))
        until(lambda: shown(editor), "and it is offered anew")
        assert not stage.tap.unanswered(ASK)
        assert stage.tap.messages(ASK, "client")[-1].params["textDocument"]["version"] == editor.lua(
            "return vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()]"
        )

    def test_one_request_at_a_time(self, editor: Neovim, stage: Stage) -> None:
        stage.play({})
        editor.open("main.py", "x‸\n")
        stage.mark()
        for _ in range(4):
            editor.keys("ay<Esc>")
            until(lambda: editor.mode() == "n")
        until(lambda: stage.tap.messages(ASK, "client") and not stage.tap.unanswered(ASK))
        asked = stage.tap.messages(ASK, "client")
        cancelled = {each.params["id"] for each in stage.tap.messages("$/cancelRequest", "client")}
        for before, after in itertools.pairwise(asked):
            answer = stage.tap.answer(before)
            assert before.body["id"] in cancelled or (answer and answer.at < after.at)

    def test_out_of_sight_a_mark_says_where_it_is(self, editor: Neovim, stage: Stage, screenshots: Path) -> None:
        begin(editor, stage, FAR)
        lines = editor.draw().lines()
        editor.screenshot(screenshots / f"{editor.name}-next-edit-far.svg")
        assert any(line.endswith("↓ 42: `limit` was renamed above  <Tab>") for line in lines)
        until(lambda: editor.reason() == "↓ 42: `limit` was renamed above")
        editor.keys("<C-d><C-d><C-d>")
        until(lambda: "return limitbound" in "\n".join(editor.draw().lines()), "it is in sight now")
        assert "↓" not in editor.reason()
        editor.keys("gg<Tab>")
        until(lambda: editor.lua("return vim.api.nvim_win_get_cursor(0)[1]") == 42)
        editor.keys("<C-o>")
        until(lambda: editor.lua("return vim.api.nvim_win_get_cursor(0)[1]") == 1, "the list of jumps has it")
        editor.keys("<Tab><Tab>")
        until(lambda: editor.text().endswith("return bound\n"))

    def test_in_another_file(self, editor: Neovim, stage: Stage) -> None:
        stage.play({}, renamed={"limit": "bound"})
        editor.open("one.py", "f(limit)‸\n")
        editor.keys(f"<Esc>:edit {editor.folder / 'two.py'}<CR>")
        until(lambda: editor.nvim.funcs.bufname().endswith("two.py") and editor.attached())
        editor.keys("ix<Esc>")
        until(lambda: any("→ one.py:1: `limit` was renamed above" in line for line in editor.draw().lines()))
        editor.keys("<Tab>")
        until(lambda: editor.nvim.funcs.bufname().endswith("one.py"))
        assert editor.text() == "f(limit)\n"
        until(lambda: editor.draw().lines()[0].startswith("f(limitbound)"))
        editor.keys("<Tab>")
        until(lambda: editor.text() == "f(bound)\n")

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("boun‸\nx = limit", "bound\nx = bound"),
            ("boun‸ = 漢 + limit\n", "bound = 漢 + bound\n"),
            ("boun‸; '😀👩‍👩‍👧'; limit\n", "bound; '😀👩‍👩‍👧'; bound\n"),
            ("boun‸\nlimit\n\n", "bound\nbound\n\n"),
        ],
    )
    def test_no_other_byte_changes(self, editor: Neovim, stage: Stage, before: str, after: str) -> None:
        begin(editor, stage, before)
        editor.keys("<Tab>" * (1 + ("goes there" in "\n".join(editor.draw().lines()))))
        until(lambda: editor.text() == after)

    def test_a_buffer_that_is_deleted_meanwhile(self, editor: Neovim, stage: Stage) -> None:
        begin(editor, stage)
        editor.nvim.command("bwipeout!")
        assert not shown(editor)
        assert not [line for line in editor.messages() if "Error" in line]

    def test_macros_ask_nobody(self, editor: Neovim, stage: Stage) -> None:
        stage.play({})
        editor.open("main.py", "a‸\n")
        editor.keys("<Esc>")
        editor.lua("vim.fn.setreg('q', 'ix' .. vim.keycode('<Esc>'))")
        stage.mark()
        editor.keys("20@q")
        until(lambda: editor.text() == "x" * 20 + "a\n")
        editor.keys(":Palimpsest nextEdit<CR>")
        until(lambda: stage.tap.messages(ASK, "client"))
        until(lambda: any("no next edit" in line for line in editor.messages()), "and why is told")
        assert len(stage.tap.messages(ASK, "client")) <= 2


@pytest.fixture
def option(editor: Neovim, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Set the option next_edit to the value of the test's parameter."""
    editor.lua("require('palimpsest').options.next_edit = ...", request.param)
    yield request.param
    editor.lua("require('palimpsest').options.next_edit = true")


@both
class TestSubtle:
    @pytest.mark.parametrize("option", ["subtle"], indirect=True)
    def test_only_a_mark_until_the_key(self, editor: Neovim, stage: Stage, option: str, screenshots: Path) -> None:
        begin(editor, stage)
        assert editor.draw().lines()[1] == "    if limit:  ◂ <Tab>"
        editor.screenshot(screenshots / f"{editor.name}-next-edit-subtle.svg")
        assert not stage.tap.messages("textDocument/didShowInlineEdit", "client")
        editor.keys("<Tab>")
        until(lambda: editor.draw().lines()[1].startswith("    if limitbound:"))
        until(lambda: stage.tap.messages("textDocument/didShowInlineEdit", "client"))
        assert "limit:" in editor.text()
        editor.keys("<Tab>")
        until(lambda: "if bound:" in editor.text())

    @pytest.mark.parametrize("option", [False], indirect=True)
    def test_switched_off_nobody_is_asked(self, editor: Neovim, stage: Stage, option: bool) -> None:
        stage.play({"x": "42"}, renamed={"limit": "bound"})
        editor.open("main.py", "‸ = limit\n")
        stage.mark()
        editor.type("x")
        editor.keys("<Esc>ay")
        until(lambda: editor.text() == "xy = limit\n")
        until(lambda: not stage.tap.unanswered("textDocument/inlineCompletion"))
        assert not stage.tap.messages(ASK, "client")


@both
class TestWhoseTab:
    def insert(self, editor: Neovim, stage: Stage, text: str, answers: dict[str, str] | None = None) -> None:
        stage.play(answers or {}, renamed={"limit": "bound"})
        editor.open("main.py", text)
        editor.type("s")
        until(lambda: shown(editor), "the next edit is offered")

    def test_in_insert_mode_it_leads_there(self, editor: Neovim, stage: Stage) -> None:
        self.insert(editor, stage, "f(bound‸)\n\nlimit\n")
        editor.keys("<Tab>")
        until(lambda: editor.lua("return vim.api.nvim_win_get_cursor(0)[1]") == 3)
        assert editor.mode() == "i"
        editor.keys("<Tab>x")
        until(lambda: editor.text() == "f(bounds)\n\nboundx\n")

    def test_in_front_of_a_line_it_indents(self, editor: Neovim, stage: Stage) -> None:
        self.insert(editor, stage, "f(bound‸)\n\nlimit\n")
        editor.keys("<Down><Home>")
        until(lambda: editor.lua("return vim.api.nvim_win_get_cursor(0)[1]") == 2)
        editor.keys("<Tab>x")
        until(lambda: editor.text() == "f(bounds)\n    x\nlimit\n")

    def test_a_suggestion_at_the_cursor_comes_first(self, editor: Neovim, stage: Stage) -> None:
        self.insert(editor, stage, "x =‸ \nlimit\n", {"x =s": "42"})
        until(lambda: editor.ghost() == "42")
        editor.keys("<Tab>")
        until(lambda: editor.text() == "x =s42 \nlimit\n")

    def test_an_open_menu_comes_first(self, editor: Neovim, stage: Stage) -> None:
        self.insert(editor, stage, "alpha = alphabet\nal‸\nlimit\n")
        editor.keys("<BS>")
        until(lambda: not stage.tap.unanswered(ASK))
        editor.nvim.command("inoremap <expr> <Tab> pumvisible() ? '<lt>C-n>' : '<lt>Tab>'")
        try:
            editor.keys("<C-n>")
            until(lambda: editor.nvim.funcs.pumvisible() == 1)
            before = editor.text()
            editor.keys("<Tab>")
            until(lambda: editor.text() != before, "the next entry")
            assert "limit" in editor.text()
            editor.keys("<C-e>")
        finally:
            editor.nvim.command("iunmap <Tab>")

    def test_a_snippet_comes_first(self, editor: Neovim, stage: Stage) -> None:
        self.insert(editor, stage, "f(bound‸)\n\nlimit\n")
        editor.lua("vim.snippet.expand('g(${1:a}, ${2:b})')")
        until(lambda: editor.mode() == "s", "the first place is selected, which comes a little later")
        until(lambda: shown(editor), "the next edit is offered anew")
        editor.keys("x<Tab>")
        until(lambda: "g(x, b)" in editor.text())
        editor.keys("y")
        until(lambda: "g(x, y)" in editor.text())
        assert "limit" in editor.text()
        editor.lua("vim.snippet.stop()")

    @pytest.mark.parametrize("mode", ["n", "i"])
    def test_a_mapping_of_the_users_comes_first(self, editor: Neovim, stage: Stage, mode: str) -> None:
        editor.lua("MINE = 0; vim.keymap.set(..., '<Tab>', function() MINE = MINE + 1 end)", mode)
        try:
            self.insert(editor, stage, "f(bound‸)\n\nlimit\n")
            if mode == "n":
                editor.keys("<Esc>")
                until(lambda: editor.mode() == "n")
            editor.keys("<Tab>")
            until(lambda: editor.lua("return MINE") == 1)
            assert shown(editor)
            editor.nvim.command("map <buffer> <C-j> <Plug>(palimpsest-next-edit)")
            editor.nvim.command("map! <buffer> <C-j> <Plug>(palimpsest-next-edit)")
            editor.keys("<C-j><C-j>")
            until(lambda: editor.text() == "f(bounds)\n\nbound\n")
        finally:
            editor.lua("vim.keymap.del(..., '<Tab>'); MINE = nil", mode)

    def test_a_mapping_of_escape_is_done_too(self, editor: Neovim, stage: Stage) -> None:
        editor.lua("MINE = 0; vim.keymap.set('n', '<Esc>', function() MINE = MINE + 1 end)")
        try:
            begin(editor, stage)
            editor.keys("<Esc>")
            until(lambda: editor.lua("return MINE") == 1)
            assert not shown(editor)
        finally:
            editor.lua("vim.keymap.del('n', '<Esc>'); MINE = nil")

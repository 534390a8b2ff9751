"""Features that only Neovim has: commands, keys, options and help, in both versions; and the real model on the screen."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from editors import neovim
from editors.editor import until
from editors.neovim import PLUGIN, Neovim
from editors.programs import Unavailable
from editors.stage import Stage

pytestmark = pytest.mark.editors

INLINE = "textDocument/inlineCompletion"
newest = pytest.mark.parametrize("started", ["0.12"], indirect=True)
oldest = pytest.mark.parametrize("started", ["0.11"], indirect=True)
both = pytest.mark.parametrize("staged", ["neovim", "neovim_older"], indirect=True)
Start = Callable[..., AbstractContextManager[tuple[Neovim, Stage]]]


@pytest.fixture(params=["0.12", "0.11"])
def started(request: pytest.FixtureRequest, cache: Path, installed: Path, tmp_path: Path) -> Start:
    """A Neovim of its own, for tests of how it is set up. Each one ends without having reported an error."""

    @contextmanager
    def start(*, server: Path | None = None, **options: Any) -> Iterator[tuple[Neovim, Stage]]:
        home = tmp_path / "home"
        home.mkdir()
        stage = Stage(tmp_path, installed)
        stage.play({})
        command = stage.server if server is None else neovim.Server(server, {})
        try:
            with neovim.start(cache, command, home, line=request.param, **options) as editor:
                yield editor, stage
                assert not errors(editor)
        except Unavailable as error:
            pytest.skip(f"because {error}")

    return start


def errors(editor: Neovim) -> list[str]:
    """Return Neovim's messages about faults in Lua."""
    return [
        line
        for line in editor.messages()
        if re.search(r"\bE\d+:|[Ee]rror (executing|in)|stack traceback|\.lua:\d", line)
    ]


@both
class TestTyping:
    def test_requests_that_are_out_of_date_are_cancelled(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"total = ": "12"}, steps=20, seconds=0.05)
        editor.open("main.py", "‸\n")
        stage.mark()
        editor.type("total = ")
        until(lambda: editor.ghost() == "12" and not stage.tap.unanswered(INLINE))
        asked = stage.tap.messages(INLINE, "client")
        cancelled = {each.params["id"] for each in stage.tap.messages("$/cancelRequest", "client")}
        assert len(asked) > 1
        for before, after in itertools.pairwise(asked):
            answer = stage.tap.answer(before)
            assert before.body["id"] in cancelled or (answer and answer.at < after.at)
        assert asked[-1].body["id"] not in cancelled

    def test_an_answer_that_comes_too_late_is_not_shown(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": "42", "x = y": "WRONG"}, steps=8, seconds=0.05)
        editor.open("main.py", "x =‸\n")
        stage.mark()
        editor.type(" ")
        until(stage.jobs, "a fill begins")
        editor.press("escape")
        until(lambda: not stage.tap.unanswered(INLINE))
        assert editor.ghost() == ""
        assert editor.text() == "x = \n"

    def test_a_bracket_that_a_mapping_closed_is_not_doubled(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"print(": '"hello")', "print": '("hello")'})
        editor.open("main.py", "prin‸\n")
        editor.nvim.command("inoremap <buffer> ( ()<Left>")
        editor.type("t")
        until(lambda: editor.ghost() == '("hello")')
        editor.type("(")
        until(lambda: editor.ghost() == '"hello"')
        editor.press("accept")
        until(lambda: editor.text() == 'print("hello")\n')

    def test_backspace_along_the_suggestion(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": "42"})
        editor.open("main.py", "x =‸\n")
        editor.type(" ")
        until(lambda: editor.ghost() == "42")
        editor.type("4")
        until(lambda: editor.ghost() == "2")
        editor.keys("<BS>")
        until(lambda: editor.ghost() == "42")
        editor.keys("<BS>")
        until(lambda: editor.ghost() == "" and editor.text() == "x =\n")

    def test_a_draft_that_was_accepted_is_taken_when_it_is_done(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": "42"}, steps=10, seconds=0.05, held=10)
        editor.open("main.py", "x =‸\n")
        editor.type(" ")
        until(lambda: editor.ghost() == "42")
        assert stage.tap.unanswered(INLINE), "this is a draft"
        editor.press("accept")
        assert editor.text() == "x = \n"
        stage.let_go()
        until(lambda: editor.text() == "x = 42\n")

    def test_a_draft_that_was_dismissed_stays_away(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": "slow(but, sure)"}, steps=20, seconds=0.1)
        editor.open("main.py", "x =‸\n")
        editor.type(" ")
        until(editor.ghost)
        editor.keys("<C-e>")
        until(lambda: editor.ghost() == "")
        until(lambda: stage.jobs(event="end"), "the fill ends")
        editor.draw()
        assert editor.ghost() == ""
        assert editor.text() == "x = \n"

    def test_next_asks_for_more_where_one_was_suggested(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": ["first()", "second()", "third()"]})
        editor.open("main.py", "x =‸\n")
        editor.type(" ")
        until(lambda: editor.ghost() == "first()")
        editor.press("next")
        until(lambda: editor.ghost() == "second()")

    def test_two_buffers_each_have_their_own(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": "42", "y = ": "43"}, steps=6, seconds=0.05)
        editor.open("one.py", "x =‸\n")
        editor.type(" ")
        until(stage.jobs, "a fill begins")
        editor.keys(f"<Esc>:split {editor.folder / 'two.py'}<CR>")
        until(lambda: editor.nvim.funcs.bufname().endswith("two.py") and editor.attached())
        editor.keys("iy = ")
        until(lambda: editor.ghost() == "43")
        editor.press("accept")
        until(lambda: editor.text() == "y = 43\n")
        editor.keys("<Esc><C-w>j")
        assert editor.text() == "x = \n"
        assert editor.ghost() == ""

    def test_a_buffer_that_is_deleted_meanwhile(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": "42"}, steps=100, seconds=0.05)
        editor.open("main.py", "x =‸\n")
        stage.mark()
        editor.type(" ")
        until(stage.jobs, "a fill begins")
        editor.nvim.command("stopinsert | bwipeout!")
        until(lambda: stage.jobs(event="end"), "the fill ends")
        editor.open("other.py", "x =‸\n")
        stage.play({"x = ": "43"})
        editor.type(" ")
        until(lambda: editor.ghost() == "43")
        assert not errors(editor)


@both
class TestKeys:
    def test_tab_is_a_tab_where_nothing_is_suggested(self, editor: Neovim, stage: Stage) -> None:
        editor.open("main.py", "‸\n")
        editor.keys("<Tab>x")
        until(lambda: editor.text() == "    x\n")
        assert editor.lua("return vim.fn.maparg('<Tab>', 'i', false, true).buffer") in (None, 0)

    def test_an_earlier_mapping_of_tab_comes_back(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": "42"})
        editor.open("main.py", "x =‸\n")
        editor.nvim.command("inoremap <buffer> <Tab> mine")
        editor.type(" ")
        until(lambda: editor.ghost() == "42")
        editor.keys("<Tab>")
        until(lambda: editor.text() == "x = 42\n")
        editor.keys("<Tab>")
        until(lambda: editor.text() == "x = 42mine\n")

    def test_one_word_too_many_is_no_escape(self, editor: Neovim, stage: Stage) -> None:
        editor.open("main.py", "a b c‸\n")
        editor.press("word")
        editor.type("d")
        until(lambda: editor.text() == "a b cd\n")

    def test_a_menu_with_something_selected_has_tab(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = al": "42", "x = alpha": "42", "x = alphabet": "42"})
        editor.open("main.py", "alpha\nalphabet\nx = a‸\n")
        editor.nvim.command("set completeopt=menuone,noselect")
        editor.type("l")
        until(lambda: editor.ghost() == "42")
        editor.keys("<C-n>")
        until(lambda: editor.nvim.funcs.pumvisible() == 1)
        editor.keys("<C-n>")
        until(lambda: "x = alpha" in editor.text())
        assert editor.lua("return vim.fn.maparg('<Tab>', 'i', false, true).buffer") in (None, 0)
        editor.keys("<C-y>")

    def test_dismiss(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": "42"})
        editor.open("main.py", "x =‸\n")
        editor.type(" ")
        until(lambda: editor.ghost() == "42")
        editor.keys("<C-e>")
        until(lambda: editor.ghost() == "")
        assert editor.mode() == "i"
        assert editor.text() == "x = \n"

    def test_the_reason_is_told_to_those_who_ask(self, editor: Neovim, stage: Stage) -> None:
        editor.open("main.py", "x = ‸\n")
        editor.press("trigger")
        until(lambda: editor.draw().lines()[0] == "x =  the script has nothing here")
        editor.type("y")
        until(lambda: editor.draw().lines()[0] == "x = y")


@both
class TestRewriting:
    TEXT = "def f(a):\n    x = 1  # one\n    return x  # and out\n\n\nprint(f(1))‸\n"

    def test_drafts_in_place(self, editor: Neovim, stage: Stage, screenshots: Path) -> None:
        stage.play({"def f(a):\n    ": "y = a * 2\n    z = y + 1\n    return z"}, steps=20, seconds=0.1, held=13)
        editor.open("main.py", self.TEXT)
        editor.select(14, 39)
        editor.run("rewrite")
        until(lambda: painted(editor), "drafts")
        until(lambda: stage.tap.messages("palimpsest/draft")[-1].params["settledShare"] > 0.6)
        lines = editor.draw().lines()
        editor.screenshot(screenshots / f"{editor.name}-rewriting.svg")
        assert lines[0] == "def f(a):"
        assert lines[3].endswith("  # and out"), "what is behind the selection stays"
        assert lines[6] == "print(f(1))"
        assert editor.text() == self.TEXT.replace("‸", ""), "and all that is only paint"
        stage.let_go()
        until(lambda: editor.text().startswith("def f(a):\n    y = a * 2\n    z = y + 1\n    return z  # and out\n"))
        assert not painted(editor)
        editor.press("undo")
        until(lambda: editor.text() == self.TEXT.replace("‸", ""))

    def test_paint_goes_when_it_is_cancelled(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"def f(a):\n    ": "WRONG"}, steps=100, seconds=0.05)
        editor.open("main.py", self.TEXT)
        editor.select(14, 39)
        editor.run("rewrite")
        until(lambda: painted(editor), "drafts")
        editor.cancel()
        until(lambda: stage.jobs(event="end"), "the fill ends")
        until(lambda: not painted(editor))
        assert editor.text() == self.TEXT.replace("‸", "")

    def test_a_buffer_that_is_deleted_meanwhile(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"def f(a):\n    ": "WRONG"}, steps=100, seconds=0.05)
        editor.open("main.py", self.TEXT)
        editor.select(14, 39)
        editor.run("rewrite")
        until(lambda: painted(editor), "drafts")
        editor.nvim.command("bwipeout!")
        until(lambda: stage.jobs(event="end"), "the fill ends")
        assert not errors(editor)

    def test_lines_are_a_selection(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"def f(a):\n    ": "return a"})
        editor.open("main.py", self.TEXT)
        editor.keys("<Esc>:2,3Palimpsest rewrite<CR>")
        until(lambda: editor.text() == "def f(a):\n    return a\n\n\nprint(f(1))\n")

    def test_lines_are_rewritten_as_the_user_says(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"def f(a):\n": "    # <instruction>\n    return a\n"})
        editor.open("main.py", self.TEXT)
        editor.keys("<Esc>:2,3Palimpsest rewrite make  it short<CR>")
        until(lambda: editor.text() == "def f(a):\n    # make  it short\n    return a\n\n\nprint(f(1))\n")
        editor.press("undo")
        until(lambda: editor.text() == self.TEXT.replace("‸", ""))
        editor.lua("vim.ui.input, Asks = function(options, say) say(' say so ') end, vim.ui.input")
        try:
            editor.keys("<Esc>:2,3Palimpsest instruct<CR>")
            until(lambda: editor.text() == "def f(a):\n    # say so\n    return a\n\n\nprint(f(1))\n")
        finally:
            editor.lua("vim.ui.input = Asks")

    def test_by_the_menu_of_code_actions(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"def f(a):\n    ": "return a"})
        editor.open("main.py", self.TEXT)
        editor.lua(
            """vim.ui.select = function(items, options, choose)
              for number, item in ipairs(items) do
                if options.format_item(item):find('Palimpsest: rewrite', 1, true) then choose(item, number) end
              end
            end"""
        )
        editor.select(14, 50)
        editor.keys("gra")
        until(lambda: editor.text() == "def f(a):\n    return a\n\n\nprint(f(1))\n")
        editor.press("undo")
        until(lambda: editor.text() == self.TEXT.replace("‸", ""))

    def test_a_reason_instead_of_silence(self, editor: Neovim, stage: Stage) -> None:
        editor.open("main.py", self.TEXT)
        editor.keys("<Esc>:Palimpsest rewrite<CR>")
        until(lambda: any("select some code first" in line for line in editor.messages()))


@pytest.fixture
def preview(editor: Neovim) -> Iterator[None]:
    """Turn the preview on: the user has to accept the edits of commands."""
    editor.lua("require('palimpsest').options.preview = true")
    yield
    editor.lua("require('palimpsest').options.preview = false")


@both
@pytest.mark.usefixtures("preview")
class TestPreview:
    TEXT = "def f(a):\n    x = 1\n    return x\n\n\nprint(f(1))\n"

    def begin(self, editor: Neovim, stage: Stage, new: str, action: str = "rewrite") -> None:
        stage.play({"def f(a):\n    ": new})
        editor.open("main.py", self.TEXT + "‸")
        editor.select(14, 32)
        editor.run(action)
        until(lambda: shown_of(editor), "the preview")

    def test_old_and_new_are_shown_and_nothing_is_written_before_a_yes(
        self, editor: Neovim, stage: Stage, screenshots: Path
    ) -> None:
        self.begin(editor, stage, "y = a * 2\n    z = y + 1\n    return z")
        lines = editor.draw().lines()
        editor.screenshot(screenshots / f"{editor.name}-preview.svg")
        assert [line.strip() for line in lines[:6]] == [
            "def f(a):",
            "x = 1  <Tab> accepts, <Esc> rejects",
            "return x",
            "y = a * 2",
            "z = y + 1",
            "return z",
        ]
        assert editor.text() == self.TEXT
        editor.keys("<Tab>")
        until(lambda: editor.text() == "def f(a):\n    y = a * 2\n    z = y + 1\n    return z\n\n\nprint(f(1))\n")
        assert not shown_of(editor)
        editor.press("undo")
        until(lambda: editor.text() == self.TEXT, "one step back")

    def test_within_a_line_the_new_text_is_beside_the_old_one(self, editor: Neovim, stage: Stage) -> None:
        self.begin(editor, stage, "x = 2\n    return x", "touchUp")
        assert editor.draw().lines()[1].strip() == "x = 12  <Tab> accepts, <Esc> rejects"
        editor.keys(":Palimpsest accept<CR>")
        until(lambda: editor.text() == self.TEXT.replace("1\n", "2\n", 1))

    def test_escape_rejects_and_gives_the_keys_back(self, editor: Neovim, stage: Stage) -> None:
        self.begin(editor, stage, "return a")
        assert editor.lua("return vim.fn.maparg('<Tab>', 'n', false, true).buffer") == 1
        editor.keys("<Esc>")
        until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server knows")
        assert editor.text() == self.TEXT
        assert not shown_of(editor)
        assert editor.lua("return vim.fn.maparg('<Tab>', 'n') .. vim.fn.maparg('<Esc>', 'n')") == ""

    @pytest.mark.parametrize("keys", ["gg0x", ":Palimpsest cancel<CR>", ":Palimpsest reject<CR>"])
    def test_it_goes_and_nothing_is_written(self, editor: Neovim, stage: Stage, keys: str) -> None:
        self.begin(editor, stage, "return a")
        editor.keys(keys)
        until(lambda: not shown_of(editor), "it is gone")
        until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server knows")
        assert editor.text() == (self.TEXT[1:] if keys == "gg0x" else self.TEXT)
        assert not errors(editor)

    def test_a_buffer_that_is_deleted_meanwhile(self, editor: Neovim, stage: Stage) -> None:
        self.begin(editor, stage, "return a")
        editor.nvim.command("bwipeout!")
        until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server knows")
        assert not errors(editor)


@both
@pytest.mark.usefixtures("preview")
class TestHunks:
    """A preview with two places that differ, the second one of two lines."""

    OLD = "def f(a):\n    x = 1\n    y = a\n    z = 2\n    print(z)\n    return x + y\n\n\nprint(f(1))\n"
    NEW = "    x = 10\n    y = a\n    z = 20\n    return x + y\n"

    @pytest.fixture(autouse=True)
    def shown(self, editor: Neovim, stage: Stage, preview: None) -> None:
        stage.play({"def f(a):\n": self.NEW})
        editor.open("main.py", self.OLD + "‸")
        stage.mark()
        editor.keys("<Esc>:2,6Palimpsest instruct tenfold<CR>")
        until(lambda: "2/2" in "".join(editor.draw().lines()), "two hunks")

    def undone(self, editor: Neovim) -> None:
        editor.press("undo")
        until(lambda: editor.text() == self.OLD, "one step back")

    def test_one_is_accepted_and_one_rejected(self, editor: Neovim, stage: Stage, screenshots: Path) -> None:
        lines = editor.draw().lines()
        editor.screenshot(screenshots / f"{editor.name}-hunks.svg")
        assert lines[1].strip() == (
            "x = 10  1/2: <M-y> accepts, <M-n> rejects this; <Tab> accepts all, <Esc> rejects all"
        )
        editor.keys("gg]h")
        until(lambda: editor.nvim.current.window.cursor[0] == 2, "the first one")
        editor.keys("<M-y>")
        until(lambda: "1/2: accepted" in editor.draw().lines()[1], "it says so")
        assert editor.text() == self.OLD, "nothing is written before all is decided"
        editor.keys("<M-n>")  # the cursor is at the next one
        until(lambda: editor.text() == self.OLD.replace("x = 1", "x = 10"), "one of them is written")
        assert not shown_of(editor)
        assert editor.lua("return vim.fn.maparg('<M-y>', 'n') .. vim.fn.maparg(']h', 'n')") == ""
        self.undone(editor)
        until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server is done")
        [asked] = stage.tap.messages("workspace/applyEdit", "server")
        answer = stage.tap.answer(asked)
        assert answer
        assert answer.body["result"]["applied"] is True

    @pytest.mark.parametrize(
        ("keys", "written"),
        [
            ("gg<M-n><Tab>", OLD.replace("z = 2\n    print(z)", "z = 20")),
            ("gg<M-y>:Palimpsest accept only<CR>", OLD.replace("x = 1", "x = 10")),
            ("G:Palimpsest reject hunk<CR>:Palimpsest accept hunk<CR>", OLD.replace("x = 1", "x = 10")),
            ("gg[h<M-n><Tab>", OLD.replace("x = 1", "x = 10")),
            ("gg<M-y><Esc>", OLD),
            ("gg<M-n><M-n>", OLD),
            ("<Tab>", "def f(a):\n" + NEW + "\n\nprint(f(1))\n"),
        ],
    )
    def test_it_is_decided(self, editor: Neovim, stage: Stage, keys: str, written: str) -> None:
        editor.keys(keys)
        until(lambda: not shown_of(editor), "all is decided")
        until(lambda: not stage.tap.unanswered("workspace/executeCommand"), "the server knows")
        assert editor.text() == written
        assert not errors(editor)
        if written != self.OLD:
            self.undone(editor)

    @pytest.mark.parametrize("seed", range(12))
    def test_any_of_them_can_be_made_without_the_others(self, editor: Neovim, seed: int) -> None:
        chance = random.Random(seed)
        old, new = ("\n".join(chance.choices("abcdé", k=chance.randint(1, 9))) for _ in range(2))
        made = editor.lua(MAKE_HUNKS, old, new)
        assert made["all"] == new
        assert made["others"] == [new] * len(made["others"]), "the others, and then the one that was left out"


MAKE_HUNKS = """
local old, new = ...
local difference, api = require('palimpsest.difference'), vim.api
local bufnr = api.nvim_create_buf(false, true)
local function set(text) api.nvim_buf_set_lines(bufnr, 0, -1, true, vim.split(text, '\\n')) end
local function get() return table.concat(api.nvim_buf_get_lines(bufnr, 0, -1, true), '\\n') end
local function hunks()
  local lines = api.nvim_buf_get_lines(bufnr, 0, -1, true)
  return difference.hunks(bufnr, { first = 0, from = 0, last = #lines - 1, to = #lines[#lines], text = new })
end
local function make(list, but)
  for number = #list, 1, -1 do
    local e = list[number]
    if number ~= but then
      api.nvim_buf_set_text(bufnr, e.first, e.from, e.last, e.to, vim.split(e.text, '\\n'))
    end
  end
end
set(old)
local list, found = hunks(), { others = {} }
make(list)
found.all = get()
for number = 1, #list do
  set(old)
  make(list, number)
  make(hunks())
  found.others[number] = get()
end
return found
"""


def shown_of(editor: Neovim) -> int:
    """Count the marks of the preview."""
    return int(
        editor.lua(
            """local namespace = vim.api.nvim_get_namespaces()['palimpsest.preview']
            return namespace and #vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, {}) or 0"""
        )
    )


@both
class TestColours:
    @pytest.mark.parametrize("scheme", ["default", "vim", "habamax"])
    def test_a_suggestion_is_no_code_in_a_terminal_without_true_colours(self, editor: Neovim, scheme: str) -> None:
        editor.lua("vim.o.termguicolors = false; vim.cmd.colorscheme(...)", scheme)
        try:
            for name in ("PalimpsestSuggestion", "PalimpsestDraft"):
                look = editor.lua("return vim.api.nvim_get_hl(0, { name = ..., link = false })", name)
                normal = editor.lua("return vim.api.nvim_get_hl(0, { name = 'Normal', link = false })")
                assert look["ctermfg"] != normal.get("ctermfg")
                assert look["fg"] != normal.get("fg")
        finally:
            editor.lua("vim.o.termguicolors = true; vim.cmd.colorscheme('default')")

    def test_colours_that_the_user_defines_stay(self, editor: Neovim) -> None:
        editor.lua("vim.api.nvim_set_hl(0, 'PalimpsestSuggestion', { fg = 255, ctermfg = 3 })")
        editor.lua("require('palimpsest.colours').define()")
        assert editor.lua("return vim.api.nvim_get_hl(0, { name = 'PalimpsestSuggestion' })") == {
            "fg": 255,
            "ctermfg": 3,
        }
        editor.lua("vim.cmd.colorscheme('default')")


@both
class TestCommands:
    def test_health_after_nothing_came(self, editor: Neovim, stage: Stage) -> None:
        editor.open("main.py", "x = 1  # no‸\n")
        editor.type("t")
        until(lambda: "comment" in editor.reason())
        editor.keys("<Esc>")
        assert "the last request that got nothing: the cursor is in a comment" in health(editor)

    def test_status(self, editor: Neovim, stage: Stage) -> None:
        editor.open("main.py", "‸\n")
        editor.keys("<Esc>:Palimpsest status<CR>")
        until(lambda: "model scripted on none" in editor.text())
        editor.keys("q")
        until(lambda: editor.text() == "\n")

    def test_log(self, editor: Neovim, stage: Stage) -> None:
        editor.open("main.py", "‸\n")
        editor.keys("<Esc>:Palimpsest log<CR>")
        until(lambda: editor.nvim.funcs.bufname() == "palimpsest://log")
        editor.keys("q")
        until(lambda: editor.text() == "\n")

    def test_words_are_completed(self, editor: Neovim, stage: Stage) -> None:
        def complete(line: str) -> list[str]:
            return list(editor.nvim.funcs.getcompletion(line, "cmdline"))

        assert {"fill", "rewrite", "toggle", "status", "log", "doctor", "restart"} <= set(complete("Palimpsest "))
        assert complete("'<,'>Palimpsest re") == ["reject", "repair", "restart", "rework", "rewrite"]
        assert complete("Palimpsest toggle l") == ["language"]

    def test_a_word_that_does_not_exist(self, editor: Neovim, stage: Stage) -> None:
        editor.open("main.py", "‸\n")
        editor.keys("<Esc>:Palimpsest refill<CR>")
        until(lambda: any("there is no :Palimpsest refill" in line for line in editor.messages()))

    def test_restart(self, editor: Neovim, stage: Stage) -> None:
        stage.play({"x = ": "42"})
        editor.open("main.py", "x =‸\n")
        stage.mark()
        editor.restart()
        assert stage.tap.starts() == 1
        editor.type(" ")
        until(lambda: editor.ghost() == "42")
        assert not errors(editor)


class TestHelp:
    def test_everything_is_in_it(self, started: Start, tmp_path: Path) -> None:
        with started() as (editor, _):
            shutil.copytree(PLUGIN / "doc", tmp_path / "doc")
            editor.nvim.command(f"helptags {tmp_path / 'doc'}")
            editor.nvim.command(f"set runtimepath^={tmp_path}")
            tags = {line.split("\t")[0] for line in (tmp_path / "doc" / "tags").read_text("utf-8").splitlines()}
            functions = editor.lua(
                "return vim.tbl_filter(function(n) return type(require('palimpsest')[n]) == 'function' end, "
                "vim.tbl_keys(require('palimpsest')))"
            )
            assert {f"palimpsest.{name}()" for name in functions} <= tags
            assert {"palimpsest", "palimpsest.txt", ":Palimpsest"} <= tags
            text = (PLUGIN / "doc" / "palimpsest.txt").read_text("utf-8")
            options = editor.lua("return vim.tbl_keys(require('palimpsest').options)")
            keys = editor.lua("return vim.tbl_keys(require('palimpsest').options.keys)")
            words = editor.nvim.funcs.getcompletion("Palimpsest ", "cmdline")
            assert not [name for name in [*options, *keys, *words] if not re.search(rf"\b{name}\b", text)]
            for name, key in editor.lua("return require('palimpsest').options.keys").items():
                assert re.search(rf"{name}\s*=\s*'{re.escape(key)}'", text.replace("\\\\", "\\")), f"{name} is {key}"
            assert max(map(len, text.splitlines())) <= 78
            editor.keys(":help palimpsest<CR>")
            until(lambda: editor.lua("return vim.bo.filetype") == "help")
            links = set(re.findall(r"\|(\S+?)\|", text))
            missing = [link for link in links if not editor.nvim.funcs.getcompletion(link, "help")]
            assert not missing


class TestSettingUp:
    def test_health(self, started: Start, installed: Path) -> None:
        with started(server=installed.parent / "palimpsest") as (editor, _):
            editor.open("main.py", "‸\n")
            until(lambda: editor.lua(STATUS_MODEL), "the model is loaded", seconds=60)
            editor.keys("<Esc>")
            report = health(editor)
            assert f"Neovim {'.'.join(map(str, editor.version))}" in report
            assert re.search(r"palimpsest, version \d", report)
            assert "1 buffer, utf-8: ready" in report
            assert "model palimpsest-py" in report
            assert "nothing is known to get in the way" in report
            assert "ERROR" not in report
            assert "WARN" not in report

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
    def test_position_encodings(self, started: Start, encoding: str) -> None:
        capabilities = f"{{ general = {{ positionEncodings = {{ '{encoding}' }} }} }}"
        config = f"vim.lsp.config('palimpsest', {{ capabilities = {capabilities} }})"
        with started(extra=config) as (editor, stage):
            stage.play(
                {'", ': 'volume="漢"', "def f(a):\n    ": "return a", "# ": "WRONG", "😀'; x = ": "y"},
                steps=3,
                seconds=0.05,
            )
            editor.open("main.py", 'say("😀 漢字 👩‍👩‍👧",‸) + "😀"\n')
            assert editor.lua("return vim.lsp.get_clients({ bufnr = 0 })[1].offset_encoding") == encoding
            editor.type(" ")
            until(lambda: editor.ghost() == 'volume="漢"')
            editor.type('volume="')
            until(lambda: editor.ghost() == '漢"')
            editor.press("accept")
            until(lambda: editor.text() == 'say("😀 漢字 👩‍👩‍👧", volume="漢") + "😀"\n')
            before = "s = '漢😀'; x = old + '😀'; z = '👩‍👩‍👧'\n"
            editor.open("other.py", "‸" + before)
            start = before.index("old")
            editor.select(start, before.index(";", start))
            editor.run("rewrite")
            until(lambda: editor.text() == before.replace("old + '😀'", "y"))

    def test_the_server_ends_twice(self, started: Start) -> None:
        with started() as (editor, stage):
            stage.play({"x = ": "42", "xx": "WRONG"})
            editor.open("main.py", "‸\n")
            for times in (1, 2):
                os.kill(until(stage.tap.pid), signal.SIGKILL)
                editor.type("x")
                until(lambda times=times: len([m for m in editor.messages() if "the server has ended" in m]) == times)
                if times == 1:
                    until(lambda: stage.tap.starts() == 2)
                    until(editor.attached)
            assert "it is started again" in (said := "\n".join(editor.messages()))
            assert "the server has ended again" in said
            assert "quit with exit code" not in said, "a message of that length waits for Enter"
            assert "has ended" in editor.reason()
            editor.type("y")
            until(lambda: editor.text() == "xxy\n")
            assert stage.tap.starts() == 2
            editor.keys("<Esc>:Palimpsest restart<CR>")
            until(lambda: stage.tap.starts() == 3)
            until(editor.attached)
            editor.keys("ccx = ")
            until(lambda: editor.ghost() == "42")

    def test_a_key_while_the_server_ends(self, started: Start) -> None:
        """Between Neovim's taking the client from the buffer and our hearing of the end, for as long as that can take."""
        late = """local schedule = vim.schedule
        vim.schedule = function(call)
          local ours = debug.getinfo(call, 'S').source:find('palimpsest/server.lua', 1, true)
          schedule(ours and function() vim.defer_fn(call, 500) end or call)
        end
        """
        with started(before=late) as (editor, stage):
            stage.play({"x = ": "42"})
            editor.open("main.py", "‸\n")
            for times in (1, 2):
                os.kill(until(stage.tap.pid), signal.SIGKILL)
                until(lambda: not editor.attached())
                editor.type("x")
                until(lambda times=times: len([m for m in editor.messages() if "the server has ended" in m]) == times)
                if times == 1:
                    until(lambda: stage.tap.starts() == 2)
                    until(editor.attached)
            editor.keys("<Esc>:Palimpsest restart<CR>")
            until(lambda: stage.tap.starts() == 3)
            until(editor.attached)
            assert editor.lua("return #vim.lsp.get_clients()") == 1
            editor.keys("ccx = ")
            until(lambda: editor.ghost() == "42")

    @newest
    def test_neovim_has_its_own(self, started: Start) -> None:
        """With the fault of 0.12.4: accepting after some was typed along inserts that twice."""
        with started(extra="require('palimpsest').setup({ backend = 'native' })") as (editor, stage):
            stage.play({"first ": "+ second + third", "x = ": "a(b)"})
            editor.open("main.py", "total = first‸\n")
            assert editor.lua("return vim.lsp.inline_completion.is_enabled({ bufnr = 0 })") is not None
            editor.type(" ")
            until(lambda: editor.ghost() == "+ second + third")
            editor.type("+ s")
            until(lambda: editor.ghost() == "econd + third")
            editor.press("accept")
            until(lambda: editor.text() == "total = first + second + third\n")
            editor.press("undo")
            until(lambda: editor.text() == "total = first + s\n")
            editor.keys("ccx = ")
            until(lambda: editor.ghost() == "a(b)")
            editor.press("word")
            until(lambda: editor.text() == "x = a\n")
            editor.keys("<Esc>cc<Tab>z")
            until(lambda: editor.text() == "    z\n")

    @newest
    def test_ours_is_alone_where_neovims_is_on_for_all(self, started: Start) -> None:
        with started(extra="vim.lsp.inline_completion.enable()") as (editor, stage):
            stage.play({"x = ": "42"})
            editor.open("main.py", "x =‸\n")
            stage.mark()
            editor.type(" ")
            until(lambda: editor.ghost() == "42")
            editor.press("accept")
            until(lambda: editor.text() == "x = 42\n")

    @oldest
    def test_without_inline_completion_of_neovims_own(self, started: Start) -> None:
        """As in 0.11, whatever the option says."""
        setup = "require('palimpsest').setup({ backend = 'native' })"
        with started(extra=setup) as (editor, stage):
            stage.play({"x = ": "42"})
            editor.open("main.py", "x =‸\n")
            editor.type(" ")
            until(lambda: editor.ghost() == "42")
            editor.keys("<Esc>")
            assert "needs Neovim 0.12" in health(editor)

    def test_only_when_asked(self, started: Start) -> None:
        setup = "require('palimpsest').setup({ automatic = false, keys = { accept = false, trigger = '<C-l>' } })"
        with started(extra=setup) as (editor, stage):
            stage.play({"x = ": "42"})
            editor.open("main.py", "x =‸\n")
            stage.mark()
            editor.type(" ")
            until(lambda: editor.text() == "x = \n")
            assert not stage.tap.messages(INLINE, "client")
            editor.keys("<C-l>")
            until(lambda: editor.ghost() == "42")
            assert stage.tap.messages(INLINE, "client")[0].params["context"]["triggerKind"] == 1
            editor.keys("<Tab>")
            until(lambda: editor.text() == "x =     \n")

    def test_settings_reach_the_server(self, started: Start) -> None:
        setup = "require('palimpsest').setup({ drafts = false, settings = { seed = 7, device = 'cpu' } })"
        with started(extra=setup) as (editor, stage):
            editor.open("main.py", "‸\n")
            [initialize] = stage.tap.messages("initialize", "client")
            section = initialize.params["initializationOptions"]["palimpsest"]
            assert section == {"answerWithinMs": 3000, "drafts": False, "seed": 7, "device": "cpu"}

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ("{ colour = 'red' }", 'there is no option "colour"'),
            ("{ drafts = 'no' }", "drafts: expected boolean"),
            ("{ backend = 'mine' }", "the option backend is 'own' or 'native'"),
        ],
    )
    def test_options_that_make_no_sense(self, started: Start, options: str, said: str) -> None:
        with started() as (editor, _):
            ok, why = editor.lua(f"return {{ pcall(require('palimpsest').setup, {options}) }}")
            assert not ok
            assert said in why

    def test_no_such_program(self, started: Start, tmp_path: Path) -> None:
        with started(server=tmp_path / "missing") as (editor, _):
            editor.nvim.command("edit one.py")
            editor.keys("<CR>ix = 1")
            until(lambda: editor.text() == "x = 1\n")
            editor.keys("<Esc>")
            report = health(editor)
            assert "missing` cannot be run" in report
            assert "setup({ cmd" in report

    def test_the_one_file_alone(self, cache: Path, started: Start, tmp_path: Path) -> None:
        """Without the plugin, Neovim has the code actions; and what it has for inline completion itself, or the list."""
        alone = tmp_path / "alone"
        (alone / "lsp").mkdir(parents=True)
        shutil.copy(PLUGIN / "lsp" / "palimpsest.lua", alone / "lsp")
        extra = f"vim.opt.runtimepath:remove('{PLUGIN}') vim.opt.runtimepath:prepend('{alone}') vim.o.statusline = ''"
        with started(extra=extra) as (editor, stage):
            stage.play({"def f(a):\n    ": "return a"})
            editor.open("main.py", "def f(a):\n    x = 1‸\n")
            assert not editor.lua("return pcall(require, 'palimpsest')")
            has = editor.lua("return vim.lsp.get_clients({ bufnr = 0 })[1].server_capabilities")
            assert ("completionProvider" in has) == (editor.version < (0, 12))
            editor.keys("<Esc>")
            editor.lua(
                """vim.ui.select = function(items, options, choose)
                  for n, each in ipairs(items) do
                    if options.format_item(each):find('rewrite', 1, true) then choose(each, n) end
                  end
                end"""
            )
            editor.select(14, 19)
            editor.keys("gra")
            until(lambda: editor.text() == "def f(a):\n    return a\n")

    def test_no_globals(self, started: Start) -> None:
        with started(before="GLOBALS = vim.tbl_keys(_G)\n") as (editor, stage):
            stage.play({"x = ": "42"})
            editor.open("main.py", "x =‸\n")
            editor.type(" ")
            until(lambda: editor.ghost() == "42")
            editor.keys("<Esc>")
            health(editor)
            new = set(editor.lua("return vim.tbl_keys(_G)")) - set(editor.lua("return GLOBALS"))
            assert {name for name in new if "palimpsest" in name.lower()} == set()
            assert new <= {"GLOBALS"}


def test_the_real_model(started: Start, screenshots: Path) -> None:
    source = (Path(__file__).parents[2] / "fixtures" / "demo" / "shelf.py").read_text("utf-8")
    with started() as (editor, stage):
        stage.play({}, real=True)
        at = source.rindex("self.books")
        behind = source[source.index("\n", at) :]
        editor.open("shelf.py", source[: at - 1] + "‸" + behind)
        until(lambda: editor.lua(STATUS_MODEL), "the model is loaded", seconds=60)
        editor.type(" ")
        suggested = until(lambda: editor.lua("return require('palimpsest').visible()") and editor.ghost(), seconds=60)
        editor.screenshot(screenshots / f"{editor.name}-suggestion.svg")
        editor.press("accept")
        until(lambda: editor.text() == source[:at] + suggested + behind)
        compile(editor.text(), "shelf.py", "exec")


STATUS_MODEL = """
local client = vim.lsp.get_clients({ name = 'palimpsest', bufnr = 0 })[1]
local status = client and require('palimpsest.server').status(client.id)
return status and status.state == 'ready' and status.model or ''
"""


def painted(editor: Neovim) -> int:
    """Return the number of marks that a rewrite has on the screen."""
    return int(
        editor.lua(
            "return #vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace('palimpsest.rewrite'), 0, -1, {})"
        )
    )


def health(editor: Neovim) -> str:
    """Return the report of :checkhealth palimpsest."""
    editor.nvim.command("checkhealth palimpsest")
    report = editor.text()
    editor.nvim.command("bwipeout")
    return report

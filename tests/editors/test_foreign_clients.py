"""Next edit in clients that know nothing of us, as they are published: sidekick.nvim in Neovim, copilot.el in Emacs.

Their sources are looked for in the folders that PALIMPSEST_SIDEKICK and PALIMPSEST_COPILOT_EL name, each a checkout; no
registry that the other programs come from has them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from editors import emacs, neovim
from editors.editor import until
from editors.emacs import Emacs
from editors.neovim import PLUGIN, Neovim
from editors.programs import Unavailable
from editors.stage import Stage

pytestmark = pytest.mark.editors

ASK, TAKEN = "textDocument/copilotInlineEdit", "workspace/executeCommand"
TEXT = "def f(bound‸):\n    漢 = '😀'; print('é', limit)\n    return 1\n"
FAR = "def f(bound‸):\n" + "    step()\n" * 12 + "    return limit\n"


def checkout(variable: str, name: str) -> Path:
    """Return the folder that has a client's source."""
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"because {variable} names no checkout of {name}")
    return Path(folder)


@pytest.fixture
def stage(tmp_path: Path, installed: Path) -> Stage:
    """A stage whose next edits rename."""
    stage = Stage(tmp_path, installed)
    stage.play({}, renamed={"limit": "bound"})
    return stage


def errors(stage: Stage) -> list[dict[str, object]]:
    """Return what the server called an error, but for requests that the client cancelled."""
    errors = [each.body["error"] for each in stage.tap.messages(who="server") if "error" in each.body]
    return [each for each in errors if each["code"] != -32800]


# What docs/editors.md has for sidekick.nvim, but for the folders.
SIDEKICK = """
vim.opt.runtimepath:remove('{plugin}')
vim.opt.runtimepath:prepend('{sidekick}')
vim.lsp.config('palimpsest_copilot', dofile('{plugin}/lsp/palimpsest.lua'))
vim.lsp.config('palimpsest_copilot', {{ cmd = vim.lsp.config.palimpsest.cmd }})
vim.lsp.enable('palimpsest_copilot')
vim.lsp.config('palimpsest', {{ filetypes = {{ 'nothing' }} }})
vim.o.statusline = ''
require('sidekick').setup({{}})
vim.keymap.set('n', '<Tab>', function() require('sidekick').nes_jump_or_apply() end)
"""


@contextmanager
def sidekick(cache: Path, stage: Stage) -> Iterator[Neovim]:
    """Neovim without our plugin, with sidekick.nvim."""
    source = checkout("PALIMPSEST_SIDEKICK", "sidekick.nvim")
    home = stage.folder / "home"
    home.mkdir()
    try:
        with neovim.start(cache, stage.server, home, extra=SIDEKICK.format(plugin=PLUGIN, sidekick=source)) as editor:
            editor.client = "palimpsest_copilot"
            yield editor
            assert not [line for line in editor.messages() if "rror" in line]
    except Unavailable as error:
        pytest.skip(f"because {error}")


def hunks(editor: Neovim) -> int:
    """Count the edits that sidekick.nvim has for the buffer."""
    return int(editor.lua("return #require('sidekick.nes').get(vim.api.nvim_get_current_buf())"))


class TestSidekick:
    def test_tab_takes_the_edit_and_asks_for_the_next(self, cache: Path, stage: Stage, screenshots: Path) -> None:
        with sidekick(cache, stage) as editor:
            editor.open("main.py", TEXT + "    limit()\n")
            editor.keys("x<Esc>")
            until(lambda: hunks(editor), "an edit")
            editor.draw()
            editor.screenshot(screenshots / "sidekick.svg")
            editor.keys("<Tab>")
            until(lambda: editor.nvim.request("nvim_win_get_cursor", 0)[0] == 2)
            editor.keys("<Tab>")
            until(lambda: "print('é', bound)" in editor.text())
            until(lambda: hunks(editor), "the next one")
            editor.keys("<Tab>")
            until(lambda: editor.nvim.request("nvim_win_get_cursor", 0)[0] == 4)
            editor.keys("<Tab>")
            until(lambda: editor.text() == TEXT.replace("bound‸", "boundx").replace("limit", "bound") + "    bound()\n")
            until(lambda: len(stage.tap.messages(TAKEN, "client")) == 2)
            until(lambda: not stage.tap.unanswered(ASK) and not stage.tap.unanswered(TAKEN))
            assert not hunks(editor)
            assert stage.tap.messages("textDocument/didFocus", "client")
            assert not errors(stage)

    def test_typing_on_cancels_and_the_last_one_wins(self, cache: Path, stage: Stage) -> None:
        with sidekick(cache, stage) as editor:
            editor.open("main.py", TEXT)
            editor.keys("x<Esc>xiz<Esc>")
            until(lambda: hunks(editor), "an edit")
            until(lambda: not stage.tap.unanswered(ASK))
            edit = stage.tap.answer(stage.tap.messages(ASK, "client")[-1])
            assert edit
            version = editor.lua("return vim.lsp.util.buf_versions[vim.api.nvim_get_current_buf()]")
            assert edit.body["result"]["edits"][0]["textDocument"]["version"] == version


# What docs/editors.md has for copilot.el, but for the folders.
COPILOT = """\
(add-to-list 'load-path "{source}")
(require 'copilot)
(require 'copilot-nes)
(setq copilot-server-executable {{command}} copilot-server-args '("serve") copilot-indent-offset-warning-disable t
      copilot-nes-idle-delay 0.05)
(add-hook 'python-mode-hook #'copilot-mode)
(add-hook 'python-mode-hook #'copilot-nes-mode)
(setq palimpsest-modes nil)
;; {{options}} {{package}}
"""


@contextmanager
def copilot(cache: Path, stage: Stage) -> Iterator[Emacs]:
    """Emacs without our package, with copilot.el."""
    source = checkout("PALIMPSEST_COPILOT_EL", "copilot.el")
    home = stage.folder / "home"
    home.mkdir()
    try:
        with emacs.start(cache, stage.server, home, COPILOT.format(source=source)) as editor:
            yield editor
    except Unavailable as error:
        pytest.skip(f"because {error}")


class TestCopilotEl:
    def test_tab_takes_the_edit_and_the_next_is_asked_for(self, cache: Path, stage: Stage, screenshots: Path) -> None:
        with copilot(cache, stage) as editor:
            editor.open("main.py", FAR + "    limit()\n")
            editor.type("x")
            until(lambda: editor.ask(PENDING), "an edit")
            editor.screenshot(screenshots / "copilot-el.svg")
            editor.keys("\t")
            until(lambda: editor.ask("(line-number-at-pos)") == 14, "it goes there")
            editor.keys("\t")
            until(lambda: "return bound" in editor.text())
            until(lambda: editor.ask(PENDING), "the next one")
            editor.keys("\t")
            until(lambda: editor.text() == FAR.replace("bound‸", "boundx").replace("limit", "bound") + "    bound()\n")
            taken = until(lambda: len(found := stage.tap.messages(TAKEN, "client")) == 2 and found)
            assert all("id" not in each.body for each in taken), "a notification, not a request"
            assert len(stage.tap.messages("textDocument/didShowInlineEdit", "client")) == 2
            assert stage.tap.messages("textDocument/didFocus", "client")
            assert not errors(stage)

    def test_beyond_the_first_plane_positions_are_utf_16(self, cache: Path, stage: Stage) -> None:
        with copilot(cache, stage) as editor:
            editor.open("main.py", TEXT)
            editor.type("x")
            until(lambda: editor.ask(PENDING), "an edit")
            editor.keys("\t")
            until(lambda: editor.text() == TEXT.replace("bound‸", "boundx").replace("limit", "bound"))


PENDING = "(and (bound-and-true-p copilot-nes--edit) t)"

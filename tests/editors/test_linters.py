"""The packages for Neovim and Emacs, and the workflows of GitHub, as the linters of those worlds judge them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from editors.lua_types import faults
from editors.programs import Unavailable, emacs, linters, neovim

pytestmark = pytest.mark.editors

ROOT = Path(__file__).parents[2]
EDITORS = ROOT / "editors"
PACKAGE = EDITORS / "emacs" / "palimpsest.el"
# Nothing is compiled to machine code for a program that runs once.
LAZY = ["--eval", "(setq native-comp-jit-compilation nil native-comp-enable-subr-trampolines nil)"]
CHECKDOC = '(progn (require (quote checkdoc)) (checkdoc-file "%s"))'
LUA = [EDITORS / "neovim", EDITORS / "catalogues" / "nvim-lspconfig"]


def said(command: list[str], environment: dict[str, str], folder: Path) -> tuple[int, str]:
    """The exit code, and all that was said."""
    done = subprocess.run(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("folder", LUA, ids=[folder.name for folder in LUA])
@pytest.mark.parametrize(
    ("linter", "arguments"),
    [(linters.luacheck, ["--no-color", "--quiet"]), (linters.stylua, ["--check"])],
    ids=["luacheck", "stylua"],
)
def test_lua(cache, folder, linter, arguments):
    try:
        found = linter(cache)
    except Unavailable as error:
        pytest.skip(f"because {error}")
    configured = {"--check": ["--config-path", ".stylua.toml"]}.get(arguments[0], ["--config", ".luacheckrc"])
    code, text = said(
        [*found.command, *arguments, *configured, str(folder)], dict(found.environment), EDITORS / "neovim"
    )
    assert code == 0, text


@pytest.fixture
def check(cache, monkeypatch):
    """Check the types in a folder against those of the newest Neovim."""
    try:
        program, runtime = linters.emmylua(cache), neovim.get(cache).runtime
    except Unavailable as error:
        pytest.skip(f"because {error}")
    monkeypatch.setenv("VIMRUNTIME", str(runtime))
    return lambda folder: faults(program, folder)


@pytest.fixture
def lua(tmp_path):
    """All Lua of ours in one folder, as what an editor would open, with the settings of the plugin."""
    shutil.copytree(EDITORS / "neovim", tmp_path / "neovim")
    shutil.copy(EDITORS / "catalogues" / "nvim-lspconfig" / "palimpsest.lua", tmp_path / "neovim" / "catalogue.lua")
    return tmp_path / "neovim"


def test_lua_has_types_and_they_are_right(check, lua):
    assert check(lua) == []


def test_a_wrong_type_and_a_missing_one_are_found(check, lua):
    """One of ours, one of Neovim's, and one that is not there."""
    (lua / "lua" / "palimpsest" / "wrong.lua").write_text(
        """local M = {}

require('palimpsest.rewrite').cancel('one')
vim.api.nvim_buf_line_count('one')

function M.bare(one)
  return one
end

return M
"""
    )
    found = check(lua)
    assert [each.rsplit("(")[-1] for each in found] == [*["param-type-mismatch)"] * 2, "incomplete-signature-doc)"]
    assert [each.split(":")[1] for each in found] == ["3", "4", "6"]


@pytest.fixture
def batch(cache, tmp_path):
    """Run Emacs without a screen, with these arguments."""
    try:
        program = emacs.get(cache)
    except Unavailable as error:
        pytest.skip(f"because {error}")
    environment = {**os.environ, **program.environment, "HOME": str(tmp_path)}
    return lambda *arguments: said([*program.command, "-Q", "--batch", *LAZY, *arguments], environment, tmp_path)


def test_emacs_lisp_is_a_package_as_archives_want_it(cache, batch):
    try:
        linter = linters.package_lint(cache)
    except Unavailable as error:
        pytest.skip(f"because {error}")
    strict = ["--eval", "(setq package-lint-batch-fail-on-warnings t)"]
    run = ["-L", str(linter), "-l", "package-lint", *strict, "-f", "package-lint-batch-and-exit", str(PACKAGE)]
    assert batch(*run) == (0, "")


def test_emacs_lisp_is_documented_as_emacs_wants_it(batch):
    assert batch("--eval", CHECKDOC % PACKAGE) == (0, "")


def test_a_package_without_its_headers_is_found(cache, batch, tmp_path):
    try:
        linter = linters.package_lint(cache)
    except Unavailable as error:
        pytest.skip(f"because {error}")
    bare = tmp_path / "palimpsest.el"
    lines = PACKAGE.read_text(encoding="utf-8").splitlines(keepends=True)
    bare.write_text("".join(line for line in lines if not line.startswith(";; URL:")), encoding="utf-8")
    code, text = batch("-L", str(linter), "-l", "package-lint", "-f", "package-lint-batch-and-exit", str(bare))
    assert code == 1
    assert "URL" in text


@pytest.fixture
def actionlint(cache, tmp_path):
    """Check workflows, given as files."""
    try:
        program = linters.actionlint(cache)
    except Unavailable as error:
        pytest.skip(f"because {error}")
    return lambda *files: said([str(program), "-no-color", "-oneline", *map(str, files)], dict(os.environ), tmp_path)


def test_workflows_are_what_actionlint_wants(actionlint):
    assert actionlint(*sorted((ROOT / ".github" / "workflows").glob("*.yml"))) == (0, "")


def test_a_wrong_expression_in_a_workflow_is_found(actionlint, tmp_path):
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (tmp_path / "wrong.yml").write_text(text.replace("matrix.python }}", "matrix.snake }}"), encoding="utf-8")
    code, found = actionlint(tmp_path / "wrong.yml")
    assert code == 1
    assert '"snake"' in found

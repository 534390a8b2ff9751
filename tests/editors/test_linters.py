"""The packages for Neovim and Emacs, as the linters of those worlds judge them; both are asked before a package is listed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from editors.programs import Unavailable, emacs, linters

pytestmark = pytest.mark.editors

EDITORS = Path(__file__).parents[2] / "editors"
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

"""The entries for the catalogues of other projects agree with the package and with our own set-ups."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import palimpsest_engine
from editors.lsp4ij_template import TEMPLATE
from editors.programs import Unavailable, neovim

pytestmark = pytest.mark.editors

ROOT = Path(__file__).parents[2]
CATALOGUES = ROOT / "editors" / "catalogues"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OURS = ROOT / "editors" / "neovim" / "lsp" / "palimpsest.lua"
THEIRS = CATALOGUES / "nvim-lspconfig" / "palimpsest.lua"

# The configuration that Neovim has after it has read `lsp/palimpsest.lua` of the runtime path, as JSON.
READ = "lua io.stdout:write(vim.json.encode(vim.lsp.config.palimpsest))"
# Start the server for a file as a user of the catalogue does, and say what it can do.
ATTACH = """
vim.lsp.enable('palimpsest')
vim.cmd.edit('main.py')
local attached = vim.wait(60000, function() return #vim.lsp.get_clients({ name = 'palimpsest', bufnr = 0 }) > 0 end)
local client = vim.lsp.get_clients({ name = 'palimpsest' })[1]
io.stdout:write(vim.json.encode({
  attached = attached,
  root = client and client.root_dir,
  inline = client and client.server_capabilities.inlineCompletionProvider ~= nil,
  actions = client and client.server_capabilities.codeActionProvider ~= nil,
}))
"""


def test_mason_installs_this_package_and_its_command() -> None:
    package = yaml.safe_load((CATALOGUES / "mason" / "package.yaml").read_text("utf-8"))
    assert package["name"] == PROJECT["name"]
    assert package["source"]["id"] == f"pkg:pypi/{PROJECT['name']}@{palimpsest_engine.__version__}"
    assert package["licenses"] == [PROJECT["license"]]
    assert {name: f"pypi:{name}" for name in PROJECT["scripts"]} == package["bin"]
    assert package["neovim"] == {"lspconfig": THEIRS.stem}
    # The fields that mason's registry requires, and the only ones of our kind of package that it knows.
    required = {"name", "description", "homepage", "licenses", "languages", "categories", "source"}
    assert required <= package.keys() <= required | {"bin", "neovim"}
    assert set(package["categories"]) <= {"Compiler", "DAP", "Formatter", "LSP", "Linter", "Runtime"}


@pytest.fixture(params=["0.11", "0.12"])
def vim(request, cache, tmp_path):
    """Run a command in a bare Neovim whose runtime path has a copy of this file, and return what it wrote."""
    try:
        program = neovim.get(cache, request.param)
    except Unavailable as error:
        pytest.skip(f"because {error}")

    def run(config: Path, *commands: str, path: str = "") -> object:
        folder = tmp_path / "config" / "lsp"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "palimpsest.lua").write_text(config.read_text("utf-8"), "utf-8")
        before = f"set runtimepath^={folder.parent}"
        arguments = [part for each in commands for part in ("-c", each)]
        done = subprocess.run(
            [*program.command, "--clean", "--headless", "--cmd", before, *arguments, "-c", "qall!"],
            env={"VIMRUNTIME": str(program.runtime), "HOME": str(tmp_path), "PATH": path, "PALIMPSEST_ENGINE": "own"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


def test_nvim_lspconfig_has_what_our_plugin_has(vim) -> None:
    assert vim(THEIRS, READ) == vim(OURS, READ)


def test_neovim_starts_the_server_with_it(vim, installed, tmp_path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "main.py").write_text("a = 1\n", "utf-8")
    script = tmp_path / "attach.lua"
    script.write_text(ATTACH, "utf-8")
    answer = vim(THEIRS, f"luafile {script}", path=f"{installed.parent}:/usr/bin:/bin")
    assert answer == {"attached": True, "root": str(tmp_path), "inline": True, "actions": True}


def test_the_page_for_lsp4ij_has_the_command_of_the_template() -> None:
    page = (CATALOGUES / "lsp4ij" / "palimpsest.md").read_text("utf-8")
    template = json.loads((TEMPLATE / "template.json").read_text("utf-8"))
    assert set(template["programArgs"].values()) <= set(re.findall(r"`([^`]+)`", page))
    for name in ("initializationOptions", "settings"):
        block = json.loads((TEMPLATE / f"{name}.json").read_text("utf-8"))
        assert block in [json.loads(each) for each in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]

"""The entries for the catalogues of other projects agree with the package and with our own set-ups."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Callable
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


def _mason() -> dict[str, object]:
    package = yaml.safe_load((CATALOGUES / "mason" / "package.yaml").read_text("utf-8"))
    [licence] = package["licenses"]
    return {"licence": licence, "home": package["homepage"], "version": package["source"]["id"].rsplit("@")[-1]}


def _vscode() -> dict[str, object]:
    package = json.loads((ROOT / "editors" / "vscode" / "package.json").read_text("utf-8"))
    home = package["homepage"]
    assert (package["repository"]["url"], package["bugs"]["url"]) == (f"{home}.git", f"{home}/issues")
    return {"licence": package["license"], "home": home, "version": package["version"]}


def _emacs() -> dict[str, object]:
    text = (ROOT / "editors" / "emacs" / "palimpsest.el").read_text("utf-8")
    headers = dict(re.findall(r"(?m)^;; ([\w-]+): (.+)$", text))
    return {"licence": headers["SPDX-License-Identifier"], "home": headers["URL"], "version": headers["Version"]}


@pytest.mark.parametrize("place", [_mason, _vscode, _emacs], ids=["mason", "vscode", "emacs"])
def test_licence_address_and_version_are_those_of_the_package(place: Callable[[], dict[str, object]]) -> None:
    ours = {
        "licence": PROJECT["license"],
        "home": PROJECT["urls"]["Repository"],
        "version": palimpsest_engine.__version__,
    }
    assert place() == ours


def test_pages_name_no_other_address_of_the_repository() -> None:
    account, name = PROJECT["urls"]["Repository"].split("/")[-2:]
    pages = [*CATALOGUES.rglob("*.*"), *(ROOT / "editors").glob("*/README.md"), ROOT / "editors" / "README.md"]
    named = re.compile(rf"github\.com/([\w-]+)/{name}\b|repo \"([\w-]+)/{name}\"")
    found = [(page.name, "".join(each)) for page in pages for each in named.findall(page.read_text("utf-8"))]
    assert len(found) > 3
    assert [each for each in found if each[1] != account] == []


def test_every_catalogue_names_the_language_of_the_embedded_model() -> None:
    """One that names others would start a server that has nothing to offer there."""
    package = yaml.safe_load((CATALOGUES / "mason" / "package.yaml").read_text("utf-8"))
    readme = (ROOT / "editors" / "README.md").read_text("utf-8")
    helix = tomllib.loads("".join(re.findall(r"```toml\n(.*?)```", _part(readme, "Helix"), re.DOTALL)))
    [zed] = [json.loads(each) for each in re.findall(r"```json\n(.*?)```", _part(readme, "Zed"), re.DOTALL)]
    page = (CATALOGUES / "lsp4ij" / "palimpsest.md").read_text("utf-8")
    template = json.loads((TEMPLATE / "template.json").read_text("utf-8"))
    languages = [each["languageId"] for each in template["fileTypeMappings"]]
    found = {
        "mason": [each.lower() for each in package["languages"]],
        "nvim-lspconfig": re.findall(r"'(\w+)'", _filetypes(THEIRS)),
        "our Neovim": re.findall(r"'(\w+)'", _filetypes(OURS)),
        "Helix": [each["name"] for each in helix["language"]],
        "Zed": re.findall(r"language=(\w+)", zed["edit_predictions"]["open_ai_compatible_api"]["api_url"]),
        "LSP4IJ": re.findall(r"language id `(\w+)`", page),
        "the template": sorted(set(languages)),
    }
    assert {key: each for key, each in found.items() if each != ["python"]} == {}


def test_helix_and_neovim_start_the_command_of_the_package() -> None:
    readme = (ROOT / "editors" / "README.md").read_text("utf-8")
    helix = tomllib.loads("".join(re.findall(r"```toml\n(.*?)```", _part(readme, "Helix"), re.DOTALL)))
    server = helix["language-server"]["palimpsest"]
    assert server["command"] in PROJECT["scripts"]
    assert f"cmd = {{ '{server['command']}', '{server['args'][0]}' }}" in THEIRS.read_text("utf-8")
    assert helix["language"][0]["language-servers"] == ["palimpsest"]


def _part(page: str, heading: str) -> str:
    return page.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def _filetypes(config: Path) -> str:
    [found] = re.findall(r"filetypes = \{(.*?)\}", config.read_text("utf-8"))
    return str(found)


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

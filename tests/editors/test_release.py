"""The packages that `make dist` has built, installed as by their users, with the embedded model: `make release-check`.

Nothing of the source is on a path: the program comes from a package index, the extension from its package, and the plugins
from a bare repository with what is committed.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from editors import emacs, neovim, vscode
from editors.canvas_browser import Browsing
from editors.editor import CURSOR, Server, until
from editors.helix import Helix
from editors.programs import Unavailable
from editors.released import ROOT, built, index, install, outside, serves
from editors.test_canvas_real import SLOW_MS, running
from editors.test_neovim_packed import CLEAN, PACKED, SOURCE
from editors.vscode import VSCode

pytestmark = [pytest.mark.release, pytest.mark.timeout(600)]

# The embedded model is sure of what comes here, so that it is offered to somebody who changed no setting.
TEXT = """class Account:
    def __init__(self, owner, balance):
        self.owner = owner
        self.balance =‸

    def deposit(self, amount):
        self.balance += amount
"""
README = (ROOT / "editors" / "README.md").read_text("utf-8")
INSTALLED = "/code/palimpsest/editors/emacs/palimpsest.el"
SECONDS = 120.0  # to load the model and to fill, on a machine that is busy


@pytest.fixture(scope="module")
def program(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the installed `palimpsest`, which is on the path, while all else is a new user's. cache: found before that."""
    folder = tmp_path_factory.mktemp("released")
    with index(folder / "index") as address:
        program = install(address, folder / "venv")
    environment = outside()
    home = folder / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for key in os.environ.keys() - environment.keys() | {each for each in os.environ if each.startswith("XDG_")}:
            patch.delenv(key)
        patch.setenv("HOME", str(home))
        patch.setenv("PALIMPSEST_ENGINE", environment["PALIMPSEST_ENGINE"])
        patch.setenv("PATH", os.pathsep.join([str(program.parent), environment["PATH"]]))
        yield program
    shutil.rmtree(folder / "venv")  # more than a gigabyte, which pytest would keep for three runs


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with what is committed here, and the tag of a release."""
    bare = tmp_path_factory.mktemp("repository") / "palimpsest.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", f"file://{ROOT}", bare], check=True)
    subprocess.run(["git", "-C", bare, "tag", "--force", "v0.1.0"], check=True, capture_output=True)
    return bare


def suggested(there: Callable[[], bool], ask: Callable[[], None]) -> None:
    """Ask until it is there: an answer that could not wait for the model is empty."""

    def shown() -> bool:
        ask()
        with contextlib.suppress(AssertionError):
            return until(there, "a suggestion", seconds=5)
        return False

    until(shown, "a suggestion of the model", SECONDS)


def said(*command: str | Path) -> str:
    """Return what a command that does not fail prints."""
    done = subprocess.run(command, cwd=Path.home(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_program_is_installed_from_the_index(program: Path) -> None:
    version = built("*.whl").name.split("-")[1]
    assert said("palimpsest", "--version") == f"palimpsest, version {version}\n"
    where = said(program.parent / "python", "-c", "import palimpsest_engine as it; print(it.__file__)")
    assert Path(where).is_relative_to(program.parents[1])


def test_the_doctor_finds_nothing_wrong(program: Path) -> None:
    report = said("palimpsest", "doctor")
    assert "embedded" in report


def test_the_list_of_parts_has_a_licence_for_each(program: Path) -> None:
    parts = json.loads(built("*.cdx.json").read_text("utf-8"))["components"]
    page = (ROOT / "docs" / "licences.md").read_text("utf-8")
    read = dict(re.findall(r"(?m)^\| (\S+) \| (.+?) \| .*\|$", page))
    names = {re.sub("[-_.]+", "-", part["name"]).lower(): part["licenses"] for part in parts}
    for name, [licence] in names.items():
        assert licence.get("expression") or licence["license"]["id"] == read[name]
    wanted = said(
        program.parent / "python",
        "-c",
        "from importlib.metadata import requires as r; print(*r('palimpsest-ls'), sep='\\n')",
    )
    assert {re.split("[^a-z0-9-]", line)[0] for line in wanted.splitlines() if "extra ==" not in line} <= names.keys()


@pytest.fixture(scope="module")
def workbench(cache: Path, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VSCode]:
    """VS Code with the extension out of dist/, and no setting of ours."""
    folder = tmp_path_factory.mktemp("workbench")
    try:
        with vscode.launched(cache, folder, {}, extension=built("*.vsix")) as editor:
            yield editor
    except Unavailable as error:
        pytest.skip(f"because {error}")


class TestVSCode:
    def test_a_suggestion_is_taken(self, workbench: VSCode, program: Path, screenshots: Path) -> None:
        workbench.show("account.py", TEXT)
        workbench.wait_for_server()
        assert serves(program)
        workbench.type(" ")
        until(workbench.ghost, "a suggestion of the model", SECONDS)
        until(lambda: "Palimpsest: ready" in workbench.reason(), "it is no draft, which may become longer", SECONDS)
        ghost = workbench.ghost()
        workbench.screenshot(screenshots / "release-vscode-ghost.png")
        workbench.press("accept")
        until(lambda: workbench.text() == TEXT.replace(CURSOR, f" {ghost}"), "it is accepted")
        ast.parse(workbench.text())
        assert workbench.messages() == []

    def test_the_doctor_is_shown(self, workbench: VSCode, program: Path, screenshots: Path) -> None:
        workbench.screen.do(lambda page: page.keyboard.press("F1"))
        palette = "!!document.activeElement?.closest('.quick-input-widget')"
        until(lambda: workbench.screen.evaluate(palette), "the palette, and not the editor, has what is typed")
        workbench.screen.do(lambda page: page.keyboard.type("Palimpsest: Check This Machine"))
        row = ".quick-input-list .monaco-list-row"
        until(lambda: "Doctor" in workbench.screen.evaluate(f"document.querySelector('{row}')?.innerText ?? ''"))
        workbench.press("enter")
        panel = "document.querySelector(\"[id='workbench.parts.panel'] .view-lines\")?.innerText ?? ''"
        until(lambda: "all\u00a0is\u00a0well" in workbench.screen.evaluate(panel), "the verdict is in sight", SECONDS)
        workbench.screenshot(screenshots / "release-vscode-doctor.png")
        report = workbench.probe.run(
            "return vscode.workspace.textDocuments.map((each) => each.getText()).find((each) => each.includes('doctor'))"
        )
        assert f"> {program} doctor\n" in report
        workbench.command("workbench.action.closePanel")
        workbench.command("workbench.action.focusActiveEditorGroup")

    def test_the_canvas_is_opened(self, workbench: VSCode, screenshots: Path) -> None:
        def opened(page: vscode.Page) -> str:
            with page.expect_popup(timeout=SECONDS * 1000) as popup:
                page.keyboard.press("Control+Alt+c")
            # The window's server shows it under a path of its own. VS Code on a desktop opens the address itself.
            found = re.search(r"/proxy/(\d+)/", popup.value.url)
            assert found is not None
            popup.value.goto(f"http://127.0.0.1:{found[1]}/")
            popup.value.wait_for_selector(".top")
            popup.value.screenshot(path=screenshots / "release-vscode-canvas.png")
            text = popup.value.inner_text("body")
            popup.value.close()
            return text

        assert "account.py" in workbench.screen.do(opened)


def test_neovim_installs_the_plugin_from_a_repository(
    cache: Path, program: Path, repository: Path, tmp_path: Path, screenshots: Path
) -> None:
    lines = PACKED.replace(f"'{SOURCE}'", f"'file://{repository}', version = vim.version.range('*')")
    try:
        with neovim.start(cache, Server(Path("palimpsest"), {}), tmp_path, before=CLEAN + lines, plugin=None) as editor:
            editor.open("account.py", TEXT)
            assert serves(program)
            editor.type(" ")
            finished = "return require('palimpsest').visible()"  # not a draft, which cannot be taken yet
            ghost = until(lambda: editor.lua(finished) and editor.ghost(), "a suggestion of the model", SECONDS)
            assert ghost.splitlines()[0] in "\n".join(editor.draw().lines())
            editor.screenshot(screenshots / "release-neovim-ghost.svg")
            editor.press("accept")
            until(lambda: editor.text() == TEXT.replace(CURSOR, f" {ghost}"), "it is accepted")
            ast.parse(editor.text())
            editor.keys("<Esc>:checkhealth palimpsest<CR>")
            until(lambda: f"({program})" in editor.text(), "the health of the plugin", SECONDS)
            editor.draw()
            editor.screenshot(screenshots / "release-neovim-health.svg")
            assert not re.findall("ERROR|WARNING", editor.text()), editor.text()
    except Unavailable as error:
        pytest.skip(f"because {error}")


def test_emacs_installs_the_package_from_a_file(
    cache: Path, program: Path, repository: Path, tmp_path: Path, screenshots: Path
) -> None:
    [block] = (each for each in re.findall(r"```elisp\n(.*?)```", README, re.S) if "package-install-file" in each)
    package = tmp_path / "palimpsest.el"
    package.write_text(said("git", "-C", repository, "show", "v0.1.0:editors/emacs/palimpsest.el"), "utf-8")
    assert INSTALLED in block
    # A start without -Q has done that before it reads its init file.
    lines = "(package-initialize)\n" + block.replace(INSTALLED, str(package))
    try:
        # The driver's places for what a user does not have to say here.
        with emacs.start(
            cache, Server(Path("palimpsest"), {}), tmp_path, lines + ";; {command} {options} {package}\n"
        ) as editor:
            editor.open("account.py", TEXT.replace(CURSOR, f" {CURSOR}"))
            assert serves(program)
            suggested(lambda: bool(editor.ghost()), lambda: editor.keys("\x7f "))
            ghost = editor.ghost()
            until(lambda: ghost.splitlines()[0] in editor.terminal.text(), "it is on the screen")
            editor.screenshot(screenshots / "release-emacs-ghost")
            editor.press("accept")
            until(lambda: editor.text() == TEXT.replace(CURSOR, f" {ghost}"), "it is accepted")
            ast.parse(editor.text())
            loaded = editor.ask("(symbol-file 'palimpsest-preview-mode)")
            assert Path(loaded).is_relative_to(tmp_path / ".emacs.d" / "elpa")
            assert editor.messages() == []
    except Unavailable as error:
        pytest.skip(f"because {error}")


def test_helix_starts_the_program(cache: Path, program: Path, tmp_path: Path, screenshots: Path) -> None:
    before = TEXT.replace(CURSOR, " ")
    try:
        helix = Helix(cache, tmp_path, Path("palimpsest"), before)
    except Unavailable as error:
        pytest.skip(f"because {error}")
    with contextlib.closing(helix.terminal):
        helix.keys("4GA")
        entry = re.compile(r"\S +text *$", re.MULTILINE)
        suggested(lambda: bool(entry.search(helix.terminal.text())), lambda: helix.keys("\x18"))
        assert serves(program)
        (screenshots / "release-helix-list.svg").write_text(helix.terminal.svg(), "utf-8")
        helix.keys("\t\r")
        helix.leave()
        until(lambda: helix.saved() not in ("", before), "it is taken")
        ast.parse(helix.saved())


@pytest.mark.asyncio(loop_scope="session")
async def test_the_canvas_of_the_command_line(
    program: Path, opened: Browsing, tmp_path: Path, screenshots: Path
) -> None:
    with running(program, tmp_path) as (_, address):
        page = await opened.open(address)
        await page.get_by_role("button", name="Fill", exact=True).click()
        await expect(page.locator(".result")).to_contain_text("Finished", timeout=SLOW_MS)
        await page.screenshot(path=screenshots / "release-canvas.png")
        assert await page.locator(".result pre").count()

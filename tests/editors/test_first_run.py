"""VS Code with the extension and nothing else: from a clone, or from a program somewhere, to the first suggestion."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from editors import vscode
from editors.editor import CURSOR, until
from editors.programs import Unavailable
from editors.stage import Stage
from editors.vscode import VSCode

pytestmark = pytest.mark.editors

CODE = f"def add(a, b):\n    return{CURSOR}\n"
DIALOG = "The program palimpsest"
INSTALL = "Install the Palimpsest server"
Launch = Callable[..., AbstractContextManager[VSCode]]


@pytest.fixture
def stage(tmp_path: Path, installed: Path) -> Stage:
    """The stage of the server, which no setting names."""
    stage = Stage(tmp_path, installed)
    stage.play({"return ": "a + b"})
    stage.mark()
    return stage


@pytest.fixture
def launch(tmp_path: Path, cache: Path, screenshots: Path) -> Launch:
    """Return what starts the workbench of somebody who has no server on the path."""

    @contextmanager
    def launched(*path: Path) -> Iterator[VSCode]:
        usual = [each for each in os.environ["PATH"].split(os.pathsep) if not Path(each, "palimpsest").exists()]
        home = tmp_path / "somebody"
        home.mkdir()
        variables = {"HOME": str(home), "PATH": os.pathsep.join([*map(str, path), *usual]), "UV_TOOL_BIN_DIR": ""}
        try:
            with vscode.launched(cache, tmp_path, {}, variables) as editor:
                try:
                    yield editor
                except BaseException:
                    editor.screenshot(screenshots / "failed-first-run.png")
                    raise
        except Unavailable as error:
            pytest.skip(f"because {error}")

    return launched


def program(folder: Path, stage: Stage) -> Path:
    """Put a program there that is the server."""
    folder.mkdir(parents=True)
    file = folder / "palimpsest"
    file.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo palimpsest, version 0 && exit\nexec {stage.server.command} "$@"\n'
    )
    file.chmod(0o755)
    return file


def suggests(editor: VSCode) -> None:
    """A suggestion comes, the status is right, and no message is left on the screen."""
    editor.wait_for_server()
    editor.type(" ")
    until(lambda: editor.ghost() == "a + b", "the first suggestion")
    until(lambda: not editor.toasts(), "what was asked is gone from the screen")
    until(lambda: editor.reason() == "Palimpsest: ready; scripted on none", "the status says that all is well")


def path_setting(editor: VSCode) -> object:
    """The user's setting."""
    settings = editor.project.parent / "profile" / "Machine" / "settings.json"
    return json.loads(settings.read_text("utf-8")).get("palimpsest.server.path")


def test_the_environment_of_a_clone_is_used_after_a_yes(launch: Launch, stage: Stage, screenshots: Path) -> None:
    there = program(stage.folder / "project" / ".venv" / "bin", stage)
    with launch() as editor:
        editor.show("first.py", CODE)
        [asked] = until(editor.toasts, "the question")
        assert str(there) in asked
        editor.screenshot(screenshots / "vscode-first-run.png")
        assert "neither on the PATH" in editor.reason()
        assert not stage.tap.starts(), "nothing of the folder is started before that"
        editor.answer("Use .venv/bin/palimpsest of this folder")
        suggests(editor)
        assert path_setting(editor) == str(there)
        assert stage.tap.starts() == 1


def test_a_program_is_chosen(launch: Launch, stage: Stage) -> None:
    there = program(stage.folder / "elsewhere", stage)
    wrong = there.with_name("other")
    wrong.write_text("#!/bin/sh\necho another program\n")
    wrong.chmod(0o755)
    with launch() as editor:
        editor.show("first.py", CODE)
        until(editor.toasts, "the question")
        editor.answer("Choose the Program…")
        editor.pick(DIALOG, str(wrong))
        until(lambda: any("is not the program palimpsest" in each for each in editor.toasts()), "it is refused")
        editor.answer("Choose the Program…")
        editor.pick(DIALOG, str(there))
        suggests(editor)
        assert path_setting(editor) == str(there)


def test_the_question_goes_when_there_is_a_server_by_another_way(launch: Launch, stage: Stage) -> None:
    there = program(stage.folder / "elsewhere", stage)
    with launch() as editor:
        editor.show("first.py", CODE)
        until(editor.toasts, "the question")
        editor.configure({"palimpsest.server.path": str(there)})
        suggests(editor)


def test_a_server_on_the_path_of_the_workbench_is_found(launch: Launch, stage: Stage) -> None:
    with launch(program(stage.folder / "tools", stage).parent) as editor:
        editor.show("first.py", CODE)
        suggests(editor)


def test_it_is_installed_where_there_is_only_python(launch: Launch, stage: Stage, screenshots: Path) -> None:
    wheel = wheel_of(program(stage.folder / "built", stage), stage.folder)
    with launch() as editor:
        editor.show("first.py", CODE)
        until(editor.toasts, "the question")
        editor.answer("Install…")
        editor.pick(INSTALL, "wheel")
        editor.pick("The wheel file", str(wheel))
        editor.pick(INSTALL, "venv and pip")
        until(lambda: any("is installed" in each for each in editor.messages()), "it is installed", 240)
        editor.screenshot(screenshots / "vscode-installed.png")
        assert any("go to a blank line" in each for each in editor.messages()), "what comes next is said"
        editor.show("second.py", CODE)
        editor.wait_for_server()
        editor.type(" ")
        until(lambda: editor.ghost() == "a + b", "the first suggestion")


def wheel_of(script: Path, folder: Path) -> Path:
    """Pack a program as a wheel."""
    wheel = folder / "palimpsest_ls-0.0.1-py3-none-any.whl"
    info = "palimpsest_ls-0.0.1.dist-info"
    files = {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: palimpsest-ls\nVersion: 0.0.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "palimpsest_ls-0.0.1.data/scripts/palimpsest": script.read_text(),
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, text)
    return wheel

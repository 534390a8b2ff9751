"""Real editors on the installed server, one for all tests of an editor; what a failing test saw is kept."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from editors.editor import Editor
from editors.programs import Unavailable, canvas_web, chromium, default_cache, node
from editors.stage import Stage

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from editors.canvas_browser import Browsing

# Their drivers come with the extra `editors`; without it the other tests are to run all the same.
collect_ignore_glob = [] if all(map(find_spec, ("playwright", "pynvim", "pyte"))) else ["test_*.py"]
ROOT = Path(__file__).parents[2]
EDITORS = ("vscode", "neovim", "neovim_older", "emacs", "lsp4ij")


@pytest.fixture(scope="session")
def cache() -> Path:
    """Return the folder that keeps the editors themselves between runs."""
    return default_cache()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the built wheel in it, away from the source; its `palimpsest` is beside it.

    Dependencies are those of the environment that runs the tests.
    """
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    [wheel] = folder.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    site = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    (Path(site.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = subprocess.check_output([python, "-c", "import palimpsest_server as p; print(p.__file__)"], text=True)
    assert where.startswith(str(folder)), f"the server on trial is the source: {where}"
    return python


@pytest.fixture(scope="session", params=EDITORS)
def staged(
    request: pytest.FixtureRequest, cache: Path, installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Editor, Stage]]:
    """An editor and what is behind it. In a test of one editor only: `parametrize("staged", ["emacs"], indirect=True)`."""
    folder = tmp_path_factory.mktemp(request.param)
    stage = Stage(folder, installed)
    stage.play({})
    home = folder / "home"
    home.mkdir()
    try:
        driver = importlib.import_module(f"editors.{request.param}")
        with driver.start(cache, stage.server, home) as editor:
            yield editor, stage
    except Unavailable as error:
        pytest.skip(f"because {error}")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer, for pytest-timeout, which fires once a test, may have done so before."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def editor(staged: tuple[Editor, Stage], request: pytest.FixtureRequest, screenshots: Path) -> Iterator[Editor]:
    """The editor; a picture of it and all messages are kept if the test fails."""
    the_editor, stage = staged
    stage.play({})
    stage.mark()
    yield the_editor
    if request.node.stash.get(_FAILED, False):
        name = re.sub(r"\W+", "-", request.node.name).strip("-")
        messages = [
            f"{each.at:.3f} {each.who} {json.dumps(each.body, ensure_ascii=False)}" for each in stage.tap.messages()
        ]
        (screenshots / f"failed-{name}.log").write_text("\n".join(messages), "utf-8")
        with within(60):  # an editor that does not answer is why a test fails
            the_editor.screenshot(screenshots / f"failed-{name}.png")


@pytest.fixture
def stage(staged: tuple[Editor, Stage]) -> Stage:
    """Return the stage of the editor's server: its script and its log."""
    return staged[1]


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Return the folder for pictures: PALIMPSEST_SCREENSHOTS, or one that git ignores."""
    folder = Path(os.environ.get("PALIMPSEST_SCREENSHOTS") or ROOT / "build" / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def web(cache: Path) -> Path:
    """Return the sources of the canvas page, with the packages that build and check it."""
    try:
        return canvas_web.installed(node.get(cache))
    except Unavailable as error:
        pytest.skip(f"because {error}")


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser(cache: Path) -> AsyncIterator[Browser]:
    """Yield a browser for the pages of the canvas."""
    from editors.canvas_browser import browsing

    try:
        executable = chromium.get(cache).executable
    except Unavailable as error:
        pytest.skip(f"because {error}")
    async with browsing(executable) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def opened(browser: Browser) -> AsyncIterator[Browsing]:
    """Yield what opens pages; fail if a script of one failed, or broke the page's policy."""
    from editors.canvas_browser import Browsing

    pages = Browsing(browser)
    yield pages
    await pages.close()
    assert pages.errors == []


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let fixtures know that their test failed."""
    report = yield
    if report.when == "call" and report.failed:
        item.stash[_FAILED] = True
    return report

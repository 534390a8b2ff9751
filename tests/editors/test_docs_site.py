"""The documentation site as it is published: several versions beside each other, in a real browser."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

pytestmark = pytest.mark.editors

ROOT = Path(__file__).parents[2]
SOURCES = ["docs", "mkdocs.yml", "release", "*.md", "editors/*.md"]
VERSIONS = ["0.9", "0.10", "0.8"]  # in this order; the second one is the newest


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


@dataclass(frozen=True)
class Published:
    """address: of the site, with a slash. folder: its files."""

    address: str
    folder: Path


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody, and return what it printed."""
    who = ["-c", "user.name=A", "-c", "user.email=a@localhost"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """Publish this tree as three versions, from a repository of its own, and serve its branch."""
    pytest.importorskip("mike", reason="needs the extra docs")
    clone, folder = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("served") / "site"
    for name in git(ROOT, "ls-files", "-z", "-co", "--exclude-standard", "--", *SOURCES).split("\0"):
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    git(clone, "init", "--quiet")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--message", "All")
    git(clone, "config", "user.name", "A")
    git(clone, "config", "user.email", "a@localhost")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    address = f"http://127.0.0.1:{server.server_port}/"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITE_URL", address)
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        for version in VERSIONS:
            subprocess.run([sys.executable, "release/docs.py", version], cwd=clone, check=True, capture_output=True)
    git(clone, "worktree", "add", "--quiet", str(folder), "gh-pages")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Published(address, folder)
    finally:
        server.shutdown()
        server.server_close()


async def shown(page: Page) -> list[str]:
    """Return the versions that the selector offers."""
    await expect(page.locator(".md-version__item").first).to_be_attached()
    texts = await page.locator(".md-version__item").all_inner_texts()
    return [each.strip() for each in texts]


def test_only_the_newest_version_is_the_latest(published: Published) -> None:
    assert (published.folder / "latest").resolve().name == "0.10"
    assert "latest/" in (published.folder / "index.html").read_text("utf-8")


def test_a_page_names_its_place_in_the_newest_version(published: Published) -> None:
    page = (published.folder / "0.8" / "canvas" / "index.html").read_text("utf-8")
    assert re.findall(r'rel="canonical" href="([^"]+)"', page) == [f"{published.address}latest/canvas/"]


@pytest.mark.parametrize("version", ["", "latest", "v 1"])
def test_no_version_and_a_wrong_one_are_refused(version: str) -> None:
    command = [sys.executable, "release/docs.py", *([version] if version else [])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "version" in done.stderr


@pytest.mark.asyncio(loop_scope="session")
async def test_a_reader_goes_from_version_to_version_and_searches(published: Published, browser: Browser) -> None:
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    requests: list[str] = []
    try:
        page = await context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        await page.goto(published.address)
        await expect(page).to_have_url(f"{published.address}latest/")
        await page.goto(f"{published.address}latest/canvas/")
        assert await shown(page) == ["0.10", "0.9", "0.8"]
        await expect(page.locator("[data-md-component=outdated]")).to_be_hidden()
        await page.locator(".md-version__current").focus()
        await page.locator(".md-version__link", has_text="0.8").click()
        await expect(page).to_have_url(re.compile(r"/0\.8/canvas/$"))
        await expect(page.locator("[data-md-component=outdated]")).to_be_visible()
        await expect(page.locator("h1")).to_contain_text("The canvas")
        assert await shown(page), "the page's script, which listens to keys, is there"
        await page.locator(".md-search__input").click()
        await page.locator(".md-search__input").press_sequentially("eagerness")
        found = page.locator(".md-search-result__link[href*='/0.8/settings/']").first
        await found.click()
        await expect(page).to_have_url(re.compile(r"/0\.8/settings/"))
    finally:
        await context.close()
    assert [each for each in requests if not each.startswith((published.address, "data:", "blob:"))] == []

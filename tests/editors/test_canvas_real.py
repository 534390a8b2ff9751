"""The canvas as it is installed: the page, its server and the embedded model, in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.async_api import expect

from editors.canvas_browser import Browsing
from editors.editor import until

pytestmark = [pytest.mark.editors, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
FILE = Path(__file__).parents[2] / "fixtures" / "demo" / "inventory.py"
SLOW_MS = 60_000  # to load the model and to fill, on a machine that is busy


@contextmanager
def running(python: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Yield the process of `palimpsest canvas` and the address it printed."""
    command = [python.parent / "palimpsest", "canvas", FILE, "--no-open", "--checkpoint", "embedded"]
    environment = {**os.environ, "PALIMPSEST_ENGINE": "own", "PYTHONPATH": ""}
    log = folder / "canvas.log"
    with log.open("wb") as into:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=into, cwd=folder)
    try:

        def address() -> str:
            assert process.poll() is None, log.read_text("utf-8")
            found = re.search(r"http://\S+", log.read_text("utf-8"))
            return found[0] if found else ""

        yield process, until(address, "palimpsest canvas printed an address", 60)
    finally:
        process.kill()
        process.wait()


async def test_a_fill_is_watched_changed_and_kept(
    opened: Browsing, installed: Path, tmp_path: Path, screenshots: Path
) -> None:
    with running(installed, tmp_path) as (process, address):
        page = await opened.open(address)
        assert "token" not in page.url
        fill = page.get_by_role("button", name="Fill", exact=True)
        await page.get_by_label("left to right").check()
        await fill.click()
        await expect(page.locator(".result")).to_contain_text("Finished", timeout=SLOW_MS)
        await expect(fill).to_be_enabled(timeout=SLOW_MS)
        await expect(page.locator(".beside .token").first).to_be_visible()
        # The best candidate that was denoised, at its first step.
        denoised = page.locator(".lanes label", has_text="denoised").first
        await denoised.click()
        await page.get_by_role("button", name="To the beginning").click()
        await page.get_by_role("button", name="One step forward").click()
        await page.locator(".main .token").first.click()
        await page.locator(".panel").get_by_role("button", name="Renoise").click()
        await page.locator(".main .token").nth(1).click()
        await page.get_by_label("Type over it").fill("return")
        await page.get_by_role("button", name="Replace").click()
        await expect(page.locator(".draft")).to_contain_text("2 changes in step 1")
        await page.screenshot(path=screenshots / "canvas-real.png")
        await page.get_by_role("button", name="Let the rest settle").click()
        await expect(page.locator(".runs li")).to_have_count(2)
        # It may be in the list before the page has the answer to what it asked for; until then the first one is drawn.
        await expect(page.locator(".runs button").first).to_have_attribute("aria-pressed", "true")
        await expect(page.locator(".result")).to_contain_text("Finished", timeout=SLOW_MS)
        assert "return" in await page.locator(".main .hole").inner_text()
        # What was made can be kept, and needs no server.
        await expect(fill).to_be_enabled(timeout=SLOW_MS)
        async with page.expect_download() as download:
            await page.get_by_text("Save as a page").click()
        kept = tmp_path / "kept.html"
        await (await download.value).save_as(kept)
        made = await page.locator(".result pre").all_inner_texts()
        process.kill()
        await expect(page.get_by_role("alert")).to_contain_text("The server has gone")
    replay = await opened.open(kept.as_uri())
    assert await replay.locator(".result pre").all_inner_texts() == made
    assert [url for url in opened.requests if url.startswith("http") and "127.0.0.1" not in url] == []

"""Pages of the canvas in a real browser, and what to ask of any of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

HEIGHT = 900
# A guard against waiting for ever: what is expected comes at once, but for a machine that is busy.
_PATIENCE_MS = 30_000
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@asynccontextmanager
async def browsing(executable: Path) -> AsyncIterator[Browser]:
    """Yield a browser that runs meanwhile."""
    expect.set_options(timeout=_PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, chromium_sandbox=False, args=["--disable-gpu"]
        )
        yield browser
        await browser.close()


class Browsing:
    """The pages of one test, each with a profile of its own. requests: of all of them. errors: of their scripts."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.requests: list[str] = []
        self.errors: list[str] = []

    async def open(
        self, address: str, width: int = 1280, motion: str = "reduce", script: str = "", **options: Any
    ) -> Page:
        """Return a page once something is drawn in it. script: runs in it before its own. options: of the profile."""
        size = {"width": width, "height": HEIGHT}
        context = await self._browser.new_context(viewport=size, reduced_motion=motion, **options)
        self._contexts.append(context)
        page = await context.new_page()
        await page.add_init_script(script)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self._hear(said.text))
        await page.goto(address)
        await expect(page.locator(".top")).to_be_visible()
        return page

    async def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            await context.close()

    def _hear(self, said: str) -> None:
        if "Content Security Policy" in said:
            self.errors.append(said)


async def code_of(page: Page, pane: str = "main") -> str:
    """Return the text of a pane, as it would be copied."""
    text: str = await page.locator(f".{pane} .code").evaluate("each => each.textContent")
    return text


async def step_of(page: Page) -> str:
    """Return which step is drawn, as the page says it."""
    return re.sub(",.*", "", await page.locator(".clock").inner_text())


async def at_step(page: Page, step: str) -> None:
    """Wait until this step is drawn."""
    await expect(page.locator(".clock")).to_have_text(re.compile(rf"{re.escape(step)}(,|$)"))


async def back_to(page: Page, step: str) -> None:
    """Go back step by step, each once it is drawn."""
    while await step_of(page) != step:
        before = await page.locator(".clock").inner_text()
        await page.get_by_role("button", name="One step back").click()
        await expect(page.locator(".clock")).not_to_have_text(before)


async def check_access(page: Page, web: Path) -> None:
    """Fail with all that axe finds wrong with a page that is loaded. web: the folder that has axe among its packages."""
    await expect(page.locator("main")).to_be_visible()
    await page.evaluate((web / "node_modules/axe-core/axe.min.js").read_text("utf-8"))
    found = await page.evaluate("rules => axe.run(document, {runOnly: rules})", _RULES)
    wrong = [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found["violations"]]
    assert not wrong, wrong


async def check_width(page: Page) -> None:
    """Fail if something sticks out of the page at its side."""
    sizes = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert sizes[0] <= sizes[1], sizes

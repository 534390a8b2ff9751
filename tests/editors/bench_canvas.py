"""From the key to the first painted step on the canvas page, with the embedded checkpoint, in a real browser.

python tests/editors/bench_canvas.py [TIMES]

Enter is pressed on *Fill* three times each time that the page is loaded; the model is loaded before. The page's own
clock tells when a frame was painted with a step of the new fill in it. The figures are written to
build/bench-canvas.json, too.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from playwright.async_api import Page, expect

from editors.canvas_browser import Browsing, browsing
from editors.programs import chromium, default_cache
from editors.test_canvas_real import SLOW_MS, running

FILLS = 3
REPORT = Path(__file__).parents[2] / "build" / "bench-canvas.json"
# What is painted is what a frame after the change finds: the second callback runs once the first one's frame is out.
WATCH = """
() => {
  const { dataset } = document.documentElement;
  let key = 0;
  let fill = 0;
  addEventListener("keydown", () => {
    delete dataset.painted;
    key = performance.now();
    fill = document.querySelectorAll(".runs li").length + 1;
  }, true);
  new MutationObserver(() => {
    const shown = document.querySelector(".runs button[aria-pressed=true]")?.textContent ?? "";
    const step = document.querySelector(".clock")?.textContent ?? "";
    if (key && shown.startsWith(`${fill}.`) && step.startsWith("Step")) {
      const begun = key;
      key = 0;
      requestAnimationFrame(() => requestAnimationFrame((now) => (dataset.painted = now - begun)));
    }
  }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}
"""


async def fill(page: Page) -> float:
    """Return the milliseconds from Enter to the first painted step of a new fill."""
    button = page.get_by_role("button", name="Fill", exact=True)
    await button.focus()
    await page.keyboard.press("Enter")
    painted = page.locator("html[data-painted]")
    await expect(painted).to_have_count(1, timeout=SLOW_MS)
    taken = float(await painted.get_attribute("data-painted") or 0)
    await expect(page.locator(".result")).to_contain_text("Finished", timeout=SLOW_MS)
    await expect(button).to_be_enabled(timeout=SLOW_MS)
    return taken


async def measure(times: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of the first fill each time that the page is loaded, and of all later ones."""
    first, later = list[float](), list[float]()
    async with browsing(chromium.get(default_cache()).executable) as browser:
        with tempfile.TemporaryDirectory() as folder, running(Path(sys.executable), Path(folder)) as (_, address):
            page = await Browsing(browser).open(address)
            for number in range(times + 1):
                await page.reload()
                await expect(page.get_by_role("button", name="Fill", exact=True)).to_be_enabled(timeout=SLOW_MS)
                await page.evaluate(WATCH)
                taken = [await fill(page) for _ in range(FILLS)]
                if number:  # the first one loads the model
                    first.append(taken[0])
                    later += taken[1:]
    return first, later


def main() -> None:
    """Measure on a page that is loaded so many times, and print."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    first, later = asyncio.run(measure(times))
    report = {"first fill of a page": first, "later fills": later}
    for name, taken in report.items():
        low, high = min(taken), max(taken)
        print(f"{name:22} median {statistics.median(taken):4.0f} ms   {low:.0f} to {high:.0f} ms   {len(taken)} fills")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

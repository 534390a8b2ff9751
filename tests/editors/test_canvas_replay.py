"""The canvas page in a real browser as a replay: it draws a recording, and asks nobody anything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from editors import canvas_recording
from editors.canvas_browser import Browsing, at_step, check_access, check_width, code_of, step_of
from editors.canvas_recording import OLD, PREFIX, SUFFIX, TEXT
from editors.programs import canvas_web, node
from palimpsest_canvas.page import STATIC, replay

pytestmark = pytest.mark.editors
MOST_BYTES = 80_000
MOST_MS = 50

# Notes the time between two frames of the screen, and the tasks that kept the page from drawing.
WATCH = """
window.watched = {frames: [], tasks: []};
new PerformanceObserver(list => {
    for (const task of list.getEntries()) window.watched.tasks.push(task.duration);
}).observe({entryTypes: ['longtask']});
let last = performance.now();
const tick = now => { window.watched.frames.push(now - last); last = now; requestAnimationFrame(tick); };
requestAnimationFrame(tick);
"""


# One step, until it has been drawn.
STEP = """() => {
    document.querySelector('[aria-label="One step forward"]').click();
    return new Promise(done => requestAnimationFrame(() => setTimeout(done)));
}"""
# Promises the shadow of what has changed, as soon as the pane flashes.
FLASH = """() => {
    window.flashed = new Promise(done => {
        const pane = document.querySelector('.code');
        const look = () => pane.matches('.flash') && done(getComputedStyle(pane.querySelector('.changed')).boxShadow);
        new MutationObserver(look).observe(pane, {attributes: true});
    });
}"""
# Presses Home as soon as the page is there, before it is painted.
HOME = """
new MutationObserver((_, each) => {
    if (!document.querySelector('.viewer')) return;
    each.disconnect();
    document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'Home', bubbles: true, cancelable: true}));
}).observe(document, {childList: true, subtree: true});
"""
PAINTED = "new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))"


@pytest.fixture
def replayed(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """Write a recording into a page of its own, and return its address."""

    def write(recording: dict[str, Any]) -> str:
        file = tmp_path / "fill.html"
        file.write_text(replay(json.dumps(recording).encode(), recording["name"]), "utf-8")
        return file.as_uri()

    return write


def test_the_built_page_is_what_its_sources_build_to(web: Path, cache: Path, tmp_path: Path) -> None:
    canvas_web.build(node.get(cache), tmp_path)
    built = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert built.keys() == {"index.html", "page.css", "page.js"}
    assert {name: (STATIC / name).read_bytes() == data for name, data in built.items()} == dict.fromkeys(built, True)


def test_types_and_logic_of_the_sources(web: Path, cache: Path) -> None:
    node.npm(node.get(cache), web, "run", "check")
    node.npm(node.get(cache), web, "test")


def test_the_script_is_small() -> None:
    assert (STATIC / "page.js").stat().st_size <= MOST_BYTES


@pytest.mark.asyncio(loop_scope="session")
async def test_a_replay_asks_for_nothing_and_reads_as_code(opened: Browsing, replayed: Callable[..., str]) -> None:
    page = await opened.open(replayed(canvas_recording.recording()))
    await page.keyboard.press("End")
    assert await code_of(page) == PREFIX + TEXT + SUFFIX
    assert await code_of(page, "beside") == PREFIX + TEXT.replace("item.price", "item.count") + SUFFIX
    assert [url for url in opened.requests if not url.startswith("file:")] == []
    assert len(opened.requests) == 1


@pytest.mark.asyncio(loop_scope="session")
async def test_a_replay_plays_by_itself_and_is_still_with_reduced_motion(
    opened: Browsing, replayed: Callable[..., str]
) -> None:
    recording = canvas_recording.recording()
    for frame in recording["frames"]:
        frame["ms"] *= 150  # so that it is not over before a busy machine looks
    file = replayed(recording)
    moving = await opened.open(file, motion="no-preference")
    await expect(moving.get_by_role("button", name="Pause")).to_be_visible()
    still = await opened.open(file, motion="reduce")
    await expect(still.get_by_role("button", name="Play")).to_be_visible()
    await still.keyboard.press("ArrowLeft")
    # A line above what has changed, which stays.
    line = "getComputedStyle(document.querySelector('.changed')).boxShadow"
    assert "inset" in await still.evaluate(line)
    assert await still.evaluate("document.getAnimations().length") == 0
    await moving.keyboard.press("Space")
    await moving.keyboard.press("End")
    await expect(moving.locator(".flash")).to_have_count(0)
    await moving.evaluate(FLASH)
    await moving.keyboard.press("ArrowLeft")
    assert "inset" in await moving.evaluate("flashed")
    await expect(moving.locator(".flash")).to_have_count(0)
    assert await moving.evaluate(line) == "none"


@pytest.mark.asyncio(loop_scope="session")
async def test_every_control_of_the_clock(opened: Browsing, replayed: Callable[..., str]) -> None:
    recording = canvas_recording.recording()
    page = await opened.open(replayed(recording))
    steps = {"To the beginning": 0, "One step forward": 1, "To the end": 9, "One step back": 8}
    for name, step in steps.items():
        await page.get_by_role("button", name=name).click()
        await at_step(page, f"Step {step} of 9")
        tokens = recording["frames"][step - 1]["lanes"][0]["holes"][0] if step else [[OLD]]
        assert await code_of(page) == PREFIX + "".join(token[0] for token in tokens) + SUFFIX
    await page.get_by_label("Time", exact=True).fill("60")
    await at_step(page, "Step 4 of 9")
    assert "60 ms of 389 ms" in await page.locator(".clock").inner_text()
    await page.get_by_label("Speed").select_option("real time")
    await page.get_by_role("button", name="Play").click()
    await expect(page.locator(".clock")).to_contain_text("389 ms of 389 ms")
    await expect(page.get_by_role("button", name="Play")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_before_the_first_step_the_old_text_stands_in_the_hole(
    opened: Browsing, replayed: Callable[..., str]
) -> None:
    page = await opened.open(replayed(canvas_recording.recording()))
    await page.keyboard.press("Home")
    assert await code_of(page) == PREFIX + OLD + SUFFIX


@pytest.mark.asyncio(loop_scope="session")
async def test_a_key_before_the_first_painting_counts(opened: Browsing, replayed: Callable[..., str]) -> None:
    page = await opened.open(replayed(canvas_recording.recording()), script=HOME)
    await page.evaluate(PAINTED)
    assert await step_of(page) == "Step 0 of 9"
    assert await code_of(page) == PREFIX + OLD + SUFFIX


@pytest.mark.asyncio(loop_scope="session")
async def test_candidates_can_be_drawn(opened: Browsing, replayed: Callable[..., str]) -> None:
    page = await opened.open(replayed(canvas_recording.recording()))
    await expect(page.get_by_role("radio")).to_have_count(3)
    await expect(page.get_by_role("radio").nth(0)).to_be_checked()
    await expect(page.locator(".lanes label").nth(0)).to_contain_text("chosen: rank 1, score -0.20, valid")
    await expect(page.locator(".lanes label").nth(1)).to_contain_text("worse (a bracket is not closed)")
    await page.get_by_role("radio").nth(2).check()
    await page.keyboard.press("End")
    assert await page.locator(".main .token").count() == 7


@pytest.mark.asyncio(loop_scope="session")
async def test_a_token_says_what_else_it_could_have_been(opened: Browsing, replayed: Callable[..., str]) -> None:
    recording = canvas_recording.recording()
    page = await opened.open(replayed(recording))
    await page.keyboard.press("Home")
    for _ in range(3):
        await page.keyboard.press("ArrowRight")
    await page.locator('.main [data-index="8"]').click()
    slot = recording["frames"][2]["lanes"][0]["holes"][0][8]
    rows = page.locator(".panel tbody tr")
    await expect(rows).to_have_count(len(slot[4]))
    await expect(page.locator(".panel")).to_contain_text(f"entropy {slot[1]:.2f} nats")
    await expect(rows.first).to_contain_text(f"{slot[4][0][1]:.0%}".replace("%", " %"))
    assert await page.get_by_role("button", name="Renoise").count() == 0, "a replay has no model"
    await page.keyboard.press("Escape")
    await expect(page.locator(".panel")).to_have_count(0)
    await expect(page.locator('.main [data-index="8"]')).to_be_focused()


@pytest.mark.asyncio(loop_scope="session")
async def test_all_of_it_by_keys_alone(opened: Browsing, replayed: Callable[..., str]) -> None:
    page = await opened.open(replayed(canvas_recording.recording()))
    await page.keyboard.press("Home")
    for key, step in [("ArrowRight", 1), (".", 2), ("ArrowRight", 3), (",", 2), ("ArrowLeft", 1), ("End", 9)]:
        await page.keyboard.press(key)
        await at_step(page, f"Step {step} of 9")
    # The order of Tab: the code, its tokens, the other code, the clock and its buttons, the candidates, and so on.
    reached = []
    while "Colours and keys" not in reached:
        await page.keyboard.press("Tab")
        reached.append(
            await page.evaluate(
                "(e => (e.getAttribute('aria-label') || e.value || e.textContent).trim())(document.activeElement)"
            )
        )
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline not in ("none", ""), f"the focus on {reached[-1]} cannot be seen"
    names = ["The code", "The code, left to right", "Time", "To the beginning", "Play", "Colours and keys"]
    assert [name for name in names if name in reached] == names
    assert [reached.index(name) for name in names] == sorted(reached.index(name) for name in names)
    # Into the tokens: arrows go from one to the next, Enter opens one.
    await page.locator(".main .code").focus()
    await page.keyboard.press("Tab")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "End", "Home", "ArrowRight", "Enter"):
        await page.keyboard.press(key)
    await expect(page.locator(".panel")).to_contain_text("Position 2 of 30")
    await expect(page.locator("#panel-title")).to_be_focused()
    assert await step_of(page) == "Step 9 of 9", "arrows in the code move no clock"
    await page.keyboard.press("Escape")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await page.locator(".main header").click()
    await page.keyboard.press("Space")
    await expect(page.get_by_role("button", name="Play")).to_be_visible()


@pytest.mark.asyncio(loop_scope="session")
async def test_those_who_listen_hear_how_far_it_is(opened: Browsing, replayed: Callable[..., str]) -> None:
    page = await opened.open(replayed(canvas_recording.recording()))
    region = page.locator("[role=status].unseen")
    await expect(region).to_have_text("Finished: valid, 9 passes, 137 ms.")
    for _ in range(4):  # faster than anyone could hear
        await page.keyboard.press("Home")
        await page.keyboard.press("ArrowRight")
    await expect(region).to_have_text(re.compile(r"^Step 1 of 9, \d+ % settled\.$"))


@pytest.mark.asyncio(loop_scope="session")
async def test_several_holes_are_drawn_and_walked_through(
    opened: Browsing, replayed: Callable[[dict[str, Any]], str]
) -> None:
    recording = canvas_recording.recording(beside=False)
    for frame in recording["frames"]:
        for lane in frame["lanes"]:
            lane["holes"] *= 2
    page = await opened.open(replayed({**recording, "between": ["\n\n# and\n\n"]}))
    await page.keyboard.press("End")
    assert await code_of(page) == f"{PREFIX}{TEXT}\n\n# and\n\n{TEXT}{SUFFIX}"
    await page.locator('[data-hole="0"] .token').last.click()
    await page.keyboard.press("Escape")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator('[data-hole="1"] .token').first).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator('[data-hole="1"] .token').first).to_have_attribute("aria-selected", "true")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_run_that_failed_says_why(opened: Browsing, replayed: Callable[..., str]) -> None:
    recording = canvas_recording.recording(beside=False)
    page = await opened.open(replayed({**recording, "outcome": {"error": "The GPU has no memory left."}}))
    await expect(page.locator(".trouble")).to_have_text("The GPU has no memory left.")


@pytest.mark.asyncio(loop_scope="session")
async def test_hostile_text_stays_text(opened: Browsing, replayed: Callable[..., str]) -> None:
    hostile = "</script><img src=x onerror=alert(1)>\u2028"
    recording = canvas_recording.recording(beside=False)
    recording["frames"][-1]["lanes"][0]["holes"][0][3][0] = hostile
    page = await opened.open(replayed({**recording, "prefix": hostile, "name": hostile}))
    await page.keyboard.press("End")
    assert (await code_of(page)).count(hostile) == 2
    assert await page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [400, 1280, 2000])
@pytest.mark.asyncio(loop_scope="session")
async def test_everyone_can_use_a_replay(
    opened: Browsing, replayed: Callable[..., str], web: Path, screenshots: Path, scheme: str, width: int
) -> None:
    page = await opened.open(replayed(canvas_recording.recording()), width, color_scheme=scheme)
    await page.keyboard.press("Home")
    for _ in range(4):
        await page.keyboard.press("ArrowRight")
    await page.locator('.main [data-index="12"]').click()
    await page.get_by_text("Colours and keys").click()
    await page.screenshot(path=screenshots / f"canvas-replay-{width}-{scheme}.png", full_page=True)
    await check_access(page, web)
    await check_width(page)


@pytest.mark.asyncio(loop_scope="session")
async def test_no_step_of_a_large_recording_takes_longer_than_a_blink(
    opened: Browsing, replayed: Callable[[dict[str, Any]], str], record_property: Callable[[str, object], None]
) -> None:
    """The work of each step is asserted on, in CPU time; how it plays is printed, for other programs run meanwhile."""
    page = await opened.open(replayed(canvas_recording.large()), motion="no-preference")
    await page.keyboard.press("Space")
    await page.keyboard.press("Home")
    chromium = await page.context.new_cdp_session(page)
    await chromium.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def worked() -> float:
        metrics = (await chromium.send("Performance.getMetrics"))["metrics"]
        [seconds] = [each["value"] for each in metrics if each["name"] == "TaskDuration"]
        return 1000 * float(seconds)

    steps = []
    for _ in range(200):
        before = await worked()
        await page.evaluate(STEP)
        steps.append(await worked() - before)
    await at_step(page, "Step 200 of 200")
    assert await page.locator(".main .token").count() == 256
    await page.keyboard.press("Home")
    await page.get_by_label("Speed").select_option("real time")
    await page.evaluate(WATCH)
    await page.get_by_role("button", name="Play").click()
    await expect(page.get_by_role("button", name="Play")).to_be_visible(timeout=60_000)
    watched = await page.evaluate("watched")
    frames, tasks = sorted(watched["frames"]), sorted(map(round, watched["tasks"]))
    figures = (
        f"a step takes {sum(steps) / len(steps):.1f} ms of CPU, at most {max(steps):.1f} ms; played in real time: "
    )
    figures += f"{len(frames)} frames, median {frames[len(frames) // 2]:.1f} ms, longest {frames[-1]:.1f} ms, "
    figures += f"{sum(each > MOST_MS for each in frames)} above {MOST_MS} ms; long tasks {tasks}"
    record_property("figures", figures)
    print(figures)
    assert max(steps) < MOST_MS, figures

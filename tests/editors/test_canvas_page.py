"""The canvas page in a real browser with a server behind it, which a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from editors import canvas_recording
from editors.canvas_browser import Browsing, at_step, back_to, check_access, check_width, code_of
from editors.canvas_recording import OLD, PREFIX, SUFFIX, TEXT, tokens
from editors.canvas_server import CanvasServer

pytestmark = [pytest.mark.editors, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def canvas() -> CanvasServer:
    """Return a server that a test tells what to say."""
    return CanvasServer()


@pytest.fixture
def address(canvas: CanvasServer) -> Iterator[str]:
    """Yield the server's address while it runs."""
    with canvas.serving() as found:
        yield found


async def test_the_page_asks_only_its_own_server(opened: Browsing, canvas: CanvasServer, address: str) -> None:
    page = await opened.open(address)
    assert await code_of(page) == PREFIX + OLD + SUFFIX
    assert [url for url in opened.requests if not url.startswith(f"{address}/")] == []
    assert f"{address}/static/page.js" in opened.requests
    assert "palimpsest-small, cpu, ready" in await page.locator(".top").inner_text()


async def test_a_fill_is_asked_for_as_the_form_says(opened: Browsing, canvas: CanvasServer, address: str) -> None:
    page = await opened.open(address)
    form = page.get_by_role("form", name="Fill")
    await form.get_by_label("Model").select_option("other-model")
    await form.get_by_label("Strength").fill("0.6")
    await form.get_by_label("Steps").fill("7")
    await form.get_by_label("Temperature").fill("0.4")
    await form.get_by_label("Seed").fill("3")
    await form.get_by_label("left to right").check()
    async with page.expect_response("**/api/fill"):
        await form.get_by_role("button", name="Fill").click()
    await expect(form.get_by_role("button", name="Cancel")).to_be_enabled()
    [(path, body)] = canvas.posts
    document = canvas.state["document"]
    assert path == "/api/fill"
    assert body == {
        **{key: document[key] for key in ("uri", "name", "language", "version", "text", "start", "end")},
        "strength": 0.6,
        "steps": 7,
        "temperature": 0.4,
        "seed": 3,
        "model": "other-model",
        "beside": True,
        "pieces": None,
    }
    async with page.expect_response("**/cancel"):
        await form.get_by_role("button", name="Cancel").click()
    canvas.tell("/api/runs/run1/events", "begun", _begun())
    canvas.tell("/api/runs/run1/events", "done", {"error": "The fill was cancelled."})
    canvas.tell("/api/runs/run1/events", "end", {})
    await expect(page.locator("main .trouble")).to_have_text("The fill was cancelled.")
    assert canvas.posts[-1] == ("/api/runs/run1/cancel", {})
    await expect(form.get_by_role("button", name="Fill")).to_be_enabled()


def _begun() -> dict[str, Any]:
    made = canvas_recording.recording()
    return {key: made[key] for key in made.keys() - {"frames", "outcome", "beside"}}


async def fill(page: Page) -> None:
    await page.get_by_role("button", name="Fill", exact=True).click()
    await expect(page.get_by_role("button", name="Cancel")).to_be_enabled()


async def test_each_step_is_drawn_when_it_comes(opened: Browsing, canvas: CanvasServer, address: str) -> None:
    recording = canvas_recording.recording()
    page = await opened.open(address)
    await fill(page)
    canvas.play("run1", recording, frames=1)
    await expect(page.locator(".clock")).to_contain_text("Step 1 of 1")
    await expect(page.locator(".main .token")).to_have_count(30)
    for frame in recording["frames"][1:]:
        canvas.tell("/api/runs/run1/events", "frame", frame)
    await expect(page.locator(".clock")).to_contain_text("Step 9 of 9")
    # Looking back does not stop it, and it can be caught up with.
    await page.get_by_role("button", name="One step back").click()
    await at_step(page, "Step 8 of 9")
    await page.get_by_role("button", name="Live").click()
    await at_step(page, "Step 9 of 9")
    canvas.tell("/api/runs/run1/events", "done", recording["outcome"])
    canvas.tell("/api/runs/run1/events", "beside-begun", {"model": "palimpsest-small"})
    for frame in recording["beside"]["frames"]:
        canvas.tell("/api/runs/run1/events", "beside-frame", frame)
    canvas.tell("/api/runs/run1/events", "beside-done", recording["beside"]["outcome"])
    canvas.tell("/api/runs/run1/events", "end", {})
    await expect(page.locator(".clock")).to_contain_text("389 ms of 389 ms")
    await expect(page.locator(".beside header")).to_contain_text("27 passes")
    await expect(page.locator(".result")).to_contain_text("Finished: valid, 9 passes")
    await expect(page.locator(".stages")).to_contain_text("encode 20 ms, 15 %")


async def test_a_changed_canvas_is_filled_again(opened: Browsing, canvas: CanvasServer, address: str) -> None:
    recording = canvas_recording.recording()
    page = await opened.open(address)
    await fill(page)
    canvas.play("run1", recording)
    await expect(page.locator(".result")).to_be_visible()
    await back_to(page, "Step 6 of 9")
    slots = recording["frames"][5]["lanes"][0]["holes"][0]

    async def open_token(index: int) -> None:
        await page.locator(f'.main [data-index="{index}"]').click()

    await open_token(4)
    await page.get_by_role("button", name="Renoise").click()
    await open_token(7)
    await page.get_by_role("button", name="Pin", exact=True).click()
    await open_token(9)
    await page.get_by_label("Type over it").fill("written")
    await page.get_by_role("button", name="Replace").click()
    await open_token(10)
    await page.locator(".panel tbody tr").nth(1).get_by_role("button").click()
    await open_token(11)
    await page.get_by_role("button", name="Pin", exact=True).click()
    await page.get_by_role("button", name="Leave as it was").click()
    await expect(page.locator(".draft")).to_contain_text("4 changes in step 6")
    # They are about that step, wherever the clock goes.
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="To the end").click()
    await open_token(3)
    await expect(page.locator(".panel")).to_contain_text("Your changes are in step 6.")
    await page.get_by_role("button", name="Go there").click()
    await expect(page.locator('.main [data-index="9"]')).to_have_text("written")
    async with page.expect_response("**/api/fill"):
        await page.get_by_role("button", name="Let the rest settle").click()
    await expect(page.get_by_role("button", name="Cancel")).to_be_enabled()
    path, body = canvas.posts[-1]
    assert path == "/api/fill"
    expected: list[dict[str, Any]] = []
    for index, (text, _, state, key, choices) in enumerate(slots):
        piece = {"state": {"p": "pinned", "s": "present", "o": "noise"}[state], "text": text, "slots": 0, "key": key}
        if index == 7:
            piece["state"] = "pinned"
        elif index == 9:
            piece |= {"state": "pinned", "text": "written", "key": None}
        elif index == 10:
            piece |= {"state": "pinned", "text": choices[1][0], "key": choices[1][2]}
        if piece["state"] == "noise" or index == 4:
            if expected and expected[-1]["state"] == "noise":
                expected[-1]["slots"] += 1
                continue
            piece = {"state": "noise", "text": "", "slots": 1, "key": None}
        expected.append(piece)
    assert body["pieces"] == expected
    assert body["text"] == PREFIX + OLD + SUFFIX


async def test_the_drawn_text_goes_back_to_the_editor_unless_it_moved_on(
    opened: Browsing, canvas: CanvasServer, address: str
) -> None:
    page = await opened.open(address)
    await fill(page)
    canvas.play("run1", canvas_recording.recording(beside=False))
    await page.get_by_role("button", name="Send to the editor").click()
    await expect(page.locator(".note")).to_have_text("It is in the editor.")
    assert canvas.posts[-1] == ("/api/runs/run1/apply", {"texts": [TEXT]})
    canvas.answers["/api/runs/run1/apply"] = (409, {"error": "inventory.py has changed since."})
    await page.get_by_role("radio").nth(1).check()
    await page.get_by_role("button", name="Send to the editor").click()
    await expect(page.get_by_role("alert")).to_contain_text("inventory.py has changed since.")
    candidate = "".join([*tokens(TEXT)[:12], *tokens(" + 1\n    return")])
    assert canvas.posts[-1] == ("/api/runs/run1/apply", {"texts": [candidate]}), "the one that is drawn"
    await page.get_by_role("button", name="Dismiss").click()
    await expect(page.locator(".trouble")).to_have_count(0)


async def test_a_fill_of_the_editor_appears(opened: Browsing, canvas: CanvasServer, address: str) -> None:
    page = await opened.open(address)
    await expect(page.locator(".runs")).to_contain_text("None yet")
    run = canvas.begin("editor")
    canvas.play(run, canvas_recording.recording(beside=False), frames=4)
    await expect(page.locator(".clock")).to_contain_text("Step 4 of 4")
    await expect(page.locator(".runs li")).to_have_count(1)
    await expect(page.locator(".runs")).to_contain_text("in the editor, at work")
    # It was made at the hole that the page has open, so it can be changed; one at another place cannot.
    await page.locator(".main .token").nth(4).click()
    await expect(page.get_by_role("button", name="Renoise")).to_have_count(0)
    await expect(page.locator(".panel")).to_contain_text("When the fill is done")
    # The user's own fill is not pushed aside by the next one.
    canvas.tell(f"/api/runs/{run}/events", "done", canvas_recording.recording()["outcome"])
    canvas.tell(f"/api/runs/{run}/events", "end", {})
    await fill(page)
    canvas.play("run2", canvas_recording.recording(beside=False, steps=5), frames=2)
    await expect(page.locator(".clock")).to_contain_text("Step 2 of 2")
    other = canvas.begin("editor")
    canvas.play(other, canvas_recording.recording(beside=False, steps=7), frames=7)
    await expect(page.locator(".runs li")).to_have_count(3)
    await expect(page.locator(".clock")).to_contain_text("Step 2 of 2")
    await page.locator(".runs button").first.click()
    await expect(page.locator(".clock")).to_contain_text("Step 7 of 7")
    for name in ("2. inventory.py", "1. inventory.py"):
        await page.locator(".runs button", has_text=name).click()
        await expect(page.locator(".clock")).not_to_contain_text("Step 7 of 7")
    await page.locator(".main .token").nth(4).click()
    await expect(page.get_by_role("button", name="Renoise")).to_have_count(1)
    elsewhere = canvas.begin("editor")
    canvas.play(elsewhere, {**canvas_recording.recording(beside=False), "suffix": "\n# another place"})
    await page.locator(".runs button", has_text="4. inventory.py").click()
    await expect(page.locator(".result")).to_be_visible()
    await page.locator(".main .token").nth(4).click()
    await expect(page.locator(".panel")).to_contain_text("at another place than the page has open")


async def test_a_document_that_moved_on_is_taken_when_the_user_says_so(
    opened: Browsing, canvas: CanvasServer, address: str
) -> None:
    page = await opened.open(address)
    await fill(page)
    canvas.play("run1", canvas_recording.recording(beside=False))
    await expect(page.locator(".result")).to_be_visible()
    document = canvas.state["document"]
    canvas.state["document"] = {**document, "version": 2, "text": "# new\n" + document["text"]}
    for key in ("start", "end"):
        canvas.state["document"][key] += len("# new\n")
    canvas.tell("/api/events", "state", {})
    await expect(page.locator(".note")).to_contain_text("inventory.py has changed in the editor since.")
    await page.get_by_role("button", name="Take what is there now").click()
    await expect(page.locator(".note")).to_have_count(0)
    assert await code_of(page) == "# new\n" + PREFIX + OLD + SUFFIX
    await fill(page)
    assert canvas.posts[-1][1]["version"] == 2


async def test_a_fill_that_ends_while_the_page_asks_for_news_has_ended(
    opened: Browsing, canvas: CanvasServer, address: str
) -> None:
    page = await opened.open(address)
    await fill(page)
    asked, ended, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()
        asked.set()
        await ended.wait()
        await route.fulfill(response=answer)
        told.set()

    await page.route("**/api/state", late)
    canvas.state["reason"] = "It answers slowly."
    canvas.tell("/api/events", "state", {})
    await asked.wait()
    canvas.play("run1", canvas_recording.recording(beside=False))
    await expect(page.get_by_role("button", name="Fill", exact=True)).to_be_enabled()
    ended.set()
    await told.wait()
    await expect(page.locator(".note")).to_have_text("It answers slowly.")
    await expect(page.get_by_role("button", name="Fill", exact=True)).to_be_enabled()
    await expect(page.get_by_role("button", name="Cancel")).to_be_disabled()


@pytest.mark.parametrize(
    ("status", "sentence"), [(400, "The strength is in (0, 1]."), (503, "No model is loaded: there is no memory.")]
)
async def test_an_error_is_a_sentence(
    opened: Browsing, canvas: CanvasServer, address: str, status: int, sentence: str
) -> None:
    canvas.answers["/api/fill"] = (status, {"error": sentence})
    page = await opened.open(address)
    await page.get_by_role("button", name="Fill", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text(sentence)


async def test_a_server_that_was_killed_is_missed(
    opened: Browsing, canvas: CanvasServer, address: str, screenshots: Path
) -> None:
    page = await opened.open(address)
    await fill(page)
    canvas.play("run1", canvas_recording.recording(), frames=5)
    await expect(page.locator(".clock")).to_contain_text("Step 5 of 5")
    canvas.die()
    await expect(page.get_by_role("alert")).to_contain_text("The server has gone")
    await expect(page.get_by_role("button", name="Fill", exact=True)).to_be_disabled()
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("alert")).to_contain_text("That could not be done")
    await page.screenshot(path=screenshots / "canvas-gone.png")
    # What there was can still be looked at.
    await page.get_by_role("button", name="One step back").click()
    await at_step(page, "Step 4 of 5")


async def test_two_tabs_see_the_same(opened: Browsing, canvas: CanvasServer, address: str) -> None:
    one, other = await opened.open(address), await opened.open(address)
    await fill(one)
    canvas.play("run1", canvas_recording.recording(beside=False))
    await expect(other.locator(".runs li")).to_have_count(1)
    await expect(other.locator(".clock")).to_have_count(0)
    await other.locator(".runs button").click()
    await expect(other.locator(".clock")).to_contain_text("Step 9 of 9")
    await expect(one.locator(".clock")).to_contain_text("Step 9 of 9")
    assert await code_of(one) == await code_of(other)


async def test_a_closed_tab_listens_no_more(opened: Browsing, canvas: CanvasServer, address: str) -> None:
    page = await opened.open(address)
    await fill(page)
    stream = "/api/runs/run1/events"
    canvas.play("run1", canvas_recording.recording(), frames=2)
    await expect(page.locator(".clock")).to_contain_text("Step 2 of 2")
    assert stream in canvas.listening
    await page.close()
    assert canvas.left(stream), "the page still listens"


async def test_a_text_can_be_written_where_no_file_is_open(
    opened: Browsing, canvas: CanvasServer, address: str
) -> None:
    canvas.state |= {"document": None, "editor": False}
    page = await opened.open(address)
    await expect(page.get_by_role("button", name="Fill", exact=True)).to_be_disabled()
    area = page.get_by_role("textbox", name="Text")
    await area.fill("smile = '😀'\nreturn old\n")
    await area.evaluate("each => each.setSelectionRange(20, 23)")
    await page.get_by_role("button", name="Use this text").click()
    assert await page.locator(".hole").inner_text() == "old"
    await fill(page)
    body = canvas.posts[-1][1]
    assert body["text"][body["start"] : body["end"]] == "old"
    assert body["uri"] is None
    canvas.play("run1", canvas_recording.recording(beside=False))
    await expect(page.locator(".result")).to_be_visible()
    await expect(page.get_by_role("button", name="Send to the editor")).to_have_count(0)
    await page.get_by_role("button", name="Change the text").click()
    await expect(area).to_have_value("smile = '😀'\nreturn old\n")


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [400, 1280, 2000])
async def test_everyone_can_use_the_page(
    opened: Browsing, canvas: CanvasServer, address: str, web: Path, screenshots: Path, scheme: str, width: int
) -> None:
    canvas.state["reason"] = "It answers slowly: the CPU is busy."
    page = await opened.open(address, width, color_scheme=scheme)
    await check_access(page, web)
    await fill(page)
    canvas.play("run1", canvas_recording.recording())
    await expect(page.locator(".result")).to_be_visible()
    await page.locator('.main [data-index="4"]').click()
    await page.get_by_role("button", name="Renoise").click()
    await page.locator('.main [data-index="8"]').click()
    canvas.state["document"] = {**canvas.state["document"], "text": "other"}
    canvas.tell("/api/events", "state", {})
    await expect(page.locator(".note")).to_have_count(2)
    await page.screenshot(path=screenshots / f"canvas-live-{width}-{scheme}.png", full_page=True)
    await check_access(page, web)
    await check_width(page)

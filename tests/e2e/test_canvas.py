"""The command `palimpsest.canvas`: a page over HTTP that knows the editor's document, and an edit that comes back."""

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import pytest
from lsprotocol import types

COMMAND = "palimpsest.canvas"
TEXT = "def f():\r\n    # 🎻\r\n    \r\n"
NEVER = {"steps": 1000, "step_seconds": 0.02}


def able(capabilities, **window):
    return capabilities(window=types.WindowClientCapabilities(work_done_progress=True, **window))


def range_of(line, start, end):
    return {"start": {"line": line, "character": start}, "end": {"line": line, "character": end}}


@asynccontextmanager
async def browser(url):
    """A browser that has opened the page."""
    here = httpx.URL(url)
    async with httpx.AsyncClient(base_url=f"http://{here.host}:{here.port}", trust_env=False, timeout=60) as client:
        opened = await client.get(here.raw_path.decode())
        assert opened.status_code == 303
        yield client


async def filled(page, **more):
    """The id of a fill of the document on the page, which has ended, and the names of its events."""
    shown = (await page.get("/api/state")).json()["document"]
    body = {key: shown[key] for key in ("text", "start", "end", "language", "name", "uri", "version")}
    run = (await page.post("/api/fill", json=body | more)).json()["run"]
    stream = (await page.get(f"/api/runs/{run}/events")).text
    return run, [line.removeprefix("event: ") for line in stream.splitlines() if line.startswith("event: ")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_a_text_that_is_made_on_the_page_comes_back_as_a_versioned_edit(connect, capabilities, encoding):
    editor = await connect({"script": ["return 1\npass"]}, able=capabilities([encoding]))
    editor.open(TEXT)
    told = await editor.command(COMMAND, {"uri": editor.uri, "range": range_of(2, 4, 4)})
    assert (told["shown"], told["reason"]) == (False, None)
    assert [message.message for message in editor.client.messages] == [f"Palimpsest: the canvas is at {told['url']}"]
    async with browser(told["url"]) as page:
        state = (await page.get("/api/state")).json()
        hole = TEXT.index("    \r\n") + 4
        assert state["editor"]
        assert state["document"] == {
            "uri": editor.uri,
            "name": "a.py",
            "language": "python",
            "version": 1,
            "text": TEXT,
            "start": hole,
            "end": hole,
        }
        run, names = await filled(page)
        assert (names[0], names[-2:]) == ("begun", ["done", "end"])
        applied = await page.post(f"/api/runs/{run}/apply", json={"texts": ["return 1\npass"]})
        assert applied.json() == {"applied": True}
    (sent,) = editor.edits
    (change,) = sent.edit.document_changes
    assert change.text_document == types.OptionalVersionedTextDocumentIdentifier(editor.uri, 1)
    at = types.Position(2, 4)
    assert list(change.edits) == [types.TextEdit(types.Range(at, at), "return 1\r\npass")]


async def test_nothing_is_applied_to_a_document_that_has_moved_on(connect):
    editor = await connect({"script": ["x"]})
    editor.open(TEXT)
    told = await editor.command(COMMAND, {"uri": editor.uri, "range": range_of(2, 4, 4)})
    async with browser(told["url"]) as page:
        run, _ = await filled(page)
        changed, _ = await filled(page, text="another text", start=0, end=0)
        for each, texts in ((changed, ["x"]), (run, ["x", "y"])):
            answer = await page.post(f"/api/runs/{each}/apply", json={"texts": texts})
            assert answer.status_code in (400, 409)
        editor.type(0, 0, "y")
        await editor.status()
        answer = await page.post(f"/api/runs/{run}/apply", json={"texts": ["x"]})
        assert (answer.status_code, answer.json()) == (409, {"error": "The document changed."})
    assert editor.edits == []


async def test_the_client_is_asked_to_show_the_page_with_an_address_that_works_once(connect, capabilities):
    support = types.ShowDocumentClientCapabilities(True)
    editor = await connect({}, able=able(capabilities, show_document=support))
    editor.open(TEXT)
    first = await editor.command(COMMAND, {"uri": editor.uri})
    second = await editor.command(COMMAND)
    assert [first["shown"], second["shown"]] == [True, True]
    shown = editor.client.shown_documents
    assert [(params.uri, params.external) for params in shown] == [(first["url"], True), (second["url"], True)]
    one, other = httpx.URL(first["url"]), httpx.URL(second["url"])
    assert one.port == other.port
    assert one.params["token"] != other.params["token"]
    assert editor.client.messages == []
    async with browser(first["url"]) as page:
        assert (await page.get("/api/state")).json()["document"]["start"] == len(TEXT)
        page.cookies.clear()
        assert (await page.get(one.raw_path.decode())).status_code == 403
    async with browser(second["url"]):
        pass


async def events_of(lines, until):
    """The events of a stream up to the first one with a name."""
    found = []
    async for line in lines:
        if line.startswith("event: "):
            found.append([line.removeprefix("event: "), None])
        elif line.startswith("data: "):
            found[-1][1] = json.loads(line.removeprefix("data: "))
            if found[-1][0] == until:
                break
    return found


async def test_a_fill_that_is_asked_for_in_the_editor_is_shown_on_an_open_page(connect):
    editor = await connect({"script": ["return 1"], "steps": 3, "step_seconds": 0.01})
    editor.open(TEXT)
    told = await editor.command(COMMAND, {"uri": editor.uri})
    async with browser(told["url"]) as page:
        await editor.ask(2, 4)  # no page listens yet
        editor.type(2, 4, "x")
        async with page.stream("GET", "/api/events") as stream:
            lines = stream.aiter_lines()
            assert (await anext(lines)).startswith(":")
            await editor.ask(2, 4, automatic=True)  # nobody asked for it by name
            select = {"uri": editor.uri, "range": range_of(2, 4, 5)}
            done = await editor.command("palimpsest.fillSelection", select)
            assert done["applied"]
            [run] = [value for name, value in await events_of(lines, "run") if name == "run"]
            assert (run["name"], run["source"]) == ("a.py", "editor")
            runs = [run["source"] for run in (await page.get("/api/state")).json()["runs"]]
            assert runs == ["editor"]
            seen = (await page.get(f"/api/runs/{run['id']}/events")).text
            assert seen.index("event: begun") < seen.index("event: frame") < seen.index("event: done")
            kept = (await page.get(f"/api/runs/{run['id']}/recording")).json()
            assert (kept["hole"], kept["outcome"]["texts"]) == ("x", ["return 1"])
            shown = (await page.get("/api/state")).json()["document"]
            assert (shown["text"][shown["start"] : shown["end"]], shown["version"]) == ("x", 2)
            editor.edits.clear()
            applied = await page.post(f"/api/runs/{run['id']}/apply", json={"texts": ["y"]})
            assert applied.json() == {"applied": True}
            (change,) = editor.edits[0].edit.document_changes
            assert change.text_document.version == 2


async def test_the_page_can_end_a_fill_of_the_editor(connect):
    editor = await connect(NEVER)
    editor.open(TEXT)
    told = await editor.command(COMMAND, {"uri": editor.uri})
    async with browser(told["url"]) as page, page.stream("GET", "/api/events") as stream:
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith(":")
        asking = asyncio.ensure_future(editor.ask(2, 4))
        [run] = [value for name, value in await events_of(lines, "run") if name == "run"]
        assert (await page.post(f"/api/runs/{run['id']}/cancel", json={})).status_code == 200
        assert await asyncio.wait_for(asking, 30) is None
        assert "The fill was cancelled." in (await page.get(f"/api/runs/{run['id']}/events")).text


async def test_a_failing_engine_is_an_outcome_on_the_page(connect):
    editor = await connect({"kind": "faulty"})
    for name, said in (("in-OutOfMemory", "out of memory"), ("at-SystemExit", "SystemExit"), ("in-Odd", "Odd")):
        editor.open(TEXT, uri=f"file:///project/{name}.py")
        told = await editor.command(COMMAND, {"uri": editor.uri})
        async with browser(told["url"]) as page:
            run, names = await filled(page)
            kept = (await page.get(f"/api/runs/{run}/recording")).json()
        assert names[-2:] == ["done", "end"]
        assert said in kept["outcome"]["error"]


async def test_the_page_ends_with_the_server(connect):
    editor = await connect(NEVER)
    editor.open(TEXT)
    told = await editor.command(COMMAND, {"uri": editor.uri})
    async with browser(told["url"]) as page, page.stream("GET", "/api/events") as stream:
        lines = stream.aiter_lines()
        assert (await anext(lines)).startswith(":")
        await asyncio.wait_for(editor.client.shutdown_session(), 30)
        async for _ in lines:
            pass
        with pytest.raises(httpx.ConnectError):
            await page.get("/api/state")


@pytest.mark.parametrize("name", [".env", "id_rsa"])
async def test_a_file_that_no_model_may_see_is_not_shown_on_the_page(connect, name):
    editor = await connect({})
    editor.open("PASSWORD=1\n", uri=f"file:///project/{name}")
    told = await editor.command(COMMAND, {"uri": editor.uri})
    assert (told["url"], told["shown"]) == (None, False)
    assert [told["reason"] in message.message for message in editor.client.messages] == [True]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("x", "expects one argument {uri, range?}"),
        ({}, "expects one argument {uri, range?}"),
        ({"uri": 1}, "expects one argument {uri, range?}"),
        ({"uri": "file:///a.py", "range": 3}, "range is not a range of positions"),
        ({"uri": "file:///a.py", "range": {"start": 1}}, "range is not a range of positions"),
    ],
)
async def test_a_wrong_argument_is_refused_in_a_sentence(connect, argument, said):
    editor = await connect({})
    assert said in await editor.refused(COMMAND, argument)


async def test_a_document_that_is_not_open_is_a_reason(connect):
    editor = await connect({})
    told = await editor.command(COMMAND, {"uri": "file:///project/other.py"})
    assert told["url"] is None
    assert told["reason"]

"""A run over HTTP: its events, its end however that comes, and what is kept of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from canvas.conftest import HOLE, TEXT, WORDS, Desk, Opener, Painter, asked, document, events, serving
from palimpsest_canvas import runs
from palimpsest_canvas.document import MOST
from palimpsest_engine import DeviceLost, EngineStatus, OutOfMemory, PalimpsestError, Span, StartPiece


async def begun(client: httpx.AsyncClient, **more: Any) -> str:
    answer = await client.post("/api/fill", json=asked(**more))
    assert answer.status_code == 200, answer.text
    [(key, run)] = answer.json().items()
    assert key == "run"
    return str(run)


async def streamed(client: httpx.AsyncClient, run: str) -> list[tuple[str, Any]]:
    answer = await client.get(f"/api/runs/{run}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    return events(answer.text)


async def test_a_run_tells_its_frames_in_order_and_then_its_outcome(opener: Opener) -> None:
    engine = Painter()
    async with opener.client(engine) as client:
        found = await streamed(client, await begun(client))
    assert [name for name, _ in found] == ["begun", *["frame"] * 4, "done", "end"]
    head, first, *_, last, done = (value for name, value in found if name != "end")
    assert (head["prefix"], head["suffix"]) == (TEXT[:HOLE], TEXT[HOLE:])
    assert head["settings"] == {"strength": 1.0, "steps": None, "temperature": None, "seed": 0}
    assert [value["step"] for name, value in found if name == "frame"] == [1, 2, 3, 4]
    [lane, finished] = first["lanes"]
    assert (lane["number"], lane["kind"], lane["finished"], finished["finished"]) == (0, "denoised", False, True)
    assert lane["holes"][0][0] == ["return", 0.0, "s", 0, [["return", 0.75, 0]]]
    assert lane["holes"][0][1][1:3] == [1.5, "o"]
    assert [slot[2] for slot in last["lanes"][0]["holes"][0]] == ["s"] * 4
    assert done["texts"] == ["".join(WORDS)]
    assert [each["chosen"] for each in done["candidates"]] == [True, False]
    assert done["stages"] == [["encode", 1.0], ["denoise", 30.0]]


async def test_all_that_the_page_sets_reaches_the_engine(opener: Opener) -> None:
    engine = Painter()
    pieces = [
        {"state": "pinned", "text": "return", "key": 5},
        {"state": "noise", "slots": 3},
        {"state": "present", "text": " b"},
    ]
    chosen = {"strength": 0.5, "steps": 7, "temperature": 0.25, "seed": 11}
    async with opener.client(engine) as client:
        run = await begun(client, start=4, end=7, pieces=pieces, **chosen)
        await streamed(client, run)
        kept = (await client.get(f"/api/runs/{run}/recording")).json()
    [request] = engine.requests
    assert (request.text, request.holes, request.trace) == (TEXT, (Span(4, 7),), 5)
    assert (request.strength, request.max_steps, request.temperature, request.seed) == (0.5, 7, 0.25, 11)
    assert request.start == (
        StartPiece("pinned", "return", key=5),
        StartPiece("noise", slots=3),
        StartPiece("present", " b"),
    )
    assert kept["settings"] == chosen
    assert kept["hole"] == "add"


async def test_the_left_to_right_one_comes_after_with_a_clock_of_its_own(opener: Opener) -> None:
    engine = Painter()
    async with opener.client(engine) as client:
        run = await begun(client, beside=True, strength=0.5)
        found = await streamed(client, run)
        kept = (await client.get(f"/api/runs/{run}/recording")).json()
    names = [name for name, _ in found]
    beside = ["beside-begun", *["beside-frame"] * 4, "beside-done"]
    assert names == ["begun", *["frame"] * 4, "done", *beside, "end"]
    main, other = engine.requests
    assert (main.left_to_right, other.left_to_right, other.strength) == (False, True, 1.0)
    assert kept["beside"]["model"] == "painter"
    assert kept["beside"]["frames"][0]["ms"] == kept["frames"][0]["ms"] == 10.0
    assert kept["beside"]["frames"][0]["lanes"][0]["kind"] == "written"
    assert kept["beside"]["outcome"]["texts"] == kept["outcome"]["texts"]


async def test_the_recording_is_what_the_events_said(opener: Opener) -> None:
    async with opener.client(Painter()) as client:
        run = await begun(client)
        found = await streamed(client, run)
        kept = (await client.get(f"/api/runs/{run}/recording")).json()
    assert kept["format"] == 1
    assert kept["frames"] == [value for name, value in found if name == "frame"]
    assert kept["outcome"] == next(value for name, value in found if name == "done")
    assert kept["beside"] is None


async def test_a_fill_that_an_engine_began_anew_is_shown_from_its_new_beginning(opener: Opener) -> None:
    async with opener.client(Painter(lost=True)) as client:
        run = await begun(client, beside=True)
        found = await streamed(client, run)
        kept = (await client.get(f"/api/runs/{run}/recording")).json()
    names = [name for name, _ in found]
    assert names[:8] == ["begun", "frame", "frame", "begun", *["frame"] * 4]
    assert names[9:15] == [
        "beside-begun",
        "beside-frame",
        "beside-frame",
        "beside-begun",
        "beside-frame",
        "beside-frame",
    ]
    for fill in (kept, kept["beside"]):
        assert [frame["step"] for frame in fill["frames"]] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PalimpsestError("the engine process has ended"), "the engine process has ended"),
        (OutOfMemory("there is not enough memory"), "there is not enough memory"),
        (DeviceLost("the GPU is gone"), "the GPU is gone"),
        (RuntimeError("secret code"), "The engine failed: RuntimeError."),
    ],
)
@pytest.mark.parametrize("field", ["error", "failing"])
async def test_an_error_of_the_engine_is_the_outcome(opener: Opener, error: Exception, said: str, field: str) -> None:
    async with opener.client(Painter(**{field: error})) as client:
        run = await begun(client, beside=True)
        found = await streamed(client, run)
        kept = (await client.get(f"/api/runs/{run}/recording")).json()
    assert [each for each in found if each[0] in ("done", "end")] == [("done", {"error": said}), ("end", {})]
    assert kept["outcome"] == {"error": said}
    assert kept["beside"] is None


async def test_an_engine_that_is_silent_is_given_up(opener: Opener) -> None:
    engine = Painter(held=True)
    async with opener.client(engine) as client:
        opener.canvas.runs = runs.Runs(lambda run: None, silent_seconds=0.3)
        found = await streamed(client, await begun(client))
    assert "no sign of life" in found[-2][1]["error"]
    assert engine.cancelled.wait(20)


async def test_an_engine_that_loads_may_be_silent(opener: Opener) -> None:
    engine = Painter(held=True, told=EngineStatus("loading"))
    async with opener.client(engine) as client:
        opener.canvas.runs = runs.Runs(lambda run: None, silent_seconds=0.0)
        run = await begun(client)
        assert await asyncio.to_thread(engine.waiting.wait, 20)
        engine.go.set()
        found = await streamed(client, run)
        kept = (await client.get(f"/api/runs/{run}/recording")).json()
    assert found[-2][1]["texts"] == ["".join(WORDS)]
    assert kept["model"] == ""


def test_a_run_ends_when_its_last_listener_goes_and_not_before(opener: Opener) -> None:
    engine = Painter(held=True)
    with serving(opener.app(engine)) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        client.headers["cookie"] = opener.cookie()
        run = client.post("/api/fill", json=asked()).json()["run"]
        with client.stream("GET", f"/api/runs/{run}/events") as one:
            lines = one.iter_lines()
            assert next(lines) == "event: begun"
            with client.stream("GET", f"/api/runs/{run}/events") as other:
                more = other.iter_lines()
                assert next(more) == "event: begun"
                assert engine.waiting.wait(20)
            assert client.get("/api/state").json()["runs"][0]["running"]
            assert not engine.cancelled.is_set()
        assert engine.cancelled.wait(20)
        late = events(client.get(f"/api/runs/{run}/events").text)
    assert late[-2:] == [("done", {"error": runs.CANCELLED}), ("end", {})]


def test_a_run_can_be_cancelled_and_its_listener_is_told(opener: Opener) -> None:
    engine = Painter(held=True)
    with serving(opener.app(engine)) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        client.headers["cookie"] = opener.cookie()
        run = client.post("/api/fill", json=asked()).json()["run"]
        with client.stream("GET", f"/api/runs/{run}/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: begun"
            assert engine.waiting.wait(20)
            assert client.post(f"/api/runs/{run}/cancel", json={}).status_code == 200
            rest = list(lines)
    assert f"data: {json.dumps({'error': runs.CANCELLED}, separators=(',', ':'))}" in rest
    assert engine.cancelled.wait(20)


def test_the_page_hears_of_runs_documents_and_the_model(opener: Opener) -> None:
    engine = Painter()
    with serving(opener.app(engine)) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        client.headers["cookie"] = opener.cookie()
        assert not opener.canvas.listened
        with client.stream("GET", "/api/events") as stream:
            every = stream.iter_lines()
            assert next(every).startswith(":")
            lines = (line for line in every if line and not line.startswith(":"))
            assert opener.canvas.listened
            run = client.post("/api/fill", json=asked()).json()["run"]
            assert next(lines) == "event: run"
            said = json.loads(next(lines).removeprefix("data: "))
            assert said == {"id": run, "name": "add.py", "source": "page", "running": True}
            engine.told = EngineStatus("error", "it is gone")
            assert next(lines) == "event: state"
            assert client.get("/api/state").json()["reason"] == "it is gone"


def test_the_end_of_the_server_ends_every_stream(opener: Opener) -> None:
    engine = Painter(held=True)
    with serving(opener.app(engine)) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        client.headers["cookie"] = opener.cookie()
        run = client.post("/api/fill", json=asked()).json()["run"]
        stream = client.send(client.build_request("GET", f"/api/runs/{run}/events"), stream=True)
        lines = stream.iter_lines()
        assert next(lines) == "event: begun"
        assert engine.waiting.wait(20)
    assert engine.cancelled.wait(20)


async def test_the_last_twenty_runs_are_kept(opener: Opener) -> None:
    async with opener.client(Painter(steps=1)) as client:
        made = []
        for _ in range(runs.KEPT + 2):
            made.append(await begun(client))
            await streamed(client, made[-1])
        listed = [run["id"] for run in (await client.get("/api/state")).json()["runs"]]
        gone = await client.get(f"/api/runs/{made[0]}/recording")
    assert listed == made[2:]
    assert gone.status_code == 404


async def test_so_many_fills_at_a_time_and_no_more(opener: Opener) -> None:
    engine = Painter(held=True)
    async with opener.client(engine) as client:
        for _ in range(runs.MOST_RUNNING):
            await begun(client)
        answer = await client.post("/api/fill", json=asked())
        assert answer.status_code == 503
        assert "under way" in answer.json()["error"]
        engine.go.set()


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"start": 5, "end": 4}, 400),
        ({"end": len(TEXT) + 1}, 400),
        ({"start": -1}, 400),
        ({"start": "4"}, 400),
        ({"strength": 0}, 400),
        ({"strength": 1.5}, 400),
        ({"temperature": -1}, 400),
        ({"temperature": 11}, 400),
        ({"steps": 0}, 400),
        ({"seed": 2**32}, 400),
        ({"pieces": [{"state": "loose"}]}, 400),
        ({"pieces": [{"state": "noise", "slots": 100_000}]}, 400),
        ({"pieces": [{"state": "pinned", "text": "a", "key": 2**40}]}, 400),
        ({"strange": 1}, 400),
        ({"name": "n" * 1001}, 400),
        ({"model": "/etc/passwd"}, 503),
        ({"model": "no-such-model"}, 503),
        ({"text": "x" * 70_000}, 413),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_value_out_of_bounds_is_refused_in_a_sentence(
    opener: Opener, wrong: dict[str, Any], status: int
) -> None:
    engine = Painter()
    async with opener.client(engine) as client:
        answer = await client.post("/api/fill", json=asked(**wrong))
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert not engine.requests
    assert len(TEXT) < MOST


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"text": "\xff"}', b"[" * 5000])
async def test_a_body_that_is_no_json_is_refused(opener: Opener, body: bytes) -> None:
    async with opener.client(Painter()) as client:
        answer = await client.post("/api/fill", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize("checkpoint", [None, "embedded"])
async def test_another_model_has_an_engine_of_its_own_one_at_a_time(
    opener: Opener, monkeypatch: pytest.MonkeyPatch, checkpoint: str | None
) -> None:
    engine = Painter()
    opener.checkpoint = checkpoint
    async with opener.client(engine) as client:
        monkeypatch.setattr(opener.canvas.models, "names", lambda: ["embedded", "one", "two"])
        for model in (None, "embedded", "one", "one", "two"):
            await streamed(client, await begun(client, model=model))
        listed = (await client.get("/api/state")).json()["models"]
    assert listed == ["embedded", "one", "two"]
    assert len(engine.requests) == 2
    assert [settings.checkpoint for settings in opener.settings] == ["one", "two"]
    assert [len(other.requests) for other in opener.others] == [2, 1]
    assert [other.closed for other in opener.others] == [True, False]


async def test_the_state_is_all_that_the_page_needs(opener: Opener) -> None:
    async with opener.client(Painter(), shown=document()) as client:
        state = (await client.get("/api/state")).json()
    shown = {"uri": None, "name": "add.py", "language": "python", "version": None, "text": TEXT}
    assert state == {
        "model": "painter",
        "device": "none",
        "state": "ready",
        "reason": "",
        "denoises": True,
        "writes": False,
        "models": ["embedded"],
        "editor": False,
        "document": shown | {"start": HOLE, "end": HOLE},
        "runs": [],
    }


async def test_the_command_line_takes_nothing_back(opener: Opener) -> None:
    async with opener.client(Painter()) as client:
        run = await begun(client)
        answer = await client.post(f"/api/runs/{run}/apply", json={"texts": ["x"]})
    assert answer.status_code == 409
    assert "command line" in answer.json()["error"]


async def test_an_editor_takes_back_what_was_made_for_its_document(opener: Opener) -> None:
    desk = Desk()
    async with opener.client(Painter(), origin=desk) as client:
        run = await begun(client, uri="file:///add.py", version=3)
        answer = await client.post(f"/api/runs/{run}/apply", json={"texts": ["return 1"]})
        wrong = await client.post(f"/api/runs/{run}/apply", json={"texts": ["1", "2"]})
        desk.reason = "the document changed"
        refused = await client.post(f"/api/runs/{run}/apply", json={"texts": ["return 1"]})
    assert answer.json() == {"applied": True}
    assert wrong.status_code == 400
    assert (refused.status_code, refused.json()) == (409, {"error": "the document changed"})
    (target, texts), _ = desk.applied
    assert texts == ("return 1",)
    assert (target.uri, target.version, target.base, target.text) == ("file:///add.py", 3, 7, TEXT)
    assert target.holes == (Span(HOLE, HOLE),)

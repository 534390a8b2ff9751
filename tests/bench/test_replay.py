from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_bench.server import figures, replay, stand_ins
from palimpsest_bench.server.client import connected
from palimpsest_engine import FillRequest, PalimpsestError, Span

FIXTURES = Path(__file__).parents[2] / "fixtures" / "sessions"
SESSIONS = replay.sessions()


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", FIXTURES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("recipe", generator().RECIPES, ids=lambda recipe: recipe.name)
def test_the_sessions_are_what_the_generator_makes(recipe: Any) -> None:
    committed = Path(replay.__file__).parents[1] / "sessions" / f"{recipe.name}.jsonl"
    assert "\n".join(generator().lines_of(recipe)) + "\n" == committed.read_text()


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_types_its_text(name: str) -> None:
    session = SESSIONS[name]
    document = replay.opened(session)
    suffix = Path(document.name).suffix
    assert replay.final_text(session) == (FIXTURES / "texts" / f"{name}.after{suffix}").read_text()
    assert [event.at for event in session] == sorted(event.at for event in session)
    assert sum(isinstance(event.what, replay.Change) for event in session) >= 400


@given(st.text("ab\n"), st.data())
def test_a_place_is_where_the_text_before_it_ends(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text)))
    place = replay.behind((0, 0), text[:offset])
    assert replay.offset_of(text, place) == offset


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(ValueError, match="not an event"):
        replay.parse('{"at": 1, "jump": [1, 2]}')


LINES = """{"at":0,"open":{"name":"a.py","language":"python","text":""}}
{"at":100,"change":[0,0,0,0,"a"]}
{"at":150,"accept":true}
{"at":200,"change":[0,1,0,1,"b"]}
{"at":250,"change":[0,2,0,2,"()"],"cursor":[0,3]}
{"at":300,"change":[0,3,0,3,"c"]}
{"at":350,"change":[0,3,0,4,""]}
{"at":400,"change":[0,3,0,4,")"]}
{"at":450,"move":[0,0]}
"""


async def test_accepting_saves_the_keystrokes_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    command = stand_ins.command("scripted", script=["b()"])
    async with connected(command, {"debounceMs": 0, "answerWithinMs": 10_000}) as editor:
        changes: list[tuple[Any, ...]] = []
        send = editor.change
        monkeypatch.setattr(editor, "change", lambda *given: (changes.append(given[1:]), send(*given)))
        going = replay.Replay(editor, replay.parse(LINES), "file:///a.py")
        while not going.over:
            going.step()
            await going.answered()
        notes = going.notes
    assert going.text == "ab()"
    assert (notes.accepted, notes.saved) == (1, 2)
    assert changes[1] == (3, (0, 1), (0, 1), "b()")
    assert notes.keystrokes == 4  # a, c, its backspace, and over the bracket
    assert len(notes.answer_ms) == 5


@pytest.mark.parametrize("wrong", ["bc", "b)(", "xyz"])
async def test_an_unwanted_suggestion_is_not_accepted(wrong: str) -> None:
    command = stand_ins.command("scripted", script=[wrong])
    async with connected(command, {"debounceMs": 0, "answerWithinMs": 10_000}) as editor:
        going = replay.Replay(editor, replay.parse(LINES), "file:///a.py")
        await going.run(speed=100)
    assert (going.text, going.notes.accepted, going.notes.keystrokes) == ("ab()", 0, 6)


@pytest.mark.parametrize("name", ["widget", "refactor"])
async def test_a_session_goes_through_a_real_server(name: str) -> None:
    session = replay.first_keystrokes(SESSIONS[name], 60)
    command = stand_ins.command("foresight", text=replay.final_text(SESSIONS[name]), share=1.0)
    async with connected(command, {"debounceMs": 0, "answerWithinMs": 10_000}) as editor:
        going = replay.Replay(editor, session, "file:///a")
        while not going.over:
            going.step()
            await going.answered()
        going.close()
    assert going.text == replay.final_text(session)
    assert going.notes.along > 0


@pytest.mark.parametrize("name", SESSIONS)
@pytest.mark.parametrize("count", [1, 7, 10_000])
def test_the_middle_of_a_session_types_what_the_session_does(name: str, count: int) -> None:
    session = SESSIONS[name]
    middle = replay.middle_keystrokes(session, count)
    typed = [event for event in session if isinstance(event.what, replay.Change)]
    mine = [event for event in middle if isinstance(event.what, replay.Change)]
    assert len(mine) == min(count, len(typed))
    first = typed.index(mine[0])
    assert mine == typed[first : first + count]
    before = session[: session.index(mine[0])]
    assert replay.opened(middle).text == replay.final_text(before)
    assert replay.final_text(middle) == replay.final_text(session[: session.index(mine[-1]) + 1])


async def test_the_last_change_of_what_is_suggested_is_timed() -> None:
    command = stand_ins.command("scripted", script=["xyz"], steps=3, step_seconds=0.05)
    async with connected(command, {"debounceMs": 0, "answerWithinMs": 0, "drafts": True}) as editor:
        going = replay.Replay(editor, replay.parse(LINES)[:2], "file:///a.py")
        while not going.over:
            going.step()
            await going.answered()
        while not going.notes.nfe:  # the final draft is still to come
            await asyncio.sleep(0.01)
        await going.answered()
        going.end()
    assert going.notes.nfe == [3]
    assert len(going.notes.final_ms) == 1
    assert going.notes.final_ms[0] > going.notes.answer_ms[0]


@pytest.mark.parametrize(("status", "expected"), [({"counters": {"model": 3}}, 3), ({}, None), ({"counters": 1}, None)])
async def test_a_server_that_does_not_count_is_an_error(
    status: dict[str, Any], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(stand_ins.command("scripted"), {}) as editor:

        async def answer(*_: object) -> dict[str, Any]:
            return status

        with monkeypatch.context() as patch:
            patch.setattr(editor, "request", answer)
            if expected is None:
                with pytest.raises(PalimpsestError, match="no counters"):
                    await editor.counters()
            else:
                assert (await editor.counters())["model"] == expected


async def test_a_server_that_ends_is_an_error() -> None:
    with pytest.raises(PalimpsestError, match="the server has ended: no luck today"):
        async with connected((sys.executable, "-c", "import sys; sys.exit('no luck today')"), {}):
            pass


async def test_a_refusal_of_the_server_is_an_error() -> None:
    async with connected(stand_ins.command("scripted"), {}) as editor:
        with pytest.raises(PalimpsestError, match="the server answered"):
            await editor.request("no/such", None)


TEXT = "def f(a):\n    return g(a)\n\n\nprint(f(1))\n"


@pytest.mark.parametrize(
    ("before", "behind", "share", "expected"),
    [
        ("def f(a):\n    return", "\n", 1.0, " g(a)"),
        ("def f(a):\n    return g(", ")\n", 1.0, "a"),
        ("def f(a):\n    return", "\n", 0.0, stand_ins.WRONG),
        ("def g(b", "):\n", 1.0, stand_ins.WRONG),
    ],
)
def test_foresight_tells_the_rest_of_the_line(before: str, behind: str, share: float, expected: str) -> None:
    engine = stand_ins.Foresight(TEXT, share)
    job = engine.submit(FillRequest(before + behind, (Span(len(before), len(before)),)))
    assert job.future.result(5).texts == (expected,)


def test_steps_after_the_keystroke_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        "import sys; from palimpsest_engine.runtime.scripted import ScriptedEngine as Engine\n"
        "from palimpsest_bench.server import stand_ins\n"
        "play = Engine._play\n"
        "def deaf(self, job, *rest):\n"
        "    class Never:\n"
        "        wait = staticmethod(lambda s, e=job.cancelled: __import__('time').sleep(s))\n"
        "        is_set = staticmethod(lambda: False)\n"
        "        set = staticmethod(lambda: None)\n"
        "    job.cancelled = Never\n"
        "    play(self, job, *rest)\n"
        "Engine._play = deaf\n"
        "stand_ins.main()"
    )
    command = stand_ins.command

    def deaf(*given: Any, **settings: Any) -> tuple[str, ...]:
        python, _, _, options = command(*given, **settings)
        return (python, "-c", script, options)

    monkeypatch.setattr(stand_ins, "command", deaf)
    assert figures.superseded_steps("x = 1\n", 6)["mean"] > 3

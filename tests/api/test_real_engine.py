"""The model that comes with the program answers all three protocols, on one server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import httpx
import msgspec
import psutil
import pytest

from api.conftest import Served, events, serving, taken
from palimpsest_api.limits import Limits
from palimpsest_engine import Draft, Engine, EngineSettings, Fill, FillRequest, Span, Verdict, judge, open_engine

TEXT = "def area(width, height):\n    return \n\n\nprint(area(3, 4))\n"
AT = TEXT.index("return ") + len("return ")
ASKED = FillRequest(TEXT, (Span(AT, AT),), language="python", tidy=True)
SIDES = {"input_prefix": TEXT[:AT], "input_suffix": TEXT[AT:]}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    found = open_engine(EngineSettings("embedded", "cpu"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def served(engine: Engine) -> Iterator[Served]:
    with serving(engine, Limits()) as found:
        yield found


def post(served: Served, path: str, body: object, **headers: str) -> httpx.Response:
    return httpx.post(f"{served.url}{path}", json=body, headers=headers, timeout=110, trust_env=False)


def test_the_same_seed_gives_the_same_middle_by_every_protocol(served: Served) -> None:
    named = {"language": "python", "seed": 0}
    texts = {
        post(served, "/infill", SIDES | named).json()["content"],
        post(served, "/v1/completions", {"prompt": TEXT[:AT], "suffix": TEXT[AT:]} | named).json()["choices"][0][
            "text"
        ],
        post(served, "/v1/fill", json.loads(msgspec.json.encode(ASKED))).json()["texts"][0],
    }
    [text] = texts
    assert text
    assert judge(ASKED, (text,)).status in ("valid", "no worse")


def test_a_middle_in_a_named_language_has_passed_the_gate_and_says_so(served: Served) -> None:
    found = post(served, "/infill", SIDES | {"filename": "shapes.py", "stop": ["\n"]}).json()
    assert found["verdict"] in ("valid", "no worse")
    assert "\n" not in found["content"]
    assert post(served, "/infill", SIDES).json()["verdict"] == "not checked"
    assert post(served, "/infill", SIDES | {"language": "lua"}).json()["content"] == ""


def test_several_holes_are_filled_and_their_drafts_shown(
    served: Served, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = engine.submit
    monkeypatch.setattr(engine, "submit", lambda request, on_draft: submit(request, taken(on_draft)))
    start, end = TEXT.index("width, height"), TEXT.index("):")
    body = {"text": TEXT, "holes": [{"start": start, "end": end}, {"start": AT, "end": AT}], "strength": 1.0}
    answer = post(served, "/v1/fill", body, Accept="text/event-stream")
    *drafts, last = events(answer.text)
    assert drafts
    assert all(len(msgspec.json.decode(each, type=Draft).holes) == 2 for each in drafts)
    fill = msgspec.json.decode(last, type=Fill)
    assert len(fill.texts) == 2
    assert isinstance(fill.verdict, Verdict)


@pytest.mark.parametrize("strength", [0.2, 0.5, 1.0])
def test_the_server_loses_nothing_of_diffusion(served: Served, engine: Engine, strength: float) -> None:
    text = TEXT.replace("return ", "return width * height")
    hole = Span(AT, AT + len("width * height"))
    asked = FillRequest(text, (hole,), language="python", strength=strength, seed=1, candidates=2)
    answer = post(served, "/v1/fill", json.loads(msgspec.json.encode(asked)))
    found = msgspec.json.decode(answer.content, type=Fill)
    alone = engine.submit(asked).future.result(110)
    assert (found.texts, found.alternatives, found.verdict) == (alone.texts, alone.alternatives, alone.verdict)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_signal_leaves_no_process_behind() -> None:
    code = (
        "import sys; from palimpsest_api.cli import command; from palimpsest_engine import open_engine; "
        "command.main(['--port', '0', '--model', 'embedded', '--device', 'cpu'], obj=open_engine)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().split(" at ")[1].split(",")[0]
            body = SIDES | {"language": "python"}
            answer = httpx.post(f"{url}/infill", json=body, timeout=110, trust_env=False)
            assert answer.json()["verdict"] in ("valid", "no worse")
            children = psutil.Process(process.pid).children(recursive=True)
            assert any("palimpsest-py" in line for line in process.stderr)  # it looks now and then what has been loaded
            process.terminate()
            assert process.wait(60) == 0
            gone, left = psutil.wait_procs(children, 30)
            assert (len(gone), left) == (len(children), [])
        finally:
            process.kill()


def test_it_is_ready_and_says_which_model_answers(served: Served) -> None:
    post(served, "/infill", SIDES)
    assert httpx.get(f"{served.url}/health", timeout=60, trust_env=False).json() == {"status": "ok"}
    [model] = httpx.get(f"{served.url}/v1/models", timeout=60, trust_env=False).json()["data"]
    assert model["id"].startswith("palimpsest")

"""llama.cpp's routes: what is asked becomes a `FillRequest`, and what is answered has llama.cpp's shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.conftest import Client, Recording, events, infill
from palimpsest_engine import Excerpt, LanguageUnknown, PalimpsestError, Span
from palimpsest_engine.runtime.scripted import ScriptedEngine


async def test_both_sides_and_the_beginning_of_the_middle_become_one_text_with_a_hole(client: Client) -> None:
    engine = Recording("x")
    await client(engine).post("/infill", json=infill("a = ", "\nb\n", prompt="1 + "))
    assert engine.request.text == "a = 1 + \nb\n"
    assert engine.request.holes == (Span(8, 8),)


async def test_extra_context_is_read_in_the_order_it_was_sent(client: Client) -> None:
    engine = Recording()
    extra = [{"filename": "a.py", "text": "A"}, {"filename": "b.py", "text": "B", "time": 1}, {"text": "C"}]
    await client(engine).post("/infill", json=infill(input_extra=extra))
    assert engine.request.context == (Excerpt("a.py", "A"), Excerpt("b.py", "B"), Excerpt("", "C"))


@pytest.mark.parametrize(
    ("sent", "query", "language", "path"),
    [
        ({}, "", None, None),
        ({"language": "python"}, "", "python", None),
        ({"filename": "src/a.rs"}, "", "rust", "src/a.rs"),
        ({"path": "a.py"}, "", "python", "a.py"),
        ({}, "?language=lua", "lua", None),
        ({}, "?path=x.go", "go", "x.go"),
        ({"language": "nobody-knows"}, "", "nobody-knows", None),
        ({"language": None}, "", None, None),
    ],
)
async def test_a_named_document_is_tidied_and_checked_and_no_other(
    client: Client, sent: dict[str, Any], query: str, language: str | None, path: str | None
) -> None:
    engine = Recording()
    await client(engine).post(f"/infill{query}", json=infill(**sent))
    asked = engine.request
    assert (asked.language, asked.path, asked.tidy) == (language, path, bool(sent.get("language") or path or query))


@pytest.mark.parametrize(
    ("sent", "seed"),
    [({"seed": 7}, 7), ({"seed": 2**32 + 1}, 1), ({"temperature": 0}, 0), ({"temperature": 0.0, "seed": -1}, 0)],
)
async def test_a_seed_is_used_and_none_is_left_to_chance_at_temperature_zero(
    client: Client, sent: dict[str, Any], seed: int
) -> None:
    engine = Recording()
    await client(engine).post("/infill", json=infill(**sent))
    assert engine.request.seed == seed


async def test_without_a_seed_two_requests_have_two(client: Client) -> None:
    engine = Recording()
    asking = client(engine)
    for _ in range(2):
        await asking.post("/infill", json=infill())
    assert engine.requests[0].seed != engine.requests[1].seed


WRITTEN = "return 1\n    x = 2\n\n  y = 3\nz"


@pytest.mark.parametrize(
    ("sent", "content", "why", "word"),
    [
        ({}, WRITTEN, "eos", ""),
        ({"n_predict": -1}, WRITTEN, "eos", ""),
        ({"n_predict": 1000}, WRITTEN, "eos", ""),
        ({"n_predict": 3}, "return 1", "limit", ""),
        ({"n_predict": 1}, "retu", "limit", ""),
        ({"stop": ["\n\n"]}, "return 1\n    x = 2", "word", "\n\n"),
        ({"stop": ["x", "turn"]}, "re", "word", "turn"),
        ({"stop": ["", "nowhere"]}, WRITTEN, "eos", ""),
        ({"n_indent": 4}, "return 1\n    x = 2\n", "limit", ""),
        ({"n_indent": 1}, "return 1\n    x = 2\n\n  y = 3", "limit", ""),
    ],
)
async def test_the_middle_ends_where_it_was_asked_to(
    client: Client, sent: dict[str, Any], content: str, why: str, word: str
) -> None:
    answer = (await client(Recording(WRITTEN)).post("/infill", json=infill(**sent))).json()
    assert (answer["content"], answer["stop_type"], answer["stopping_word"]) == (content, why, word)
    assert answer["stop"] is True


async def test_one_line_is_asked_for_where_a_line_end_stops_it(client: Client) -> None:
    engine = Recording()
    await client(engine).post("/infill", json=infill(stop=["\n"]))
    assert engine.request.max_lines == 1


async def test_a_cut_that_breaks_the_syntax_of_a_named_document_is_not_offered(client: Client) -> None:
    asking = client(Recording("f(1,\n  2)"))
    for sent, content in [({}, "f(1,"), ({"language": "python"}, "")]:
        answer = (await asking.post("/infill", json=infill("x = ", "\ny = 1\n", stop=["\n"], **sent))).json()
        assert answer["content"] == content
    assert "break the syntax" in answer["reason"]


async def test_nothing_to_predict_loads_the_model_and_fills_nothing(client: Client) -> None:
    engine = Recording()
    answer = await client(engine).post("/infill", json=infill("", "", n_predict=0, response_fields=[""]))
    assert (answer.status_code, answer.content, engine.warmed, engine.requests) == (200, b"{}", 1, [])


async def test_fields_that_were_asked_for_have_their_whole_names(client: Client) -> None:
    asked = ["content", "timings/predicted_n", "timings/none", "truncated", "tokens_cached", "no/such"]
    answer = await client(Recording("x")).post("/infill", json=infill(response_fields=asked))
    assert answer.json() == {"content": "x", "timings/predicted_n": 0, "truncated": False, "tokens_cached": 0}


async def test_the_answer_has_no_blanks_between_a_field_and_its_text(client: Client) -> None:
    """llama.vim looks for that before it reads the rest."""
    assert b'"content":"x"' in (await client(Recording("x")).post("/infill", json=infill())).content


async def test_a_stream_brings_the_text_and_then_the_end(client: Client) -> None:
    answer = await client(Recording("x\ny")).post("/infill", json=infill(stream=True))
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, last = map(json.loads, events(answer.text))
    assert (first["content"], first["stop"]) == ("x\ny", False)
    assert (last["content"], last["stop"], last["stop_type"], last["model"]) == ("", True, "eos", "scripted")


async def test_an_empty_middle_says_why(client: Client) -> None:
    answer = (await client(Recording("")).post("/infill", json=infill())).json()
    assert (answer["content"], answer["reason"]) == ("", "the script has nothing here")


async def test_a_language_that_the_model_does_not_know_is_an_empty_middle_with_a_reason(client: Client) -> None:
    asking = client(Recording("x", languages=["python"]))
    answer = await asking.post("/infill", json=infill(language="lua"))
    assert (answer.status_code, answer.json()["content"]) == (200, "")
    assert "this document is lua" in answer.json()["reason"]
    assert (await asking.post("/infill", json=infill())).json()["content"] == "x"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"x":' * 100_000, "nested too deeply"),
        (b'{"input_prefix": "\xff", "input_suffix": ""}', "not UTF-8"),
        (b'{"input_prefix": "\\ud800", "input_suffix": ""}', "not"),
        (b"[]", "Expected object, got array"),
        (b'{"input_suffix": ""}', "input_prefix"),
        (b'{"input_prefix": ""}', "input_suffix"),
        (b'{"input_prefix": 1, "input_suffix": ""}', "input_prefix"),
        (b'{"input_prefix": "", "input_suffix": "", "input_extra": {}}', "input_extra"),
        (b'{"input_prefix": "", "input_suffix": "", "n_predict": "4"}', "n_predict"),
        (b'{"input_prefix": "", "input_suffix": "", "seed": 1e999}', "out of range"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_in_llama_cpps_shape(
    client: Client, body: bytes, says: str
) -> None:
    answer = await client(Recording()).post("/infill", content=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (400, 400, "invalid_request_error")
    assert says in error["message"]


async def test_options_of_sampling_are_ignored(client: Client) -> None:
    options = {"top_k": 40, "samplers": ["infill"], "id_slot": 0, "cache_prompt": True, "grammar": "", "mirostat": 2}
    assert (await client(Recording("x")).post("/infill", json=infill(**options))).json()["content"] == "x"


# As llama.vscode's source has them: what it asks for with each pause, and what it sends ahead.
VSCODE = {
    "top_k": 40,
    "top_p": 0.99,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "n_indent": 4,
    "n_predict": 128,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 1000,
    "lora": [{"id": 0, "scale": 0.5}],
    "input_extra": [{"text": "x", "time": 1, "filename": "a.py"}],
    "prompt": "    return ",
}
AHEAD = {"samplers": [], "n_predict": 0, "cache_prompt": True, "t_max_prompt_ms": 500, "t_max_predict_ms": 1}


async def test_requests_of_llama_vscode_are_answered(client: Client) -> None:
    engine = Recording("1\n    # two\nthree")
    asking = client(engine)
    assert (await asking.post("/infill", json=infill("", "", **AHEAD))).json()["content"] == ""
    answer = (await asking.post("/infill", json=infill("def f():\n", "\n", **VSCODE))).json()
    assert answer["content"] == "1\n    # two"
    assert {"prompt_n", "prompt_ms", "prompt_per_second", "predicted_n", "predicted_ms", "predicted_per_second"} <= {
        *answer["timings"]
    }
    assert engine.request.text == "def f():\n    return \n"


@pytest.mark.parametrize(
    ("error", "status"),
    [(PalimpsestError("There is no such model."), 500), (LanguageUnknown("This is Lua."), 200)],
)
async def test_an_error_of_the_engine_is_its_sentence(client: Client, error: PalimpsestError, status: int) -> None:
    answer = await client(Recording(error=error)).post("/infill", json=infill())
    assert answer.status_code == status
    assert str(error) in answer.text


async def test_a_fault_is_an_error_without_its_text(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(ScriptedEngine):
        def submit(self, *_: Any) -> Any:
            raise ValueError("secret = 'code'")

    answer = await client(Faulty()).post("/infill", json=infill())
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "secret" not in answer.text
    assert "an answer failed" in caplog.text


async def test_an_unknown_path_and_method_are_refused_in_llama_cpps_shape(client: Client) -> None:
    asking = client(Recording())
    assert (await asking.get("/nothing")).json()["error"]["type"] == "not_found_error"
    assert (await asking.get("/infill")).status_code == 405


async def test_a_prompt_with_control_tokens_has_two_sides(client: Client) -> None:
    engine = Recording("1")
    prompt = "<|fim_prefix|>a = <|fim_suffix|>\nb<|fim_middle|>"
    answer = await client(engine).post("/completion", json={"prompt": prompt})
    assert answer.json()["content"] == "1"
    assert (engine.request.text, engine.request.holes) == ("a = \nb", (Span(4, 4),))


async def test_health_and_properties_are_those_of_a_server_of_llama_cpp(client: Client) -> None:
    asking = client(Recording())
    assert (await asking.get("/health")).json() == {"status": "ok"}
    properties = (await asking.get("/props")).json()
    assert isinstance(properties["default_generation_settings"], dict)
    assert (properties["model_alias"], properties["total_slots"]) == ("scripted", 1)


@pytest.mark.parametrize(
    ("state", "says"), [("loading", "Loading model"), ("starting", "Loading model"), ("error", "cannot be used")]
)
async def test_health_says_that_the_model_is_not_there_and_tells_no_more(client: Client, state: Any, says: str) -> None:
    from palimpsest_engine import EngineStatus

    class Ill(ScriptedEngine):
        def status(self) -> EngineStatus:
            return EngineStatus(state, "There is no /home/me/model.")

    answer = await client(Ill()).get("/health")
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "unavailable_error")
    assert says in answer.text
    assert "/home/me" not in answer.text

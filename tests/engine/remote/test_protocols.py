"""Each protocol is asked as its manual says, and answered by a server that says what such servers say."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from typing import Any

import pytest

from palimpsest_engine import EndpointError, Excerpt, Fill, Span, StartPiece
from palimpsest_engine.prompt.dialects import DIALECTS
from palimpsest_engine.remote.asking import PREFIX_ONLY_NOTE
from palimpsest_engine.remote.filler import NO_START

from .conftest import AT, PROPERTIES, TEXT, event, head, request, whole

# The blank before the cursor is left for the server to write: most vocabularies have it in the next word.
PREFIX, SUFFIX = TEXT.split("return ")[0] + "return", TEXT.split("return ")[1]


def llama(connection: socket.socket, path: str, body: dict[str, Any]) -> None:
    """A llama.cpp whose model has tokens for a middle."""
    if path == "/props":
        connection.sendall(whole(PROPERTIES))
    elif path == "/infill":
        texts = {0.0: ["width ", "* height"]}.get(body["temperature"], ["height ", f"* width * {body['seed']}"])
        connection.sendall(head() + b"".join(event({"content": text, "stop": False}) for text in texts))
        connection.sendall(event({"content": "", "stop": True, "stop_type": "eos"}))
    else:
        connection.sendall(head(status="404 Not Found"))


def llama_without_tokens(connection: socket.socket, path: str, body: dict[str, Any]) -> None:
    if path == "/infill":
        error = {"code": 501, "message": "Infill is not supported by this model", "type": "not_supported_error"}
        connection.sendall(whole({"error": error}, "501 Not Implemented"))
    elif path == "/completion":
        connection.sendall(head() + event({"content": "width * height", "stop": True, "stop_type": "word"}))
    else:
        llama(connection, path, body)


class Completions:
    """A server of OpenAI's completions. refuses: fields that it does not take, with what it says then."""

    def __init__(self, name: str, **refuses: str) -> None:
        self.name, self.refuses = name, refuses

    def __call__(self, connection: socket.socket, path: str, body: dict[str, Any]) -> None:
        if path == "/v1/models":
            connection.sendall(whole({"object": "list", "data": [{"id": self.name, "max_model_len": 2048}]}))
        elif path != "/v1/completions":
            connection.sendall(head("application/json", "404 Not Found"))
        elif fields := self.refuses.keys() & body.keys():
            error = {"message": self.refuses[fields.pop()], "type": "BadRequestError", "param": None, "code": 400}
            connection.sendall(whole({"error": error}, "400 Bad Request"))
        else:
            connection.sendall(head() + b": a comment\n\n")
            for index in range(body.get("n", 1)):
                text = f"width * {body['seed'] + index}" if body["temperature"] else "width * height"
                choice = {"index": index, "text": text, "finish_reason": None}
                connection.sendall(event({"choices": [choice]}))
                connection.sendall(event({"choices": [choice | {"text": "", "finish_reason": "stop"}]}))
            connection.sendall(event({"choices": [], "usage": {}}) + b"data: [DONE]\n\n")


class Ollamas:
    """An Ollama. abilities: what it says of the model; None for a version that does not say."""

    def __init__(self, abilities: list[str] | None) -> None:
        self.abilities = abilities

    def __call__(self, connection: socket.socket, path: str, body: dict[str, Any]) -> None:
        if path == "/api/version":
            connection.sendall(whole({"version": "0.12.0"}))
        elif path == "/api/tags":
            connection.sendall(whole({"models": [{"name": "tiny:latest"}, {"name": "qwen2.5-coder:0.5b"}]}))
        elif path == "/api/show":
            connection.sendall(whole({} if self.abilities is None else {"capabilities": self.abilities}))
        elif path != "/api/generate":
            connection.sendall(head("text/plain", "404 Not Found"))
        elif "suffix" in body and "insert" not in (self.abilities or ()):
            connection.sendall(whole({"error": "tiny does not support insert"}, "400 Bad Request"))
        else:
            lines = [{"response": "width ", "done": False}, {"response": "* height", "done": False}]
            lines.append({"response": "", "done": True, "done_reason": "stop"})
            data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
            connection.sendall(head("application/x-ndjson") + data)


EXCERPTS = (Excerpt("shapes.py", "SIDES = 4\n"),)


def test_llama_cpp_lays_the_prompt_out_itself(serve, ask):
    wire = serve(llama)
    asked = ask(wire.url)
    fill = asked.fill(request(context=EXCERPTS, max_lines=1, seed=3))
    assert (fill.texts, fill.verdict.status, fill.reason, fill.nfe) == (("width * height",), "valid", "", 3)
    assert [draft.texts for draft in asked.drafts] == [("width ",), ("width * height",), ("width * height",)]
    path, body, headers = wire.asked[-1]
    assert path == "/infill"
    assert (body["input_prefix"], body["input_suffix"], body["stop"]) == (PREFIX, SUFFIX, ["\n"])
    assert body["input_extra"] == [{"filename": "shapes.py", "text": "SIDES = 4"}]
    assert (body["temperature"], body["seed"], body["stream"]) == (0.0, 3, True)
    assert "authorization" not in headers
    status = asked.engine.status()
    assert (status.state, status.reason, status.model) == ("ready", "", "tiny")
    assert status.device == f"{wire.url.removeprefix('http://')} (llama.cpp)"


def test_a_server_is_asked_with_the_temperature_of_the_request(serve, ask):
    wire = serve(llama)
    fill = ask(wire.url).fill(request(max_lines=1, temperature=0.5, left_to_right=True, trace=3))
    assert wire.asked[-1][1]["temperature"] == 0.5
    assert fill.traced is None


def test_a_server_cannot_begin_with_a_canvas(serve, ask):
    wire = serve(llama)
    fill = ask(wire.url).fill(request(start=(StartPiece("noise", slots=3),)))
    assert (fill.texts, fill.reason) == (("",), NO_START)
    assert not [path for path, _, _ in wire.asked if path == "/infill"]


def test_llama_cpp_without_tokens_for_a_middle_gets_a_prompt_and_the_status_says_so(serve, ask):
    wire = serve(llama_without_tokens)
    asked = ask(wire.url)
    assert asked.fill(request(context=EXCERPTS)).texts == ("width * height",)
    assert wire.asked[-1][1]["prompt"] == "# shapes.py\nSIDES = 4\n\n" + PREFIX
    assert asked.engine.status().reason == PREFIX_ONLY_NOTE
    asked.fill(request())
    assert [path for path, _, _ in wire.asked] == ["/props", "/infill", "/completion", "/completion"]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
def test_a_named_dialect_writes_the_prompt(dialect, serve, ask):
    wire = serve(llama_without_tokens)
    assert ask(wire.url, dialect=dialect.name).fill(request()).texts == ("width * height",)
    path, body, _ = wire.asked[-1]
    assert path == "/completion"
    assert all(control.removeprefix("▁") in body["prompt"] for control in dialect.controls)
    assert {*dialect.ends} <= {*body["stop"]}
    assert PREFIX in body["prompt"]
    assert SUFFIX in body["prompt"]


def test_an_unknown_dialect_is_named_with_those_that_are_known(serve, ask):
    with pytest.raises(EndpointError, match=r"the dialect klingon; there are qwen, "):
        ask(serve(llama).url, dialect="klingon").fill(request())


def test_the_models_name_tells_the_dialect_of_a_completions_server(serve, ask):
    wire = serve(Completions("Qwen/Qwen2.5-Coder-1.5B"))
    asked = ask(wire.url)
    assert asked.fill(request()).texts == ("width * height",)
    body = wire.asked[-1][1]
    assert body["prompt"] == f"<|fim_prefix|><|fim_suffix|>{SUFFIX}<|fim_middle|>{PREFIX}"
    assert "suffix" not in body
    assert len(body["stop"]) == 4
    assert (asked.engine.status().reason, asked.engine.status().model) == ("", "Qwen/Qwen2.5-Coder-1.5B")


@pytest.mark.parametrize(
    ("model", "begins"),
    [
        (
            "qwen2.5-coder",
            "<|repo_name|>project\n<|file_sep|>shapes.py\nSIDES = 4\n\n<|file_sep|>file.python\n<|fim_prefix|>",
        ),
        ("codellama", " <PRE> <SUF>"),
        ("codegemma", "<|file_separator|>SIDES = 4\n\n<|fim_prefix|>def area"),
        ("granite-code", "<|fim_prefix|><|fim_suffix|>"),
    ],
)
def test_excerpts_stand_before_the_code_as_the_model_was_taught(model, begins, serve, ask):
    wire = serve(Completions(model))
    ask(wire.url).fill(request(context=EXCERPTS))
    prompt = wire.asked[-1][1]["prompt"]
    assert prompt.startswith(begins)
    assert ("# shapes.py\nSIDES = 4\n\ndef area" in prompt) is (model in ("codellama", "granite-code"))


def test_control_tokens_in_the_code_are_broken_up_in_what_is_sent_and_nowhere_else(serve, ask):
    wire = serve(Completions("qwen2.5-coder"))
    text = "ENDS = '<|fim_middle|>'\n" + TEXT
    asked = request(text, text.index("return ") + 7)
    fill = ask(wire.url).fill(asked)
    assert wire.asked[-1][1]["prompt"].count("<|fim_middle|>") == 1
    assert asked.splice(fill.texts).startswith("ENDS = '<|fim_middle|>'\n")


def test_a_completions_server_is_given_the_suffix_if_nothing_tells_the_dialect(serve, ask):
    wire = serve(Completions("tiny"))
    asked = ask(wire.url)
    assert asked.fill(request()).texts == ("width * height",)
    assert (wire.asked[-1][1]["prompt"], wire.asked[-1][1]["suffix"]) == (PREFIX, SUFFIX)
    assert asked.engine.status().reason == ""


def test_a_completions_server_that_takes_no_suffix_is_asked_without_and_the_status_says_so(serve, ask):
    wire = serve(Completions("tiny", suffix="suffix is not currently supported"))
    asked = ask(wire.url)
    assert asked.fill(request()).texts == asked.fill(request()).texts == ("width * height",)
    assert ["suffix" in body for path, body, _ in wire.asked if path == "/v1/completions"] == [True, False, False]
    assert asked.engine.status().reason == PREFIX_ONLY_NOTE


@pytest.mark.parametrize(("refuses", "counts"), [({}, [None, 2]), ({"n": "n is not supported"}, [None, 2, None, None])])
def test_several_candidates_come_at_once_where_the_server_can(refuses, counts, serve, ask):
    wire = serve(Completions("tiny", **refuses))
    fill = ask(wire.url).fill(request(candidates=3))
    assert fill.texts == ("width * height",)
    assert len(set(fill.alternatives)) == 2
    assert [body.get("n") for path, body, _ in wire.asked if path == "/v1/completions"] == counts


def test_several_candidates_come_one_after_the_other_where_it_cannot(serve, ask):
    wire = serve(llama)
    fill = ask(wire.url).fill(request(candidates=3, seed=7))
    assert (fill.texts, len(fill.alternatives)) == (("width * height",), 2)
    assert [body["seed"] for path, body, _ in wire.asked if path == "/infill"] == [7, 8, 9]


def test_the_same_request_gives_the_same_fill(serve, ask):
    asked = ask(serve(llama).url)
    first, second = (asked.fill(request(candidates=3, seed=7)) for _ in range(2))
    assert (first.texts, first.alternatives) == (second.texts, second.alternatives)


@pytest.mark.parametrize("abilities", [["completion", "insert"], ["completion"], None])
def test_ollama_is_given_the_suffix_where_the_models_template_takes_one(abilities, serve, ask):
    wire = serve(Ollamas(abilities))
    asked = ask(wire.url, model="tiny")
    assert asked.fill(request(max_lines=1)).texts == ("width * height",)
    body = wire.asked[-1][1]
    assert (body["model"], body["options"]["num_predict"]) == ("tiny", 64)
    takes = abilities is not None and "insert" in abilities
    assert (body.get("suffix"), body.get("raw")) == ((SUFFIX, None) if takes else (None, True))
    assert asked.engine.status().reason == ("" if takes else PREFIX_ONLY_NOTE)


def test_ollama_with_several_models_asks_for_a_name(serve, ask):
    with pytest.raises(EndpointError, match=r"several models: .* \(tiny:latest, qwen2.5-coder:0.5b\)"):
        ask(serve(Ollamas(None)).url).fill(request())
    with pytest.raises(EndpointError, match=r"has no model huge; it has tiny:latest"):
        ask(serve(Ollamas(None)).url, model="huge").fill(request())


def test_a_model_of_ollama_without_a_template_is_asked_in_its_dialect(serve, ask):
    wire = serve(Ollamas(["completion"]))
    asked = ask(wire.url, model="qwen2.5-coder:0.5b")
    asked.fill(request())
    assert wire.asked[-1][1]["prompt"].startswith("<|fim_prefix|>")
    assert asked.engine.status().reason == ""


@pytest.mark.parametrize(
    ("tail", "path"),
    [
        ("", "/infill"),
        ("/", "/infill"),
        ("/infill", "/infill"),
        ("/v1", "/v1/completions"),
        ("/v1/completions", "/v1/completions"),
    ],
)
def test_the_path_of_an_api_may_stay_on_the_url(tail, path, serve, ask):
    completions = Completions("tiny")
    wire = serve(lambda *asked: (completions if asked[1].startswith("/v1") else llama)(*asked))
    ask(wire.url + tail).fill(request())
    assert wire.asked[-1][0] == path


def test_the_key_goes_along_and_is_read_anew(serve, ask, tmp_path):
    wire, file = serve(llama), tmp_path / "key"
    file.write_text("first\n")
    file.chmod(0o600)
    asked = ask(wire.url, key_file=str(file))
    asked.fill(request())
    file.write_text("second\n")
    asked.fill(request())
    assert [headers["authorization"] for *_, headers in wire.asked] == ["Bearer first", "Bearer first", "Bearer second"]


def test_a_key_that_others_may_read_is_not_used(serve, ask, tmp_path):
    wire, file = serve(llama), tmp_path / "key"
    file.write_text("open")
    file.chmod(0o644)
    with pytest.raises(EndpointError, match="can be read by others: run `chmod 600 "):
        ask(wire.url, key_file=str(file)).fill(request())
    with pytest.raises(EndpointError, match="cannot be read"):
        ask(wire.url, key_file=str(tmp_path / "none")).fill(request())
    with pytest.raises(EndpointError, match="PALIMPSEST_NO_KEY is empty or not set"):
        ask(wire.url, key_env="PALIMPSEST_NO_KEY").fill(request())
    assert wire.asked == []


def streamed(*texts: str) -> Any:
    """A llama.cpp that sends these texts and gets no further than the client takes them, bytes one by one."""

    def answer(connection: socket.socket, path: str, body: dict[str, Any]) -> None:
        if path == "/props":
            connection.sendall(whole(PROPERTIES))
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b"".join(event({"content": text, "stop": False}) for text in texts)
        data += b'data: {"content": "", "stop": true, "stop_type": "limit"}\n\n'
        for byte in head() + data:
            connection.sendall(bytes([byte]))

    return answer


MIDDLES = [
    (("height\n\n\nif 1:\n", "print(area(3, 4))\n"), {}, "height\n\n\nif 1:\n", True),
    (("'é", "🎉", "ü'"), {}, "'é🎉ü'", False),
    (("'\ud83c", "\udf89'"), {}, "'🎉'", False),  # halves of one character, as some servers send them
    (("'x' + '\ud83c",), {}, "'x' + '", False),
    (("width\ufffd", "* 2"), {}, "width", True),
    (("width * ", "height\n```\n", "This multiplies"), {}, "width * height", True),
    (("width * height\nprint(1)\n", "print(2)"), {"max_lines": 1}, "width * height", True),
    (("a\r", "\nb\r\nc", "\nd"), {"max_lines": 3}, "a\nb\nc", True),
    (("width * height\n\n\nprint(area", "(3, 4))\n", "print()"), {}, "width * height", True),
    (("width * height<|endoftext|>", "import os"), {}, "width * height", True),
    (("   ", "\n"), {"tidy": True}, "", True),
]


@pytest.mark.parametrize(("texts", "more", "middle", "settled"), MIDDLES)
def test_a_middle_ends_where_it_should_however_it_is_cut_into_pieces(texts, more, middle, settled, serve, ask):
    # A text to be replaced: into an empty hole, everything is tidied.
    unchecked = replace(request(TEXT.replace("return ", "return x"), holes=(Span(AT, AT + 1),), **more), language=None)
    fill: Fill = ask(serve(streamed(*texts)).url, None).fill(unchecked)
    assert (fill.texts, fill.settled) == ((middle,), settled)


def test_a_document_with_carriage_returns_keeps_them(serve, ask):
    text = TEXT.replace("return ", "return 0").replace("\n", "\r\n")
    at = text.index("return ") + 7
    asked = request(text, holes=(Span(at, at + 1),))
    wire = serve(streamed("width * (\n        height\n    )"))
    fill = ask(wire.url, None).fill(asked)
    assert fill.texts == ("width * (\r\n        height\r\n    )",)
    assert wire.asked[-1][1]["input_prefix"] == PREFIX


def test_one_line_on_a_blank_line_does_not_begin_with_a_line_end(serve, ask):
    text = "def area(width, height):\n    \n\n\nprint(area(3, 4))\n"
    wire = serve(streamed("\n", "    return width\n", "x = 1"))
    fill = ask(wire.url, None).fill(request(text, text.index("    ") + 4, max_lines=1, tidy=True))
    assert fill.texts == ("return width",)
    assert wire.asked[-1][1]["stop"] == []


def test_a_middle_that_leaves_its_block_ends_there(serve, ask):
    wire = serve(streamed("width * height\n", "\n\ndef perimeter(", "w, h):\n", "    return 2", "\n"))
    text = "def area(width, height):\n    return \n"
    asked = ask(wire.url, None)
    fill = asked.fill(request(text, text.index("return ") + 7))
    assert fill.texts == ("width * height",)
    assert fill.nfe < 6
    assert fill.settled


def test_several_holes_are_filled_one_after_the_other(serve, ask):
    wire = serve(llama)
    text = "def area(width, height):\n    return \n\n\ndef twice(width, height):\n    return \n"
    first = text.index("return ") + 7
    second = text.rindex("return ") + 7
    asked = ask(wire.url)
    holes = (Span(first, first), Span(second, second))
    fill = asked.fill(request(text, holes=holes))
    assert fill.texts == ("width * height", "width * height")
    assert "return width * height" in wire.asked[-1][1]["input_prefix"]
    assert {len(draft.holes) for draft in asked.drafts} == {2}


def test_a_touch_up_is_answered_with_a_reason(serve, ask):
    wire = serve(llama)
    fill = ask(wire.url).fill(request(strength=0.5))
    assert (fill.texts, "cannot keep a part of a text" in fill.reason) == (("",), True)
    assert wire.asked[1:] == []


def test_a_middle_that_breaks_the_syntax_is_written_anew_once(serve, ask):
    def answer(connection, path, body):
        if path == "/props":
            connection.sendall(whole(PROPERTIES))
        else:
            text = "width *)" if body["temperature"] == 0 else "width"
            connection.sendall(head() + event({"content": text, "stop": True, "stop_type": "eos"}))

    wire = serve(answer)
    fill = ask(wire.url).fill(request())
    assert (fill.texts, fill.treatment) == (("width",), "repaired")
    assert len(wire.asked) == 3
    fill = ask(wire.url).fill(request(speculative=True))
    assert fill.empty
    assert fill.reason == "Every candidate would have broken the syntax."

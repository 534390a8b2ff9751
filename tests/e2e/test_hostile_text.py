"""Texts that crash a grammar, or keep it busy for minutes, cost a real server their own answers' content and nothing else."""

import pytest

from e2e.raw import message, place, raw

AT_ONCE = {"workspace/configuration": lambda params: [{"debounceMs": 0}] * len(params["items"])}
TEXTS = {
    "crash": ("yaml", "- " * 260 + "a"),
    "hang": ("lua", "[[" * 30_000),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_every_request_about_it_is_answered(kind):
    language, text = TEXTS[kind]
    uri = f"file:///project/hostile.{language}"
    where = {"start": place(0, 4), "end": place(0, 4)}
    with raw({"script": ["x"]}, AT_ONCE) as client:
        client.initialize()
        item = {"uri": uri, "languageId": language, "version": 1, "text": text}
        client.tell("textDocument/didOpen", {"textDocument": item})
        asked = [
            ("textDocument/codeAction", {"textDocument": {"uri": uri}, "range": where, "context": context})
            for context in ({"diagnostics": []}, {"diagnostics": [], "triggerKind": 2})
        ]
        asked += [("textDocument/inlineCompletion", client.at(0, 4, uri, kind=trigger)) for trigger in (2, 1)]
        asked += [("palimpsest/status", None)]
        client.send(b"".join(message(*each, f"q{number}") for number, each in enumerate(asked)))
        for number in range(len(asked)):
            answer = client.answer(f"q{number}")
            assert "result" in answer or answer["error"]["code"] == -32800
        answered = [each["id"] for each in client.received if "method" not in each]
        # The event loop goes on meanwhile: the last question is answered before the first, which waits for the parser.
        assert kind != "hang" or answered.index(f"q{len(asked) - 1}") < answered.index("q0")
        client.open("x = 1  # a", uri="file:///project/after.py")
        assert client.offered(uri="file:///project/after.py") == "x"
        assert client.end() == 0

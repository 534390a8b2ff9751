"""Texts that crash a grammar, or keep it busy for minutes, cost a real server their own answers' content and nothing else."""

import time

import pytest

from e2e.raw import place, raw

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
            client.asked("textDocument/codeAction", {"textDocument": {"uri": uri}, "range": where, "context": context})
            for context in ({"diagnostics": []}, {"diagnostics": [], "triggerKind": 2})
        ]
        asked += [
            client.asked("textDocument/inlineCompletion", client.at(0, 4, uri, kind=trigger)) for trigger in (2, 1)
        ]
        start = time.monotonic()
        client.status()
        assert time.monotonic() - start < 2  # the event loop goes on meanwhile
        for each in asked:
            assert "result" in client.answer(each) or client.answer(each)["error"]["code"] == -32800
        client.open("x = 1  # a", uri="file:///project/after.py")
        assert client.offered(uri="file:///project/after.py") == "x"
        assert client.end() == 0

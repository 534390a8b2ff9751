"""A real llama.cpp with a small real model: its three APIs, streaming, cancelling, candidates, the server above it."""

from __future__ import annotations

import itertools
import json
import time
import urllib.request

import pytest

from palimpsest_engine import FillCancelled, Span

from .conftest import request

# One group: a worker of pytest-xdist starts the server once.
pytestmark = pytest.mark.xdist_group("llama.cpp")


def busy(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/slots", timeout=10) as answer:
        return any(slot["is_processing"] for slot in json.load(answer))


@pytest.mark.parametrize(("tail", "protocol"), [("", "llama.cpp"), ("/v1/completions", "openai")])
def test_it_writes_a_middle_and_shows_it_on_the_way(tail, protocol, llama, ask):
    asked = ask(llama + tail, None)
    fill = asked.fill(request(max_lines=1, tidy=True))
    assert fill.verdict.status == "valid"
    assert fill.texts[0].strip()
    assert fill.nfe == len(asked.drafts) > 1
    shown = [draft.texts[0] for draft in asked.drafts]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
    status = asked.engine.status()
    assert (status.state, status.model) == ("ready", "SmolLM2-135M-Instruct.Q4_1")
    assert status.device.endswith(f"({protocol})")


def test_a_model_without_tokens_for_a_middle_is_told_so_by_infill(llama, ask):
    asked = ask(llama, None)
    asked.fill(request(max_lines=1))
    assert "reads only the text before the cursor" in asked.engine.status().reason


def test_the_same_request_gives_the_same_fill_and_candidates_differ(llama, ask):
    asked = ask(llama, None)
    first, second = (asked.fill(request(max_lines=1, tidy=True, candidates=4, seed=5)) for _ in range(2))
    assert (first.texts, first.alternatives) == (second.texts, second.alternatives)
    texts = [first.texts, *first.alternatives]
    assert len(set(texts)) == len(texts) > 1


def test_a_cancelled_fill_stops_the_server(llama, ask):
    asked = ask(llama, None)
    job = asked.engine.submit(request("# The story of a long day\n\n", 27), asked.drafts.append)
    while len(asked.drafts) < 3 and not job.future.done():
        time.sleep(0.005)
    assert not job.future.done()
    assert busy(llama)
    job.cancel()
    with pytest.raises(FillCancelled):
        job.future.result(5)
    deadline = time.monotonic() + 2
    while busy(llama):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_characters_of_several_bytes_arrive_whole(llama, ask):
    text = "# Répétez: 你好，世界 🎉\n# Répétez: 你好，世界 🎉\n# Répétez: "
    asked = ask(llama, None)
    hole = Span(len(text), len(text) + 1)  # a text to be replaced: into an empty hole no line above is repeated
    fill = asked.fill(request(text + "x\n", holes=(hole,), max_lines=1))
    assert not any("\ufffd" in piece or any("\ud800" <= each <= "\udfff" for each in piece) for piece in fill.texts)
    assert any(not each.isascii() for each in fill.texts)


def test_a_fill_of_two_holes_leaves_the_rest_alone(llama, ask):
    text = "def area(w, h):\n    return \n\n\ndef twice(n):\n    return \n"
    first, second = text.index("return ") + 7, text.rindex("return ") + 7
    asked = request(text, holes=(Span(first, first), Span(second, second)), max_lines=1, tidy=True)
    fill = ask(llama, None).fill(asked)
    spliced = asked.splice(fill.texts)
    assert spliced.startswith(text[:first])
    assert spliced.endswith(text[second:])

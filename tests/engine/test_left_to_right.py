"""Holes written left to right: parity with one causal pass, where a middle ends, and the control that is not served."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine import EngineSettings, Fill, FillCancelled, FillRequest, Span, UnsupportedCheckpoint
from palimpsest_engine.cache import RollbackCache
from palimpsest_engine.denoise import head
from palimpsest_engine.fill import Filler
from palimpsest_engine.left_to_right import common, middle_of, write
from palimpsest_engine.local import LocalEngine
from palimpsest_engine.passes import encode


def cache_of(model, ids):
    cache = RollbackCache.for_config(model.config.text_config)
    if ids:
        encode(model, cache, torch.tensor([ids]))
    return cache


def test_each_token_is_the_most_likely_after_all_before_it(model):
    """Token by token through the cache, held to one causal pass over the whole."""
    context, banned = [5, 17, 40, 8, 23], torch.zeros(97, dtype=torch.bool)
    banned[[3, 60]] = True
    opening = torch.tensor([11, 12, 50])
    (written,) = write(model, cache_of(model, context[:-1]), context[-1], 14, banned, opening)
    with torch.inference_mode():
        logits = head(model, encode(model, cache_of(model, []), torch.tensor([context + written]))[0])
    logits = logits.masked_fill(banned, -torch.inf)[len(context) - 1 : -1]
    assert written[0] == int(opening[logits[0, opening].argmax()])
    assert written[1:] == logits[1:].argmax(-1).tolist()
    assert len(set(written)) > 1


def test_it_ends_where_it_is_told(model):
    banned = torch.zeros(97, dtype=torch.bool)
    (written,) = write(model, cache_of(model, [5]), 9, 14, banned, ended=lambda ids: len(ids) == 3)
    assert len(written) == 3


@pytest.mark.parametrize(
    ("text", "suffix", "middle", "sure"),
    [
        ("a + b\n    return total\n", "\n    return total\n\n", "a + b", True),
        ("a + b\n    retur", "\n    return total\n\n", "a + b", False),
        ("x, y) -> None:\n    pass", ") -> None:\n", "x, y", True),
        ("    a = 1\n    b = 2\n    return a", "    return a\n", "    a = 1\n    b = 2\n", True),
        ("    a = 1\n    b = 2", "    return a\n", "    a = 1\n", False),
        ("return x\n\ndef g", "", "return x\n", True),
        ("return x", "", "return x", False),
        ("nothing of it", "\n", "nothing of it", False),
        ("", "\n", "", False),
        (")", ")", ")", False),
    ],
)
def test_where_a_middle_ends(text, suffix, middle, sure):
    assert middle_of(text, suffix) == (middle, sure)


@given(st.text("ab\n (", max_size=20), st.text("ab\n )", min_size=1, max_size=30))
def test_the_middle_is_a_beginning_after_which_the_suffix_begins_if_that_is_sure(text, suffix):
    middle, sure = middle_of(text, suffix)
    assert text.startswith(middle)
    again = common(text[len(middle) :], suffix)
    assert sure == (bool(middle) and len(again) >= min(12, len(suffix)) and bool(again.strip()))


def fill_of(filler, request, cancelled=lambda: False):
    *_, fill = filler.fill(request, cancelled)
    assert isinstance(fill, Fill)
    return fill


def test_a_control_is_refused_unless_asked_for(checkpoint, checkpoint_folder, tmp_path):
    control = replace(checkpoint, spec=replace(checkpoint.spec, left_to_right=True))
    with pytest.raises(UnsupportedCheckpoint, match="left-to-right control"):
        Filler(control)
    for path in checkpoint_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    spec = tmp_path / "palimpsest.json"
    spec.write_text(spec.read_text("utf-8").replace('"name"', '"left_to_right": true, "name"'), "utf-8")
    engine = LocalEngine(EngineSettings(str(tmp_path), device="cpu", dtype="float32"))
    with pytest.raises(UnsupportedCheckpoint, match="left-to-right control"):
        engine.submit(FillRequest("a", (Span(1, 1),))).future.result(30)
    engine.close()


def test_a_control_s_filler_ends_the_middle(checkpoint, monkeypatch):
    control = replace(checkpoint, spec=replace(checkpoint.spec, left_to_right=True))
    filler = Filler(control, left_to_right=True)
    scripted = [filler.tokens.encode("(x)")[0], filler.spec.filler, filler.tokens.encode("y")[0]]
    seen = []

    def script(model, cache, last, most, banned, opening, ended, rows, generator):
        assert not banned[filler.spec.filler]
        for token in scripted:
            seen.append(token)
            if ended(list(seen)):
                break
        return [seen]

    monkeypatch.setattr("palimpsest_engine.one_canvas.write", script)
    fill = fill_of(filler, FillRequest("\n", (Span(0, 0),), language=None))
    assert seen == scripted[:2]
    assert fill.texts == (filler.tokens.decode(scripted[:1]),)


@pytest.mark.parametrize("text", ["", "x = ", "def f(x):\n    retu\n", "é = 1\r\n"])
def test_left_to_right_answers_like_any_filler(checkpoint, text):
    """The same answer each time, nothing denoised, the size asked for, within the limit of lines."""
    filler = Filler(checkpoint, left_to_right=True)
    at = len(text.rstrip("\r\n"))
    request = FillRequest(text, (Span(at, at),), language=None)
    fill = fill_of(filler, request)
    assert fill_of(filler, request).texts == fill.texts
    most = max(filler.spec.hole_sizes) + filler.spec.pins
    assert 1 <= fill.nfe <= most
    assert fill_of(filler, replace(request, sizes=(5,))).nfe == 5
    assert len(fill_of(filler, replace(request, max_lines=1)).texts[0].splitlines()) <= 1


def test_left_to_right_two_holes_are_written_one_after_the_other(checkpoint):
    filler = Filler(checkpoint, left_to_right=True)
    fill = fill_of(filler, FillRequest("a = \nb = \n", (Span(4, 4), Span(9, 9)), language=None, sizes=(3,)))
    assert fill.nfe == 6
    assert len(fill.texts) == 2


def test_left_to_right_is_cancelled_between_tokens(checkpoint):
    filler = Filler(checkpoint, left_to_right=True)
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(FillCancelled):
        fill_of(filler, FillRequest("x = ", (Span(4, 4),), language=None, sizes=(8,)), cancelled)
    assert len(asked) == 4

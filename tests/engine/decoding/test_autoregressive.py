"""Holes written left to right: parity with one causal pass, the end of a middle, and the control that is not served."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palimpsest_engine import EngineSettings, Fill, FillCancelled, FillRequest, Span, UnsupportedCheckpoint
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.decoding.autoregressive import write, writing
from palimpsest_engine.decoding.middle import common, middle_of
from palimpsest_engine.decoding.prompt_lookup import AHEAD, Lookup
from palimpsest_engine.decoding.scoring import log_likelihoods
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.model.forward import encode, head
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.runtime.local import LocalEngine


def cache_of(model, ids):
    cache = RollbackCache.for_config(model.config.text_config)
    if ids:
        encode(model, cache, torch.tensor([ids]))
    return cache


@pytest.mark.parametrize("guesses", [False, True])
def test_the_likelihoods_of_writing_are_those_of_one_pass_over_the_whole(model, guesses):
    context, banned = [5, 17, 40, 8, 23], torch.zeros(97, dtype=torch.bool)
    logs = [[], []]
    draft = (lambda written: [11, 12]) if guesses else (lambda written: ())
    cache = cache_of(model, context[:-1]).branch(3, len(context) - 1)
    generator = torch.Generator().manual_seed(3)
    *_, rows = writing(model, cache, context[-1], 9, banned, rows=3, generator=generator, draft=draft, logs=logs)
    whole = log_likelihoods(model, cache_of(model, context[:-1]).branch(3, len(context) - 1), context[-1], rows)
    for row in range(2):
        assert logs[row] == pytest.approx(whole[row], abs=1e-4)


def test_each_token_is_the_most_likely_after_all_before_it(model):
    """Compare writing token by token through the cache with one causal pass over the whole."""
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


def test_a_row_ends_when_its_caller_says_so(model):
    banned = torch.zeros(97, dtype=torch.bool)
    (written,) = write(model, cache_of(model, [5]), 9, 14, banned, ended=lambda ids: len(ids) == 3)
    assert len(written) == 3


def guesses_of(texts, at, right, wrong):
    """Return a draft for rows with known texts: `right` tokens of the text at each place, then wrong ones."""

    def draft(written):
        text = next((text for text in texts if text[: len(written)] == written), [])
        ahead = text[len(written) : len(written) + right[(len(written) + at) % len(right)]]
        return ahead + wrong[: (len(written) * 7 + at) % 4]

    return draft


@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 3),
    most=st.integers(1, 12),
    stops=st.lists(st.integers(1, 14), min_size=3, max_size=3),
    right=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    wrong=st.lists(st.integers(0, 96), max_size=3),
    opening=st.sampled_from([None, [11, 12, 50]]),
)
@settings(max_examples=60, deadline=None)
def test_guesses_change_nothing_but_the_number_of_passes(model, seed, rows, most, stops, right, wrong, opening):
    """With right, wrong, too long or no guesses, the text is that of one token a pass."""
    context, banned = [5, 17, 40, seed % 90, 23], torch.zeros(97, dtype=torch.bool)
    banned[[3, 60]] = True
    opening = None if opening is None else torch.tensor(opening)

    def ended(ids):
        return len(ids) >= stops[sum(ids) % 3]

    def written(draft):
        generator = torch.Generator().manual_seed(seed)
        cache = cache_of(model, context[:-1]).branch(rows)
        passes = list(writing(model, cache, context[-1], most, banned, opening, ended, rows, generator, draft))
        return passes[-1], len(passes)

    plain, passes = written(lambda text: ())
    assert passes == max(map(len, plain))
    guessed, fewer = written(guesses_of(plain, seed % 5, right, wrong))
    assert guessed == plain
    assert fewer <= passes
    told, least = written(lambda text: next(ids for ids in plain if ids[: len(text)] == text)[len(text) :])
    assert told == plain
    assert least == 1 or rows > 1


def test_guesses_from_a_document_change_nothing_that_trained_weights_write_and_save_passes():
    document = resources.files("palimpsest_bench").joinpath("document.txt").read_text("utf-8")
    checkpoint = load(EngineSettings(dtype="float32", device="cpu"))
    model, passes, plain_passes = checkpoint.model, 0, 0
    banned = torch.zeros(model.config.text_config.vocab_size, dtype=torch.bool)
    for start in range(0, 4000, 500):
        context = checkpoint.tokenizer.encode(document[start : start + 450]).ids
        texts, counts = [], []
        for draft in (lambda written: (), Lookup(context)):
            passes_made = list(writing(model, cache_of(model, context[:-1]), context[-1], 16, banned, draft=draft))
            counts.append(len(passes_made))
            texts += passes_made[-1]
        assert texts[0] == texts[1]
        assert counts[1] <= counts[0] == 16
        plain_passes, passes = plain_passes + counts[0], passes + counts[1]
    assert passes < 0.7 * plain_passes


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.lists(st.integers(0, 4), max_size=6))
def test_a_guess_followed_the_same_token_before(context, written):
    whole = context + written
    guess = Lookup(context)(written)
    assert len(guess) <= AHEAD
    stood = [i for i in range(1, len(whole)) if whole[i - 1] == whole[-1]]
    assert bool(guess) == bool(stood)
    if guess:
        assert any(whole[i : i + AHEAD] == guess for i in stood)


@pytest.mark.parametrize(
    ("context", "others", "written", "guess"),
    [
        ([7, 1, 2, 3, 4, 5, 6, 9, 1, 2], [], [], [3, 4, 5, 6]),
        ([1, 2, 3, 9, 2, 4, 9, 1, 2], [], [], [3, 9, 2, 4]),  # two tokens alike count more than one that is nearer
        ([1, 2, 3, 1, 2, 4, 1, 2], [], [], [4, 1, 2]),  # the nearer one of two
        ([1, 2, 3], [[8, 9]], [], [8, 9]),  # another try begins where the context ends
        ([1, 2, 3], [[8, 9, 6], [8, 7]], [8, 9], [6]),
        ([1, 2, 3], [], [8], []),
        ([1, 2, 3], [], [8, 9, 8], [9, 8]),  # what has been written counts, too
        ([55_296, 3, 55_296], [], [], [3, 55_296]),  # a surrogate is as good a code point as any
    ],
)
def test_the_longest_then_the_last_match_is_guessed(context, others, written, guess):
    assert Lookup(context, others)(written) == guess


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
def test_a_middle_ends_before_the_suffix_begins_again(text, suffix, middle, sure):
    assert middle_of(text, suffix) == (middle, sure)


@given(st.text("ab\n (", max_size=20), st.text("ab\n )", min_size=1, max_size=30))
def test_a_sure_middle_is_followed_by_the_suffix(text, suffix):
    middle, sure = middle_of(text, suffix)
    assert text.startswith(middle)
    again = common(text[len(middle) :], suffix)
    assert sure == (bool(middle) and len(again) >= min(12, len(suffix)) and bool(again.strip()))


def fill_of(filler, request, cancelled=lambda: False):
    *_, fill = filler.fill(request, cancelled)
    assert isinstance(fill, Fill)
    return fill


def test_a_control_is_refused_unless_requested(checkpoint, checkpoint_folder, tmp_path):
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


def test_the_filler_of_a_control_ends_the_middle(checkpoint, monkeypatch):
    control = replace(checkpoint, spec=replace(checkpoint.spec, left_to_right=True))
    filler = Filler(control, left_to_right=True)
    scripted = [filler.tokens.encode("(x)")[0], filler.spec.filler, filler.tokens.encode("y")[0]]
    seen = []

    def script(model, cache, last, most, banned, opening, ended, *others):
        assert not banned[filler.spec.filler]
        for token in scripted:
            seen.append(token)
            yield [list(seen)]
            if ended(list(seen)):
                return

    monkeypatch.setattr("palimpsest_engine.fill.writer.writing", script)
    fill = fill_of(filler, FillRequest("\n", (Span(0, 0),), language=None))
    assert seen == scripted[:2]
    assert fill.texts == (filler.tokens.decode(scripted[:1]),)


@pytest.mark.parametrize("text", ["", "x = ", "def f(x):\n    retu\n", "é = 1\r\n"])
def test_left_to_right_repeats_itself_and_keeps_sizes_and_lines(checkpoint, text):
    """The answer is the same each time, with the requested size, within the limit of lines."""
    filler = Filler(checkpoint, left_to_right=True)
    at = len(text.rstrip("\r\n"))
    request = FillRequest(text, (Span(at, at),), language=None)
    fill = fill_of(filler, request)
    assert fill_of(filler, request).texts == fill.texts
    most = max(filler.spec.hole_sizes) + filler.spec.pins
    assert 1 <= fill.nfe <= most
    assert 1 <= fill_of(filler, replace(request, sizes=(5,))).nfe <= 5
    assert len(fill_of(filler, replace(request, max_lines=1)).texts[0].splitlines()) <= 1


def test_left_to_right_two_holes_are_written_one_after_the_other(checkpoint):
    filler = Filler(checkpoint, left_to_right=True)
    fill = fill_of(filler, FillRequest("a = \nb = \n", (Span(4, 4), Span(9, 9)), language=None, sizes=(3,)))
    assert 2 <= fill.nfe <= 6
    assert len(fill.texts) == 2


def test_left_to_right_is_cancelled_between_passes(checkpoint, monkeypatch):
    monkeypatch.setattr("palimpsest_engine.fill.writer.Lookup", lambda *anything: lambda written: ())
    filler = Filler(checkpoint, left_to_right=True)
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(FillCancelled):
        fill_of(filler, FillRequest("x = ", (Span(4, 4),), language=None, sizes=(8,)), cancelled)
    assert len(asked) == 4

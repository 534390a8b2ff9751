"""The denoising loop: token-for-token parity with stock `generate()`, and what pins, bans and seeds promise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

from palimpsest_engine.cache import RollbackCache, encode
from palimpsest_engine.denoise import Canvas, denoise
from palimpsest_engine.spec import Sampling

CANVAS, VOCABULARY = 12, 97
# Thresholds at which a random model stops sometimes early, sometimes late and sometimes not at all.
LIVELY = Sampling(max_steps=9, t_min=0.02, t_max=0.06, entropy_bound=3.0, stability=0, confidence=0.2)
# The argmax of a random model never stands still: this one runs to the end (the trained model's parity test does not).
PATIENT = Sampling(max_steps=5, t_min=0.4, t_max=0.8, entropy_bound=0.1, stability=1, confidence=0.005)


def encoded(model, tokens):
    cache = RollbackCache.for_config(model.config.text_config)
    encode(model, cache, tokens)
    return cache


def ours(model, ids, blocks, sampling, seed):
    """Block after block with nothing pinned, as `generate()` does; (sequences, steps of each block)."""
    generator = torch.Generator().manual_seed(seed)
    cache = RollbackCache.for_config(model.config.text_config)
    sequence, new, steps = ids, ids, []
    for _ in range(blocks):
        encode(model, cache, new)
        everything = torch.ones(ids.shape[0], CANVAS, dtype=torch.bool)
        canvas = Canvas(torch.zeros(ids.shape[0], CANVAS, dtype=torch.long), everything)
        *_, last = denoise(model, cache, canvas, sampling, generator)
        new = last.tokens
        steps.append(last.number)
        sequence = torch.cat((sequence, new), 1)
    return sequence, steps


@pytest.mark.parametrize("length", [1, 5, 23])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sampling", [LIVELY, PATIENT], ids=["lively", "patient"])
def test_unpinned_equals_stock_generate(model, sampling, batch, length):
    for seed in range(5):
        ids = torch.randint(0, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1000 + seed))
        torch.manual_seed(seed)
        stock = model.generate(
            ids,
            max_new_tokens=3 * CANVAS,
            eos_token_id=None,
            pad_token_id=None,
            max_denoising_steps=sampling.max_steps,
            t_min=sampling.t_min,
            t_max=sampling.t_max,
            sampler_config=EntropyBoundSamplerConfig(entropy_bound=sampling.entropy_bound),
            stability_threshold=sampling.stability,
            confidence_threshold=sampling.confidence,
        )
        assert torch.equal(ours(model, ids, 3, sampling, seed)[0], stock.sequences)


def test_the_lively_cases_stop_early_and_late(model):
    steps = []
    for seed in range(5):
        ids = torch.randint(0, VOCABULARY, (1, 5), generator=torch.Generator().manual_seed(1000 + seed))
        steps += ours(model, ids, 3, LIVELY, seed)[1]
    assert min(steps) < 5 < max(steps)


canvases = st.lists(st.one_of(st.none(), st.integers(0, VOCABULARY - 1)), min_size=1, max_size=20)


def canvas_of(cells, banned=None, allowed=None):
    ids = torch.tensor([[0 if cell is None else cell for cell in cells]])
    return Canvas(ids, torch.tensor([[cell is None for cell in cells]]), banned, allowed or {})


@settings(max_examples=25, deadline=None)
@given(cells=canvases, seed=st.integers(0, 2**31), bans=st.sets(st.integers(0, VOCABULARY - 1), max_size=90))
def test_pins_never_change_and_banned_tokens_never_appear(model, cells, seed, bans):
    banned = torch.zeros(VOCABULARY, dtype=torch.bool)
    banned[list(bans)] = True
    cache = encoded(model, torch.tensor([[2, 5, 9]]))
    for step in denoise(model, cache, canvas_of(cells, banned), LIVELY, torch.Generator().manual_seed(seed)):
        for cell, token in zip(cells, step.tokens[0].tolist(), strict=True):
            assert token == cell if cell is not None else token not in bans


@settings(max_examples=10, deadline=None)
@given(cells=canvases, seed=st.integers(0, 2**31))
def test_same_seed_same_fill(model, cells, seed):
    runs = []
    for _ in range(2):
        cache = encoded(model, torch.tensor([[2, 5, 9]]))
        steps = denoise(model, cache, canvas_of(cells), LIVELY, torch.Generator().manual_seed(seed))
        runs.append([step.tokens.tolist() for step in steps])
    assert runs[0] == runs[1]


def test_what_the_decoder_is_shown_has_the_pins_in_it_at_every_step(model, monkeypatch):
    cells = [None, 7, None, None, 8, 9]
    shown, conditioning = [], []
    forward = type(model.model).forward

    def spy(self, **kwargs):
        shown.append(kwargs["decoder_input_ids"].tolist()[0])
        logits = kwargs["self_conditioning_logits"]
        conditioning.append(None if logits is None else logits.clone())
        return forward(self, **kwargs)

    monkeypatch.setattr(type(model.model), "forward", spy)
    cache = encoded(model, torch.tensor([[2, 5]]))
    banned = torch.zeros(VOCABULARY, dtype=torch.bool)
    banned[50:] = True
    list(denoise(model, cache, canvas_of(cells, banned), LIVELY, torch.Generator().manual_seed(0)))
    assert len(shown) > 1
    assert all((row[1], row[4], row[5]) == (7, 8, 9) for row in shown)
    for logits in conditioning[1:]:
        soft = logits.softmax(-1)
        assert soft[0, 1, 7] == soft[0, 4, 8] == soft[0, 5, 9] == 1.0  # one-hot at the pins
        assert float(soft[..., 50:].sum()) == 0.0  # the ban reaches the self-conditioning


def test_an_all_pinned_canvas_takes_no_steps(model):
    cache = encoded(model, torch.tensor([[2, 5]]))
    assert list(denoise(model, cache, canvas_of([3, 4, 5]), LIVELY, torch.Generator())) == []


def test_pins_spend_no_entropy_and_take_no_part_in_the_stop_test(model):
    """A single free position among 11 pins stops on its own entropy, not on a mean diluted by the pins."""
    cache = encoded(model, torch.tensor([[2, 5, 9]]))
    strict = Sampling(max_steps=6, t_min=0.9, t_max=1.0, entropy_bound=0.1, stability=0, confidence=0.5)
    for seed in range(5):
        steps = list(denoise(model, cache, canvas_of([None] + [7] * 11), strict, torch.Generator().manual_seed(seed)))
        for step in steps:
            assert step.entropy[0, 1:].abs().max() == 0
            assert bool(step.accepted[0, 1:].all())
            assert bool(step.finished[0]) == bool(step.entropy[0, 0] < strict.confidence)


@settings(max_examples=10, deadline=None)
@given(only=st.sets(st.integers(0, VOCABULARY - 1), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_an_allowed_set_holds_at_its_position(model, only, seed):
    cache = encoded(model, torch.tensor([[2, 5, 9]]))
    canvas = canvas_of([None] * 4, allowed={0: torch.tensor(sorted(only))})
    for step in denoise(model, cache, canvas, LIVELY, torch.Generator().manual_seed(seed)):
        assert int(step.tokens[0, 0]) in only


def test_the_start_is_shown_to_the_first_pass(model, monkeypatch):
    shown = []
    forward = type(model.model).forward
    monkeypatch.setattr(
        type(model.model),
        "forward",
        lambda self, **kw: (shown.append(kw["decoder_input_ids"]), forward(self, **kw))[1],
    )
    cache = encoded(model, torch.tensor([[2, 5, 9]]))
    start = torch.tensor([[11, 12, 13, 14]])
    known = torch.tensor([[True, False, True, False]])
    everything = torch.ones(1, 4, dtype=torch.bool)
    canvas = Canvas(torch.zeros(1, 4, dtype=torch.long), everything, start=start, start_known=known)
    next(denoise(model, cache, canvas, LIVELY, torch.Generator().manual_seed(3)))
    assert shown[0][0, 0] == 11
    assert shown[0][0, 2] == 13


def test_rows_that_go_on_go_on_as_they_would_have_done(model):
    """Everything accepted at almost no temperature leaves nothing to chance: then the kept rows end as in the full run."""
    certain = Sampling(max_steps=5, t_min=1e-4, t_max=2e-4, entropy_bound=1e9, stability=1, confidence=1e-9)
    ids = torch.tensor([[0, 0, 7, 0], [0, 0, 0, 0], [5, 0, 0, 0]])
    is_hole = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]], dtype=torch.bool)
    start = torch.randint(0, VOCABULARY, ids.shape, generator=torch.Generator().manual_seed(1))
    canvas = Canvas(ids, is_hole, start=start, start_known=is_hole)

    def run(keep_at):
        cache = encoded(model, torch.tensor([[2, 5, 9]])).branch(3)
        work = denoise(model, cache, canvas, certain, torch.Generator().manual_seed(0))
        steps = [next(work)]
        for _ in range(4):
            try:
                steps.append(work.send([2, 0] if len(steps) == keep_at else None))
            except StopIteration:
                break
        return steps

    whole, narrowed = run(keep_at=99), run(keep_at=2)
    assert [step.tokens.shape[0] for step in narrowed] == [3, 3, *[2] * (len(narrowed) - 2)]
    assert len(narrowed) > 3
    for full, some in zip(whole[2:], narrowed[2:], strict=False):
        assert torch.equal(full.tokens[[0, 2]], some.tokens)
        torch.testing.assert_close(full.entropy[[0, 2]], some.entropy, atol=1e-4, rtol=1e-3)

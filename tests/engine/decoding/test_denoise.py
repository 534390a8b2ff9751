"""The denoising loop: token-for-token parity with stock `generate()`, and the promises of pins, bans and seeds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.causal import model_of
from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

from palimpsest_engine.checkpoint.profile import profiled
from palimpsest_engine.checkpoint.spec import Denoising, Sampling, spec_of_chat
from palimpsest_engine.decoding import denoise as denoising
from palimpsest_engine.decoding.denoise import STOCK, Canvas, denoise
from palimpsest_engine.decoding.sampler import Sampled, as_stock, drawn, entropy_of
from palimpsest_engine.model.canvas import CanvasAdapter, give_canvas
from palimpsest_engine.model.forward import decode, encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.layers import CACHE

CANVAS, VOCABULARY = 12, 97
# Thresholds at which a random model stops sometimes early, sometimes late and sometimes not at all.
LIVELY = Sampling(max_steps=9, t_min=0.02, t_max=0.06, entropy_bound=3.0, stability=0, confidence=0.2)
# The argmax of a random model never stands still: this one runs to the end (the trained model's parity test does not).
PATIENT = Sampling(max_steps=5, t_min=0.4, t_max=0.8, entropy_bound=0.1, stability=1, confidence=0.005)


MASK = VOCABULARY - 1
WAYS = {
    "uniform noise, conditioned": STOCK,
    "uniform noise, shifted": Denoising(shift=True, conditioned=False),
    "masks, shifted, kept": Denoising("mask", MASK, shift=True, conditioned=False, revises=False),
    "masks, kept": Denoising("mask", MASK, conditioned=False, revises=False),
    "masks, remasked": Denoising("mask", MASK, shift=True, conditioned=False, revises=True),
    "masks, remasked, accepted ones kept": Denoising("mask", MASK, shift=True, conditioned=False, keeps=True),
}


@pytest.fixture(scope="session")
def causal():
    """A left-to-right model that denoises, with an embedding and a head of its own for the mask."""
    made = model_of("qwen2", vocabulary=VOCABULARY)
    made.final_logit_softcapping = None
    row = torch.randn(made.config.hidden_size, generator=torch.Generator().manual_seed(0))
    give_canvas(made, CanvasAdapter(rows_in={MASK: row}, rows_out={3: row}))
    return made


@pytest.fixture(scope="session", params=WAYS)
def way(request, model, causal):
    """(Model, its way of denoising): both families, by the same code."""
    how = WAYS[request.param]
    return (model if how.conditioned else causal), how


def encoded(model, tokens):
    cache = RollbackCache.for_config(model.config.get_text_config())
    encode(model, cache, tokens)
    return cache


def ours(model, ids, blocks, sampling, seed):
    """Denoise block after block with nothing pinned, as `generate()` does; return (sequences, steps of each block)."""
    generator = torch.Generator().manual_seed(seed)
    cache = RollbackCache.for_config(model.config.get_text_config())
    sequence, new, steps = ids, ids, []
    for _ in range(blocks):
        encode(model, cache, new)
        everything = torch.ones(ids.shape[0], CANVAS, dtype=torch.bool)
        canvas = Canvas(torch.zeros(ids.shape[0], CANVAS, dtype=torch.long), everything)
        *_, last = denoise(model, cache, canvas, sampling, generator, as_stock)
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


def scripted(monkeypatch, drafts, entropy):
    """Let each step find these tokens likeliest, the last one for ever, with this entropy; return the temperatures."""
    temperatures = []

    def sampled(logits, *, temperature, **rest):
        token = drafts[min(len(temperatures), len(drafts) - 1)]
        temperatures.append(temperature)
        ids = torch.full((len(logits),), token)
        return Sampled(torch.softmax(logits.float(), -1), ids, ids, torch.full((len(logits),), entropy))

    monkeypatch.setattr(denoising, "sample", sampled)
    return temperatures


def steps_of(model, sampling, rows=1):
    """Return the number of steps until each row has finished; None for one that never does."""
    cache = encoded(model, torch.tensor([[2, 5, 9]] * rows))
    canvas = Canvas(torch.zeros(rows, CANVAS, dtype=torch.long), torch.ones(rows, CANVAS, dtype=torch.bool))
    *_, last = denoise(model, cache, canvas, sampling, torch.Generator().manual_seed(0), drawn)
    return last.number if bool(last.finished.all()) else None


CHAT = spec_of_chat("chat", "cuda")


@pytest.mark.parametrize(
    ("profile", "quantised", "entropy", "steps"),
    [
        ("thorough", False, 0.004, 5),  # as soon as the draft is that of the step before
        ("thorough", False, 0.02, None),
        ("balanced", False, 0.02, 5),
        ("fast", False, 0.02, 5),
        ("balanced", False, 0.3, None),
        ("thorough", True, 0.02, 5),
        ("balanced", True, 0.02, 5),
        ("fast", True, 0.02, 5),
        ("thorough", True, 0.3, 7),  # as soon as the draft is that of the three steps before
        ("balanced", True, 0.3, 7),
        ("fast", True, 0.3, 7),
    ],
)
def test_weights_in_few_bits_stop_without_ever_being_as_sure(model, monkeypatch, profile, quantised, entropy, steps):
    """The draft changes for four steps, then no more; the entropy never falls."""
    sampling = profiled(CHAT, profile, quantised=quantised).sampling
    temperatures = scripted(monkeypatch, [1, 2, 3, 4], entropy)
    assert steps_of(model, sampling) == steps
    assert len(temperatures) == (steps or sampling.max_steps)


@pytest.mark.parametrize(("stability", "still", "steps"), [(0, 1, 5), (0, 4, 8), (3, 2, 6), (2, 5, 9), (2, None, None)])
def test_a_draft_that_stands_still_for_so_many_steps_ends_a_run(model, monkeypatch, stability, still, steps):
    scripted(monkeypatch, [1, 2, 3, 4], 9.0)
    assert steps_of(model, Sampling(max_steps=12, stability=stability, still=still)) == steps


def test_rows_stand_still_each_for_itself(model, monkeypatch):
    sampled, seen = denoising.sample, []

    def one_stands_still(logits, **rest):
        found = sampled(logits, **rest)
        seen.append(len(logits))
        argmax = torch.full_like(found.argmax, 7)
        argmax[len(logits) // 2 :] += len(seen) % 5
        return replace(found, argmax=argmax)

    monkeypatch.setattr(denoising, "sample", one_stands_still)
    cache = encoded(model, torch.tensor([[2, 5, 9]] * 2))
    canvas = Canvas(torch.zeros(2, CANVAS, dtype=torch.long), torch.ones(2, CANVAS, dtype=torch.bool))
    found = denoise(model, cache, canvas, Sampling(max_steps=6, still=2), torch.Generator().manual_seed(0), drawn)
    assert [step.finished.tolist() for step in found] == [[False, False]] * 2 + [[True, False]] * 4


@pytest.mark.parametrize("cap", [8, 16, 24, 48])
def test_a_cap_of_steps_stretches_the_fall_of_the_temperature(model, monkeypatch, cap):
    temperatures = scripted(monkeypatch, range(1, 60), 9.0)
    assert steps_of(model, Sampling(max_steps=cap)) is None
    assert temperatures[0] == pytest.approx(0.8)
    assert temperatures[-1] == pytest.approx(0.4 + 0.4 / cap)
    falls = [before - after for before, after in pairwise(temperatures)]
    assert falls == pytest.approx([0.4 / cap] * (cap - 1))


canvases = st.lists(st.one_of(st.none(), st.integers(0, VOCABULARY - 1)), min_size=1, max_size=20)


def canvas_of(cells, banned=None, allowed=None):
    ids = torch.tensor([[0 if cell is None else cell for cell in cells]])
    return Canvas(ids, torch.tensor([[cell is None for cell in cells]]), banned, allowed or {})


@settings(max_examples=25, deadline=None)
@given(cells=canvases, seed=st.integers(0, 2**31), bans=st.sets(st.integers(0, VOCABULARY - 1), max_size=90))
def test_pins_never_change_and_banned_tokens_never_appear(way, cells, seed, bans):
    model, how = way
    banned = torch.zeros(VOCABULARY, dtype=torch.bool)
    banned[list(bans)] = True
    cache = encoded(model, torch.tensor([[2, 5, 9]]))
    for step in denoise(
        model, cache, canvas_of(cells, banned), LIVELY, torch.Generator().manual_seed(seed), as_stock, how
    ):
        for cell, token in zip(cells, step.tokens[0].tolist(), strict=True):
            assert token == cell if cell is not None else token not in bans


@settings(max_examples=10, deadline=None)
@given(cells=canvases, seed=st.integers(0, 2**31))
def test_the_same_seed_gives_the_same_steps(way, cells, seed):
    model, how = way
    runs = []
    for _ in range(2):
        cache = encoded(model, torch.tensor([[2, 5, 9]]))
        steps = denoise(model, cache, canvas_of(cells), LIVELY, torch.Generator().manual_seed(seed), as_stock, how)
        runs.append([step.tokens.tolist() for step in steps])
    assert runs[0] == runs[1]


def test_the_decoder_reads_the_pins_at_every_step(model, monkeypatch):
    cells = [None, 7, None, None, 8, 9]
    shown, told = [], []
    conditioned = type(model.model.decoder.self_conditioning).forward

    def spy(self, inputs_embeds, self_conditioning_signal):
        shown.append(inputs_embeds[0])
        told.append(self_conditioning_signal[0])
        return conditioned(self, inputs_embeds, self_conditioning_signal)

    monkeypatch.setattr(type(model.model.decoder.self_conditioning), "forward", spy)
    decoded = spied(monkeypatch)
    cache = encoded(model, torch.tensor([[2, 5]]))
    banned = torch.zeros(VOCABULARY, dtype=torch.bool)
    banned[50:] = True
    list(denoise(model, cache, canvas_of(cells, banned), LIVELY, torch.Generator().manual_seed(0), as_stock))
    assert len(shown) == len(decoded) > 1
    pins = model.model.decoder.embed_tokens(torch.tensor([7, 8, 9]))
    assert all(torch.equal(embedded[[1, 4, 5]], pins) for embedded in shown)
    assert float(told[0].abs().max()) == 0.0  # nothing is known before the first step
    for signal, (_, chances) in zip(told[1:], decoded[1:], strict=True):
        assert torch.equal(signal[[1, 4, 5]], pins)  # it is told that the pins are certain
        torch.testing.assert_close(chances.sum(-1), torch.ones(3))
        assert float(chances[:, 50:].sum()) == 0.0  # the ban reaches the self-conditioning
        assert float((signal[[0, 2, 3]]).abs().max()) > 0.0


def test_probabilities_at_the_holes_condition_like_logits_of_the_whole_canvas(model):
    """Compare logits of a whole canvas, one-hot at the pins, through the class with probabilities at the holes alone."""
    tokens = torch.randint(0, VOCABULARY, (2, 5), generator=torch.Generator().manual_seed(3))
    where = torch.tensor([1, 2, 6, 9])
    logits = torch.randn(len(where), VOCABULARY, generator=torch.Generator().manual_seed(4)) * 3
    everything = torch.full((10, VOCABULARY), -torch.inf).scatter_(1, tokens.reshape(-1, 1), 0.0)
    everything[where] = logits
    cache = encoded(model, torch.tensor([[2, 5, 9, 4, 4, 4, 7, 1, 3, 20, 30, 11]])).branch(2)
    theirs = model.model(
        decoder_input_ids=tokens, **{CACHE: cache}, self_conditioning_logits=everything.view(2, 5, VOCABULARY)
    ).last_hidden_state
    torch.testing.assert_close(decode(model, cache, tokens, where, logits.softmax(-1)), theirs, atol=2e-5, rtol=1e-4)
    nothing = model.model(decoder_input_ids=tokens, **{CACHE: cache}).last_hidden_state
    torch.testing.assert_close(decode(model, cache, tokens, where, None), nothing, atol=2e-5, rtol=1e-4)


@given(seed=st.integers(0, 2**31), scale=st.sampled_from([0.1, 3.0, 60.0]), bans=st.integers(0, VOCABULARY - 1))
def test_the_entropy_is_that_of_the_distribution(seed, scale, bans):
    logits = torch.randn(7, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * scale
    logits[:, :bans] = torch.finfo(logits.dtype).min
    expected = torch.distributions.Categorical(logits=logits.double()[:, bans:]).entropy().float()
    ours = entropy_of(logits, logits.softmax(-1), *logits.max(-1))
    torch.testing.assert_close(ours, expected, atol=2e-4, rtol=1e-4)
    assert (ours >= 0).all()


@given(seed=st.integers(0, 2**31), zeros=st.sets(st.integers(0, 9), max_size=9))
def test_a_token_of_probability_zero_is_never_drawn(seed, zeros):
    generator = torch.Generator().manual_seed(seed)
    chances = torch.rand((50, 10), generator=generator)
    chances[:, list(zeros)] = 0.0
    assert not set(drawn(chances / chances.sum(-1, keepdim=True), generator).tolist()) & zeros


def test_tokens_are_drawn_as_often_as_they_are_likely():
    chances = torch.tensor([0.5, 0.0, 0.3, 0.15, 0.05, 0.0])
    counts = torch.bincount(drawn(chances.expand(100_000, -1), torch.Generator().manual_seed(1)), minlength=6)
    torch.testing.assert_close(counts / 100_000, chances, atol=0.006, rtol=0)  # four standard deviations


def spied(monkeypatch):
    """Record the decoder's input in each step: (tokens, chances)."""
    seen = []

    def spy(model, cache, tokens, where, chances, *rest):
        seen.append((tokens, chances))
        return decode(model, cache, tokens, where, chances, *rest)

    monkeypatch.setattr("palimpsest_engine.decoding.denoise.decode", spy)
    return seen


def test_an_all_pinned_canvas_takes_no_steps(way):
    model, how = way
    cache = encoded(model, torch.tensor([[2, 5]]))
    assert list(denoise(model, cache, canvas_of([3, 4, 5]), LIVELY, torch.Generator(), as_stock, how)) == []


def test_pins_spend_no_entropy_and_take_no_part_in_the_stop_test(way):
    """A single free position among 11 pins stops on its own entropy, not on a mean diluted by the pins."""
    model, how = way
    cache = encoded(model, torch.tensor([[2, 5, 9]]))
    strict = Sampling(max_steps=6, t_min=0.9, t_max=1.0, entropy_bound=0.1, stability=0, confidence=0.5)
    for seed in range(5):
        steps = list(
            denoise(
                model, cache, canvas_of([None] + [7] * 11), strict, torch.Generator().manual_seed(seed), as_stock, how
            )
        )
        for step in steps:
            assert step.entropy[0, 1:].abs().max() == 0
            assert bool(step.accepted[0, 1:].all())
            if not how.lasts:
                assert bool(step.finished[0]) == bool(step.entropy[0, 0] < strict.confidence)


@settings(max_examples=10, deadline=None)
@given(only=st.sets(st.integers(0, VOCABULARY - 1), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_an_allowed_set_holds_at_its_position(way, only, seed):
    model, how = way
    cache = encoded(model, torch.tensor([[2, 5, 9]]))
    canvas = canvas_of([None] * 4, allowed={0: torch.tensor(sorted(only))})
    for step in denoise(model, cache, canvas, LIVELY, torch.Generator().manual_seed(seed), as_stock, how):
        assert int(step.tokens[0, 0]) in only


def test_the_first_pass_reads_the_given_start(way, monkeypatch):
    model, how = way
    decoded = spied(monkeypatch)
    cache = encoded(model, torch.tensor([[2, 5, 9]]))
    start = torch.tensor([[11, 12, 13, 14]])
    known = torch.tensor([[True, False, True, False]])
    everything = torch.ones(1, 4, dtype=torch.bool)
    canvas = Canvas(torch.zeros(1, 4, dtype=torch.long), everything, start=start, start_known=known)
    next(denoise(model, cache, canvas, LIVELY, torch.Generator().manual_seed(3), as_stock, how))
    ((shown, _),) = decoded
    assert shown[0, 0] == 11
    assert shown[0, 2] == 13


def test_kept_rows_end_as_in_the_full_run(way):
    """At almost no temperature, with everything accepted, nothing is left to chance."""
    model, how = way
    certain = Sampling(max_steps=5, t_min=1e-4, t_max=2e-4, entropy_bound=1e9, stability=1, confidence=1e-9)
    if how.lasts:
        certain = Sampling(max_steps=5, t_min=0.0, t_max=0.0, entropy_bound=None, linear_to=0.0)
    ids = torch.tensor([[0, 0, 7, 0], [0, 0, 0, 0], [5, 0, 0, 0]])
    is_hole = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]], dtype=torch.bool)
    start = torch.randint(0, VOCABULARY, ids.shape, generator=torch.Generator().manual_seed(1))
    canvas = Canvas(ids, is_hole, start=start, start_known=is_hole & (not how.lasts))

    def run(keep_at):
        cache = encoded(model, torch.tensor([[2, 5, 9]])).branch(3)
        work = denoise(model, cache, canvas, certain, torch.Generator().manual_seed(0), as_stock, how)
        steps = [next(work)]
        for _ in range(4):
            try:
                steps.append(work.send([2, 0] if len(steps) == keep_at else None))
            except StopIteration:
                break
        return steps

    whole, narrowed = run(keep_at=99), run(keep_at=2)
    assert [step.tokens.shape[0] for step in narrowed] == [3, 3, *[2] * (len(narrowed) - 2)]
    assert len(narrowed) >= 3
    for full, some in zip(whole[2:], narrowed[2:], strict=False):
        assert torch.equal(full.tokens[[0, 2]], some.tokens)
        torch.testing.assert_close(full.entropy[[0, 2]], some.entropy, atol=1e-4, rtol=1e-3)


KEPT = [name for name, how in WAYS.items() if not how.revises]


@settings(max_examples=25, deadline=None)
@given(cells=canvases, seed=st.integers(0, 2**31), bound=st.sampled_from([None, 0.0, 3.0]), steps=st.integers(1, 9))
@pytest.mark.parametrize("name", KEPT)
def test_accepted_tokens_stay_and_no_mask_is_left(causal, name, cells, seed, bound, steps):
    sampling = Sampling(steps, 0.0, 0.0, entropy_bound=bound, linear_to=0.0, by="probability")
    cache = encoded(causal, torch.tensor([[2, 5, 9]]))
    banned = torch.zeros(VOCABULARY, dtype=torch.bool).index_fill(0, torch.tensor([MASK]), True)
    work = denoise(causal, cache, canvas_of(cells, banned), sampling, torch.Generator(), as_stock, WAYS[name])
    kept, last = {}, None
    for last in work:
        tokens = last.tokens[0].tolist()
        assert all(tokens[at] == token for at, token in kept.items())
        kept = {at: tokens[at] for at in range(len(cells)) if last.accepted[0, at]}
    if None in cells:
        assert len(kept) == len(cells)
        assert bool(last.finished.all())
        assert all(token != MASK for token, cell in zip(last.tokens[0].tolist(), cells, strict=True) if cell is None)


@pytest.mark.parametrize(
    ("steps", "to", "counts"),
    # Rounded down, and all that is left in the last step; falling to a thousandth, the first step of many accepts none.
    [(4, 0.0, [2, 2, 2, 2]), (3, 0.0, [2, 3, 3]), (8, 0.0, [1] * 8), (4, 1e-3, [1, 2, 2, 3]), (1, 0.0, [8])],
)
def test_an_even_schedule_accepts_so_many(causal, steps, to, counts):
    sampling = Sampling(steps, 0.0, 0.0, entropy_bound=None, linear_to=to, by="margin")
    how = WAYS["masks, shifted, kept"]
    cache = encoded(causal, torch.tensor([[2, 5, 9]]))
    found = [
        int(step.accepted.sum())
        for step in denoise(causal, cache, canvas_of([None] * 8), sampling, torch.Generator(), as_stock, how)
    ]
    assert found == [sum(counts[: number + 1]) for number in range(len(counts))]


def test_a_slot_is_read_from_the_position_before_it(causal, monkeypatch):
    """The first slot of a canvas that repeats the last token of the context is what comes next, left to right."""
    tokens, how = [2, 5, 9], WAYS["masks, shifted, kept"]
    cache = encoded(causal, torch.tensor([tokens]))
    canvas = Canvas(torch.tensor([[9, 0]]), torch.tensor([[False, True]]), overlap=1)
    (step, *_) = denoise(causal, cache, canvas, Sampling(1, 0.0, 0.0), torch.Generator(), as_stock, how)
    positions = torch.tensor([[2, 3]], dtype=torch.int32)
    with torch.inference_mode():
        hidden = decode(causal, cache, torch.tensor([[9, MASK]]), None, None, positions)
        assert int(step.tokens[0, 1]) == int(causal.model.decoder.lm_head(hidden[0, 0]).argmax())


def test_slots_become_more_and_fewer(causal, monkeypatch):
    """A slot that says so becomes two masks, one that says that is gone; pins and other slots stay in order."""
    grow, shrink = 90, 91
    how = Denoising("mask", MASK, conditioned=False, revises=False, grow_id=grow, shrink_id=shrink)
    said = iter([[11, grow, shrink, 14], [21, 22]])

    def scripted(hidden):
        logits = torch.zeros(len(hidden), VOCABULARY)
        for row, token in enumerate(next(said)):
            logits[row, token] = 50.0
        return logits

    monkeypatch.setattr("palimpsest_engine.decoding.denoise.canvas_head", lambda model: scripted)
    cells = [7, None, None, None, None, 8]
    sampling = Sampling(4, 0.0, 0.0, entropy_bound=1e9)
    cache = encoded(causal, torch.tensor([[2, 5, 9]]))
    first, second = denoise(causal, cache, canvas_of(cells), sampling, torch.Generator(), as_stock, how)
    assert first.tokens.tolist() == [[7, 11, grow, grow, 14, 8]]
    assert first.holes == second.holes == (range(1, 5),)
    assert first.accepted.tolist() == [[True, True, False, False, True, True]]
    assert second.tokens.tolist() == [[7, 11, 21, 22, 14, 8]]
    assert bool(second.finished.all())

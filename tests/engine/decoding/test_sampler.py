"""The sampler: its plain form computes the same as stock `generate()`, and its fused form the same up to rounding."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from palimpsest_engine.cuda.kernels import usable
from palimpsest_engine.decoding.sampler import (
    Sampled,
    as_stock,
    drawn,
    drawn_at,
    entropy_of,
    forbidden_ids,
    likeliest,
    sample,
)

CAP = 30.0
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


def raw_logits(rows, vocabulary, seed, scale=20.0, dtype=torch.float32):
    return (torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)


def fused(logits, chances, cap, temperature, forbidden, which, uniform, chunk=8192):
    """Run the fused form, on the GPU if there is one, else in Triton's interpreter in main memory."""
    from palimpsest_engine.cuda.kernels import sampler

    if not torch.cuda.is_available():
        return sampler.fused(logits, chances, cap, temperature, forbidden, which, uniform, chunk)
    there = [
        each.cuda() if isinstance(each, torch.Tensor) else each for each in (temperature, forbidden, which, uniform)
    ]
    # Rows lie as far apart there.
    target = torch.empty_strided(chances.shape, chances.stride(), dtype=chances.dtype, device="cuda")
    source = torch.empty_strided(logits.shape, logits.stride(), dtype=logits.dtype, device="cuda").copy_(logits)
    found = sampler.fused(source, target, cap, *there, chunk)
    chances.copy_(target)
    return tuple(each.cpu() for each in found)


def reference(logits, temperature, forbidden, which):
    """Return (chances, cumulative chances, logits) in float64; `[N, V]`."""
    logits = torch.tanh(logits.double() / CAP) * CAP / temperature
    if forbidden is not None:
        logits = logits.masked_fill(forbidden[0] if which is None else forbidden[which], -torch.inf)
    chances = logits.softmax(-1)
    return chances, chances.cumsum(-1), logits


@pytest.mark.parametrize("draw", [as_stock, drawn])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.4, 0.7, 1.0])
def test_the_plain_form_computes_what_stock_generate_computes(dtype, temperature, draw):
    """They are equal to the bit, with the same random numbers."""
    logits = raw_logits(9, 97, 1, dtype=dtype)
    capped = torch.tanh(logits.float() / CAP) * CAP / temperature
    chances = capped.softmax(-1)
    highest, argmax = capped.max(-1)
    tokens = draw(chances, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    ours = sample(logits.clone(), cap=CAP, temperature=temperature, draw=draw, generator=generator)
    assert torch.equal(ours.chances, chances)
    assert torch.equal(ours.argmax, argmax)
    assert torch.equal(ours.drawn, tokens)
    assert torch.equal(ours.entropy, entropy_of(capped, chances, highest, argmax))
    assert ours.argmax.dtype == ours.drawn.dtype == torch.int64


@given(
    bans=st.sets(st.integers(0, 19), max_size=19),
    allowed=st.dictionaries(st.integers(0, 5), st.sets(st.integers(0, 19), min_size=1), max_size=3),
)
def test_forbidden_ids_of_each_row_are_those_of_its_position(bans, allowed):
    banned = torch.zeros(20, dtype=torch.bool)
    banned[list(bans)] = True
    position = torch.tensor([0, 1, 5, 0, 3])
    sets = {at: torch.tensor(sorted(ids)) for at, ids in allowed.items()}
    forbidden, which = forbidden_ids(banned, sets, position, 20)
    for row, at in enumerate(position.tolist()):
        ours = forbidden[0 if which is None else which[row]]
        may = set(range(20)) - bans
        assert set((~ours).nonzero().flatten().tolist()) == (may & allowed[at] if at in allowed else may)
    assert forbidden_ids(None, {}, position, 20) == (None, None)


@st.composite
def cases(draw):
    """Draw raw logits, forbidden ids, a temperature and uniform numbers; at least one id is allowed in each row."""
    rows, vocabulary = draw(st.sampled_from([(3, 1), (3, 7), (3, 97), (2, 1000)]))
    dtype = draw(st.sampled_from([torch.float32, torch.bfloat16]))
    scale = draw(st.sampled_from([0.0, 0.01, 1.0, 20.0, 300.0, 1e30]))
    seed = draw(st.integers(0, 2**31))
    logits = raw_logits(rows, vocabulary, seed, scale, dtype)
    generator = torch.Generator().manual_seed(seed + 1)
    banned = torch.rand(vocabulary, generator=generator) < draw(st.sampled_from([0.0, 0.5, 0.99]))
    banned[int(torch.randint(0, vocabulary, (1,), generator=generator))] = False
    free = (~banned).nonzero().flatten()
    allowed = {1: free[: draw(st.integers(1, 3))]} if draw(st.booleans()) else {}
    forbidden, which = forbidden_ids(banned, allowed, torch.arange(rows), vocabulary)
    if draw(st.booleans()) and not allowed:
        forbidden = None
    uniform = torch.rand(rows, generator=generator)
    uniform[0] = draw(st.sampled_from([0.0, 0.5, 1.0 - 2**-24]))
    return logits, forbidden, which, draw(st.floats(0.4, 1.0)), uniform


@needs_triton
@settings(max_examples=40)
@given(case=cases(), dtype=st.sampled_from([torch.float32, torch.bfloat16]), chunk=st.sampled_from([32, 1024]))
def test_the_fused_form_is_the_plain_one_but_for_rounding(case, dtype, chunk):
    logits, forbidden, which, temperature, uniform = case
    if logits.shape[1] == 1000:
        chunk = max(chunk, 256)  # the interpreter is slow
    chances, summed, capped = reference(logits, temperature, forbidden, which)
    out = torch.full(logits.shape, torch.nan, dtype=dtype)
    with np.errstate(over="ignore"):  # e to the power of an extreme logit
        argmax, tokens, entropy = fused(logits, out, CAP, temperature, forbidden, which, uniform, chunk)
    # The interpreter cuts bfloat16 off where a GPU rounds.
    torch.testing.assert_close(out.double(), chances, atol=1e-6, rtol=1e-4 if dtype == torch.float32 else 2**-7)
    log_chances = (capped - capped.logsumexp(-1, keepdim=True)).clamp_min(-1e3)
    torch.testing.assert_close(entropy.double(), -(chances * log_chances).sum(-1), atol=1e-5, rtol=1e-5)
    assert argmax.dtype == tokens.dtype == torch.int64
    rows = torch.arange(len(logits))
    # Argmax and draw are those of the exact numbers, or within rounding of them; never what is forbidden.
    assert bool((capped[rows, argmax] >= capped.max(-1).values - 3e-5).all())
    start = torch.where(tokens > 0, summed[rows, (tokens - 1).clamp_min(0)], 0.0)
    assert bool((start <= uniform + 1e-5).all())
    assert bool((uniform <= summed[rows, tokens] + 1e-5).all())
    if forbidden is not None:
        never = forbidden[torch.zeros(len(logits), dtype=torch.int64) if which is None else which]
        assert not bool(never[rows, argmax].any())
        assert not bool(never[rows, tokens].any())
        assert float(out.masked_select(never).abs().sum()) == 0.0


@needs_triton
@settings(max_examples=4)
@given(seed=st.integers(0, 2**31), temperature=st.floats(0.4, 1.0))
def test_both_forms_draw_the_same_from_the_same_number(seed, temperature):
    """They may differ only within rounding of a boundary; so they are equal in almost every row."""
    logits = raw_logits(16, 97, seed, scale=6.0)
    uniform = torch.rand(16, generator=torch.Generator().manual_seed(seed))
    _, ours, _ = fused(logits, torch.empty_like(logits), CAP, temperature, None, None, uniform, 64)
    chances, summed, _ = reference(logits, temperature, None, None)
    theirs = drawn_at(chances.float(), uniform)
    sure = (summed - uniform.double()[:, None]).abs().amin(-1) > 1e-5
    assert int(sure.sum()) >= 14
    assert torch.equal(ours[sure], theirs[sure])


@needs_triton
@example(alike=[0, 6], among=7)
@example(alike=[40, 41, 96], among=97)
@given(alike=st.lists(st.integers(0, 6), min_size=1), among=st.just(7))
@settings(max_examples=10)
def test_the_argmax_is_the_first_of_equals(alike, among):
    """This holds within a chunk and across chunks, and if the cap makes two different numbers equal."""
    logits = torch.full((1, among), -1.0)
    logits[0, alike] = 2.5
    logits = torch.cat((logits, torch.where(logits > 0, 1e5 * (1 + torch.arange(among)), logits)))
    with np.errstate(over="ignore"):
        argmax, _, _ = fused(logits, torch.empty_like(logits), CAP, 0.7, None, None, torch.zeros(2), 16)
    assert argmax.tolist() == [min(alike)] * 2


@needs_triton
def test_rows_may_lie_apart_and_there_may_be_none():
    wide, target = raw_logits(3, 50, 4), torch.zeros(3, 60)
    uniform = torch.tensor([0.1, 0.5, 0.9])
    ours = fused(wide[:, :33], target[:, :33], CAP, torch.tensor(0.5), None, None, uniform, 16)
    alone = torch.empty(3, 33)
    theirs = fused(wide[:, :33].contiguous(), alone, CAP, 0.5, None, None, uniform, 16)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert torch.equal(target[:, :33], alone)
    assert float(target[:, 33:].abs().sum()) == 0.0
    assert [len(x) for x in fused(wide[:0], target[:0], CAP, 0.5, None, None, uniform[:0])] == [0, 0, 0]


@needs_triton
@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
def test_logits_that_are_no_numbers_draw_no_id_out_of_range():
    """On a GPU an id out of range would cost the whole process its device."""
    logits = torch.full((2, 21), torch.nan)
    logits[1, :5] = 1.0
    with np.errstate(invalid="ignore"):
        argmax, tokens, _ = fused(logits, torch.empty_like(logits), CAP, 0.5, None, None, torch.tensor([0.2, 0.9]), 16)
    assert all(0 <= token < 21 for token in [*argmax.tolist(), *tokens.tolist()])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_on_a_gpu_the_fused_form_runs_and_can_be_recorded():
    """Each replay has another temperature and other numbers, in the same buffers."""
    from palimpsest_engine.cuda.kernels import sampler

    logits = raw_logits(5, 5003, 6, scale=6.0, dtype=torch.bfloat16).cuda()
    temperature, uniform = torch.tensor(0.7, device="cuda"), torch.empty(5, device="cuda")
    out = torch.empty(5, 5003, dtype=torch.bfloat16, device="cuda")

    def work():
        return sampler.fused(logits, out, CAP, temperature, None, None, uniform)

    uniform.uniform_()
    work()  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        argmax, tokens, _ = work()
    for seed, degrees in enumerate((0.4, 1.0)):
        temperature.fill_(degrees)
        uniform.uniform_(generator=torch.Generator("cuda").manual_seed(seed))
        graph.replay()
        again = sample(
            logits, cap=CAP, temperature=degrees, draw=drawn, generator=torch.Generator("cuda").manual_seed(seed)
        )
        assert torch.equal(argmax, again.argmax)
        torch.testing.assert_close(out.float(), again.chances, atol=1e-6, rtol=2**-7)
        chances, summed, _ = reference(logits.cpu(), degrees, None, None)
        theirs = drawn_at(chances.float(), uniform.cpu())
        sure = (summed - uniform.cpu().double()[:, None]).abs().amin(-1) > 1e-5
        assert torch.equal(tokens.cpu()[sure], theirs[sure])


@needs_triton
def test_kernels_run_on_gpus_and_in_the_interpreter(monkeypatch):
    usable.cache_clear()
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert usable(torch.device("cpu"))
    usable.cache_clear()
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert not usable(torch.device("cpu"))
    usable.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 3, 7, 99])
def test_the_likeliest_tokens_begin_with_the_argmax(dtype, count):
    found = sample(raw_logits(6, 7, 3, scale=0.01), cap=None, temperature=1.0, draw=drawn, dtype=dtype)
    shown = likeliest(found, count)
    ids, chances = shown[..., 0].long(), shown[..., 1]
    assert ids.shape == (6, min(count, 7))
    assert torch.equal(ids[:, 0], found.argmax)
    assert torch.equal(chances, found.chances.gather(1, ids).double())
    assert all(len(set(row)) == len(row) for row in ids.tolist())
    assert bool((chances.diff(dim=1) <= 0).all())


def test_an_argmax_that_rounding_hides_among_equals_is_shown_all_the_same():
    chances = torch.full((1, 64), 1 / 64, dtype=torch.bfloat16)
    for argmax in (0, 31, 63):
        ids = likeliest(Sampled(chances, torch.tensor([0]), torch.tensor([argmax]), torch.zeros(1)), 4)[
            0, :, 0
        ].tolist()
        assert ids[0] == argmax
        assert len(set(ids)) == 4

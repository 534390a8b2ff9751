"""The loop on the device against the library's `generate()` on the same seed: the same tokens."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

from gpu.conftest import DEVICE, ON_GPU
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.sampler import as_stock
from palimpsest_engine.model.forward import encode
from palimpsest_engine.model.kv_cache import RollbackCache

from ..engine.conftest import tiny
from ..engine.decoding.test_denoise import CANVAS, LIVELY, PATIENT, VOCABULARY

pytestmark = pytest.mark.gpu


def both(model, ids, blocks, length, sampling, seed):
    """(ours, the library's): sequences `[B, T]`."""
    torch.manual_seed(seed)
    theirs = model.generate(
        ids,
        max_new_tokens=blocks * length,
        eos_token_id=None,
        pad_token_id=None,
        max_denoising_steps=sampling.max_steps,
        t_min=sampling.t_min,
        t_max=sampling.t_max,
        sampler_config=EntropyBoundSamplerConfig(entropy_bound=sampling.entropy_bound),
        stability_threshold=sampling.stability,
        confidence_threshold=sampling.confidence,
    ).sequences
    generator = torch.Generator(DEVICE).manual_seed(seed)
    cache, new, ours = RollbackCache.for_config(model.config.text_config), ids, ids
    for _ in range(blocks):
        encode(model, cache, new)
        tokens = torch.zeros(len(ids), length, dtype=torch.long, device=DEVICE)
        canvas = Canvas(tokens, torch.ones_like(tokens, dtype=torch.bool))
        *_, step = denoise(model, cache, canvas, sampling, generator, as_stock)
        new = step.tokens.to(DEVICE)
        ours = torch.cat((ours, new), 1)
    return ours, theirs


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sampling", [LIVELY, PATIENT], ids=["lively", "patient"])
def test_random_weights(sampling, batch, report):
    """Nearly all to the bit: of an undecided model one rounding that differs turns all that follows."""
    model, same, count = copy.deepcopy(tiny()).to(DEVICE), 0, 0
    for length in (1, 5, 23):
        for seed in range(4 if ON_GPU else 1):
            ids = torch.randint(0, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1000 + seed))
            ours, theirs = both(model, ids.to(DEVICE), 3, CANVAS, sampling, seed)
            same, count = same + torch.equal(ours, theirs), count + 1
    report(f"random weights, {batch} rows, {sampling.max_steps} steps: runs as generate()", f"{same} of {count}")
    assert same >= 0.6 * count  # on an H100: 11 and 8 of 12 (one row, three rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_embedded_checkpoint(dtype, report):
    model = DiffusionGemmaForBlockDiffusion.from_pretrained(EMBEDDED, dtype=dtype).eval().to(DEVICE)
    sampling, shares = Sampling(12, 0.1, 0.5, 1.0, 1, 0.1), []
    for seed in range(6 if ON_GPU else 2):
        ids = torch.randint(10, 4000, (1, 20), generator=torch.Generator().manual_seed(seed)).to(DEVICE)
        ours, theirs = both(model, ids, 2, model.config.canvas_length, sampling, seed)
        shares.append(float((ours == theirs).float().mean()))
    report(f"embedded, {dtype}: tokens as generate()", [round(each, 3) for each in shares])
    if dtype == torch.float32:
        assert sum(each == 1.0 for each in shares) >= 0.8 * len(shares)

"""The embedded checkpoint itself: a plain checkpoint that stock transformers runs, and one that has learnt something."""

from __future__ import annotations

from importlib import resources

import pytest
import torch
from transformers import DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import EntropyBoundSamplerConfig

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.description import read_spec
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.decoding.denoise import Canvas, denoise
from palimpsest_engine.decoding.sampler import as_stock
from palimpsest_engine.model.forward import encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.syntax.watched import SyntaxGate, judge
from palimpsest_eval.held_out import SHORT_KINDS, short_holes
from palimpsest_eval.measures import measured
from palimpsest_eval.systems import FLOORS, systems

# A file of this project's own that no training split has: some 2,400 tokens of ordinary Python.
DOCUMENT = resources.files("palimpsest_bench").joinpath("document.txt").read_text("utf-8")


@pytest.fixture(scope="module")
def stock():
    model, info = DiffusionGemmaForBlockDiffusion.from_pretrained(
        EMBEDDED, dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.eval()


def test_only_weights_and_text_are_shipped():
    names = {path.name for path in EMBEDDED.iterdir()}
    assert {"config.json", "generation_config.json", "tokenizer.json", "palimpsest.json"} <= names
    weights = [path for path in EMBEDDED.iterdir() if path.suffix == ".safetensors"]
    assert 0 < sum(path.stat().st_size for path in weights) < 50_000_000
    assert set(read_spec(EMBEDDED).sha256) == {path.name for path in weights}
    assert {path.suffix for path in EMBEDDED.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(12, 0.1, 0.5, 1.0, 1, 0.1)], ids=["default", "short"])
def test_trained_weights_give_the_tokens_of_stock_generate_and_stop_early(stock, sampling):
    tokenizer = load(EngineSettings(dtype="float32", device="cpu")).tokenizer
    length, stops = stock.config.canvas_length, []
    for seed, text in enumerate(["import os\nimport sys\n", "def add(a, b):\n    return"]):
        ids = torch.tensor([tokenizer.encode(text).ids])
        torch.manual_seed(seed)
        theirs = stock.generate(
            ids,
            max_new_tokens=2 * length,
            eos_token_id=None,
            pad_token_id=None,
            max_denoising_steps=sampling.max_steps,
            t_min=sampling.t_min,
            t_max=sampling.t_max,
            sampler_config=EntropyBoundSamplerConfig(entropy_bound=sampling.entropy_bound),
            stability_threshold=sampling.stability,
            confidence_threshold=sampling.confidence,
        ).sequences
        generator = torch.Generator().manual_seed(seed)
        cache, new, ours = RollbackCache.for_config(stock.config.text_config), ids, ids
        for _ in range(2):
            encode(stock, cache, new)
            canvas = Canvas(torch.zeros(1, length, dtype=torch.long), torch.ones(1, length, dtype=torch.bool))
            *_, step = denoise(stock, cache, canvas, sampling, generator, as_stock)
            new, stops = step.tokens, [*stops, step.number]
            ours = torch.cat((ours, new), 1)
        assert torch.equal(ours, theirs)
    if sampling.confidence > 0.01:
        assert min(stops) < sampling.max_steps


@pytest.fixture(scope="module")
def holes():
    tokenizer = load(EngineSettings(device="cpu")).tokenizer
    tokenizer.encode_special_tokens = True
    return tokenizer, list(short_holes([DOCUMENT], tokenizer, 60, 8, seed=5))


def test_it_beats_the_floors_on_short_holes_and_does_not_answer_empty(holes, monkeypatch):
    monkeypatch.setattr(SyntaxGate.__init__, "__defaults__", (60_000.0,))  # nothing goes unchecked on a busy machine
    checkpoint = load(EngineSettings(dtype="float32", device="cpu"))
    (engine,) = systems(["chosen"], checkpoint, as_users=False)
    rows = {
        system.name: [measured(system.name, hole, i, system.fill(hole, i), None) for i, hole in enumerate(holes[1])]
        for system in (engine, *FLOORS)
    }
    right = {name: sum(bool(row.exact) for row in of) for name, of in rows.items()}
    assert right[engine.name] > max(right[floor.name] for floor in FLOORS)
    assert sum(not row.text for row in rows[engine.name]) < 6
    for hole, row in zip(holes[1], rows[engine.name], strict=True):
        assert judge(hole.request(0), (row.text,)).status in ("valid", "no worse")


def test_the_holes_are_of_every_kind_with_something_in_them(holes):
    tokenizer, problems = holes
    assert {problem.kind for problem in problems} == set(SHORT_KINDS)
    for problem in problems:
        assert problem.filled(problem.truth) == DOCUMENT
        assert problem.truth.strip()
        assert len(tokenizer.encode(problem.truth, add_special_tokens=False).ids) <= 8

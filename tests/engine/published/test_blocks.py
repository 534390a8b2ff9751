"""Writing in blocks: token for token what the rules of SDAR as written down give, and what a fill makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from palimpsest_engine import EngineSettings, Fill, FillCancelled, FillRequest, Span
from palimpsest_engine.checkpoint.load import Checkpoint, load
from palimpsest_engine.decoding.blockwise import writing_in_blocks
from palimpsest_engine.decoding.sampler import as_stock
from palimpsest_engine.fill import writer
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.model.forward import encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.prefix_cache import PrefixCache

from . import folders, samplers


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = folders.write(tmp_path_factory.mktemp("published") / "SDAR", "SDAR")
    found = load(EngineSettings(str(folder), device="cpu", dtype="float32"))
    sampling = replace(found.spec.sampling, t_min=0.0, t_max=0.0)
    return replace(found, spec=replace(found.spec, sampling=sampling))


def logits_of(checkpoint: Checkpoint, banned: torch.Tensor) -> Any:
    """Run the stock class, read from the folder by the library, under a mask."""
    facts = checkpoint.model.config.to_dict()
    config = transformers.Qwen3Config(**{k: v for k, v in facts.items() if k not in ("model_type", "architectures")})
    theirs: Any = transformers.Qwen3ForCausalLM(config).eval()
    theirs.load_state_dict(load_file(checkpoint.folder / "model.safetensors"))

    @torch.inference_mode()
    def logits(ids: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = theirs(input_ids=ids, attention_mask=seen[None, None]).logits.float()
        return found.masked_fill(banned, torch.finfo(torch.float32).min)

    return logits


def oracle(checkpoint, banned, prompt, length, threshold):
    ids = torch.tensor([prompt])
    work = samplers.sdar(
        logits_of(checkpoint, banned),
        ids,
        checkpoint.spec.denoising.mask_id,
        length=length,
        temperature=0.0,
        threshold=threshold,
    )
    steps = [each[0, len(prompt) :].tolist() for each in work]
    return steps


@pytest.mark.parametrize("threshold", [0.02, 0.03, 0.85])
@pytest.mark.parametrize("before", [1, 3, 4, 7, 8, 13])
def test_blocks_are_those_of_the_rules(checkpoint, before, threshold):
    """With prompts that end inside a block and with one, and thresholds that are passed by one slot, some, or none."""
    how, spec = checkpoint.spec.denoising, checkpoint.spec
    banned = Filler(checkpoint).resources.banned
    prompt = torch.randint(0, 250, (before,), generator=torch.Generator().manual_seed(before)).tolist()
    cache = RollbackCache.for_config(checkpoint.model.config)
    if whole := before // 4 * 4:
        encode(checkpoint.model, cache, torch.tensor([prompt[:whole]]), 4)
    theirs = oracle(checkpoint, banned, prompt, 10, threshold)
    sampling = replace(spec.sampling, threshold=threshold)
    most = len(theirs[-1])
    arguments = (cache, prompt, most, banned, None, lambda ids: False, 1, torch.Generator(), sampling, as_stock, how)
    passes = list(writing_in_blocks(checkpoint.model, *arguments))
    assert passes[-1] == [theirs[-1]]
    assert len(passes) == len(theirs) + -(-(before % 4 + most) // 4)  # a pass a step, and one to keep each block


def test_the_context_is_read_block_by_block(checkpoint):
    """And only whole blocks are kept: a change in one has all of it read again."""
    banned = torch.zeros(checkpoint.model.config.vocab_size, dtype=torch.bool)
    ids = torch.randint(0, 250, (1, 12), generator=torch.Generator().manual_seed(1))
    cache = RollbackCache.for_config(checkpoint.model.config)
    hidden = [encode(checkpoint.model, cache, ids[:, :8], 4), encode(checkpoint.model, cache, ids[:, 8:], 4)]
    with torch.inference_mode():
        ours = checkpoint.model.lm_head(torch.cat(hidden, 1))
    theirs = logits_of(checkpoint, banned)(ids, samplers.blocks_seen(12, 4))
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
    kept, tokens = PrefixCache(checkpoint.model, 4), ids[0].tolist()
    assert (kept.encode(tokens[:11]), len(kept.tokens)) == (8, 8)
    assert (kept.encode(tokens), len(kept.tokens)) == (4, 12)
    assert (kept.encode([*tokens[:6], 9, *tokens[7:]]), len(kept.tokens)) == (8, 12)
    assert kept.encode(tokens[:6]) == 0
    assert kept.tokens == tokens[:4]


def run(filler, request, cancelled=lambda: False):
    *drafts, fill = filler.fill(request, cancelled)
    assert isinstance(fill, Fill)
    return drafts, replace(fill, ms=0.0)


REQUEST = FillRequest("a = b\n\nreturn a\n", (Span(6, 6),), language=None, sizes=(10,))


@pytest.mark.parametrize("text", ["a = b\n", "a = b\nc", "x\ny = ret\n"])
def test_a_fill_is_what_the_rules_give(checkpoint, text, monkeypatch):
    rows, whole = [], writer.writing_in_blocks

    def seen(model, cache, context, *others):
        for written in whole(model, cache, context, *others):
            rows.append((list(context), others, [list(each) for each in written]))
            yield written

    monkeypatch.setattr(writer, "writing_in_blocks", seen)
    request = replace(REQUEST, text=f"{text}\nreturn a\n", holes=(Span(len(text), len(text)),))
    drafts, fill = run(Filler(checkpoint), request)
    context, (most, banned, opening, *_), written = rows[-1]
    assert most == 10
    theirs = oracle(checkpoint, banned, context, 10, 0.85)[-1]
    if opening is None:
        assert written[0] == theirs[:10]
    else:
        assert written[0][0] in opening.tolist()
    assert fill.nfe == len(rows) == len(drafts)
    shown = [len(draft.texts[0]) for draft in drafts]
    assert shown == sorted(shown)


def test_the_same_seed_gives_the_same_fill(checkpoint):
    """At the published temperature, from a cache that another fill has left, too."""
    published = replace(checkpoint.spec, sampling=replace(checkpoint.spec.sampling, t_min=1.0, t_max=1.0))
    filler = Filler(replace(checkpoint, spec=published))
    first = run(filler, replace(REQUEST, seed=3))
    others = [run(filler, replace(REQUEST, seed=seed, document="d")) for seed in range(4, 8)]
    again = run(filler, replace(REQUEST, seed=3))
    assert (again[0], again[1].texts) == (first[0], first[1].texts)
    assert any(other[0] != first[0] for other in others)


@pytest.mark.parametrize("changes", [{"candidates": 3}, {"sizes": None}, {"max_lines": 1, "sizes": None}])
def test_requests_of_every_kind_are_answered(checkpoint, changes):
    drafts, fill = run(Filler(checkpoint), replace(REQUEST, **changes))
    assert drafts
    assert fill.texts[0] or fill.reason


def test_holes_are_filled_one_after_the_other(checkpoint):
    drafts, fill = run(Filler(checkpoint), replace(REQUEST, holes=(Span(6, 6), Span(7, 7))))
    assert len(fill.texts) == 2
    assert all(len(draft.holes) == 2 for draft in drafts)


def test_a_part_of_a_text_cannot_be_kept(checkpoint):
    _, fill = run(Filler(checkpoint), replace(REQUEST, strength=0.5))
    assert "from left to right" in fill.reason


def test_a_fill_is_cancelled_before_the_next_pass(checkpoint):
    answers = iter([False] * 5 + [True])
    with pytest.raises(FillCancelled):
        list(Filler(checkpoint).fill(REQUEST, answers.__next__))
    assert next(answers, None) is None


def test_tokens_of_blocks_are_traced_with_what_else_could_stand_there(checkpoint):
    request = FillRequest("a = b\nc = \nreturn a\n", (Span(6, 6),), language=None, sizes=(6,), trace=4)
    *drafts, fill = Filler(checkpoint).fill(request)
    *_, plain = Filler(checkpoint).fill(replace(request, trace=0))
    (lane,) = drafts[-1].frame.lanes
    assert (lane.kind, lane.finished, len(lane.holes[0])) == ("written", True, 6)
    for slot in lane.holes[0]:
        assert slot.choices[0].key == slot.key  # at temperature 0
        assert slot.entropy > 0
    assert fill.texts == plain.texts

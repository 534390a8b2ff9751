"""Published models through the engine: step by step what the rules as written down give, from folders as published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from palimpsest_engine import Draft, EngineSettings, Fill, FillCancelled, FillRequest, Span
from palimpsest_engine.checkpoint.load import Checkpoint, load
from palimpsest_engine.checkpoint.spec import Denoising, Sampling
from palimpsest_engine.decoding.denoise import Canvas, denoise, planned
from palimpsest_engine.decoding.sampler import as_stock
from palimpsest_engine.errors import UnsupportedCheckpoint
from palimpsest_engine.fill import candidates
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.fill.ranking import Ranking
from palimpsest_engine.model import prefix_cache
from palimpsest_engine.model.kv_cache import RollbackCache

from . import folders, samplers

NAMES = ("Open-dCoder", "Dream", "DreamOn")
TEXT = "a = b\nc = \nreturn a\n"
REQUEST = FillRequest(TEXT, (Span(6, 6),), language=None)  # behind a line end, where no token is written again


@pytest.fixture(scope="module", params=NAMES)
def name(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    places = {each: folders.write(tmp_path_factory.mktemp("published") / each, each) for each in NAMES}
    return {each: load(EngineSettings(str(at), device="cpu", dtype="float32")) for each, at in places.items()}


def greedy(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    sampling = replace(checkpoint.spec.sampling, t_min=0.0, t_max=0.0)
    return replace(checkpoint, spec=replace(checkpoint.spec, sampling=sampling, **changes))


def logits_of(checkpoint: Checkpoint, banned: torch.Tensor) -> samplers.Logits:
    """Run the stock class, read from the folder by the library, with a mask under which all see all."""
    config = transformers.Qwen2Config(
        **{k: v for k, v in checkpoint.model.config.to_dict().items() if k not in ("model_type", "architectures")}
    )
    theirs: Any = transformers.Qwen2ForCausalLM(config).eval()
    theirs.load_state_dict(load_file(checkpoint.folder / "model.safetensors"))

    @torch.inference_mode()
    def logits(ids: torch.Tensor) -> torch.Tensor:
        seen = torch.ones(1, 1, ids.shape[1], ids.shape[1], dtype=torch.bool)
        found: torch.Tensor = theirs(input_ids=ids, attention_mask=seen).logits.float()
        return found.masked_fill(banned, torch.finfo(torch.float32).min)

    return logits


def oracle(name: str, checkpoint: Checkpoint, banned: torch.Tensor, ids: torch.Tensor, steps: int, temperature=0.0):
    spec, logits = checkpoint.spec, logits_of(checkpoint, banned)
    how = spec.denoising
    common = {"steps": steps, "temperature": temperature, "top_p": spec.sampling.top_p}
    if name == "Open-dCoder":
        return samplers.path_planning(logits, ids, how.mask_id, **common)
    if name == "Dream":
        return samplers.dream(logits, ids, how.mask_id, **common)
    return samplers.dreamon(logits, ids, how.mask_id, how.grow_id, how.shrink_id, longest=how.longest, **common)


def masked(step, row, mask_id, length):
    """Return the ids of a row of a step with its masks, as published samplers have them."""
    return torch.where(step.accepted[row], step.tokens[row], mask_id)[:length].tolist()


def equal_steps(theirs, ours):
    """A sampler of theirs goes through its steps even if nothing is left to do; ours ends."""
    theirs = [each[0].tolist() for each in theirs]
    assert ours
    assert theirs[: len(ours)] == ours
    assert all(each == ours[-1] for each in theirs[len(ours) :])


@pytest.mark.parametrize(("before", "slots"), [(5, 1), (5, 2), (1, 7), (5, 16), (0, 1)])
def test_the_loop_gives_what_the_rules_give(made, name, before, slots):
    """Of two slots at the very beginning both are read from the first position; which is surer is for nobody to say."""
    checkpoint = greedy(made[name])
    spec, how = checkpoint.spec, checkpoint.spec.denoising
    banned = Filler(checkpoint).resources.banned
    for seed in range(6):
        generator = torch.Generator().manual_seed(100 * slots + seed)
        left, right = (torch.randint(0, 250, (n,), generator=generator).tolist() for n in (before, 4))
        ids = torch.tensor([left + [how.mask_id] * slots + right])
        steps = {"Open-dCoder": 3 + 2 * seed, "Dream": slots, "DreamOn": 30}[name]
        canvas = Canvas(ids, ids == how.mask_id, banned)
        cache = RollbackCache.for_config(checkpoint.model.config)
        sampling = replace(spec.sampling, max_steps=steps)
        ours = [
            masked(step, 0, how.mask_id, None)
            for step in denoise(checkpoint.model, cache, canvas, sampling, generator, as_stock, how)
        ]
        equal_steps(oracle(name, checkpoint, banned, ids, steps), ours)


def steps_of(filler, request, monkeypatch):
    """Return (runs of the loop: canvas, steps of all rows, the sampling), and the fill."""
    runs, whole = [], candidates.denoise

    def seen(model, cache, canvas, sampling, *others):
        steps = []
        runs.append((canvas, steps, sampling))
        work = whole(model, cache, canvas, sampling, *others)
        rows, keep = list(range(len(canvas.tokens))), None
        try:
            while True:
                step = work.send(keep)
                steps.append((rows, step))
                keep = yield step
                rows = rows if keep is None else [rows[i] for i in sorted(keep)]
        except StopIteration:
            return

    monkeypatch.setattr(candidates, "denoise", seen)
    *drafts, fill = filler.fill(request)
    assert all(isinstance(draft, Draft) for draft in drafts)
    assert isinstance(fill, Fill)
    return runs, fill


REQUESTS = {
    "one hole": REQUEST,
    "a size": replace(REQUEST, sizes=(10,)),
    "an indentation, written again": FillRequest("if a:\n    b\n", (Span(10, 11),), language=None),
    "a word, written again": FillRequest("x = ret\ny\n", (Span(7, 7),), language=None),
    "two holes": FillRequest(TEXT, (Span(6, 6), Span(10, 10)), language=None),
    "at the very beginning": FillRequest("\na\n", (Span(0, 0),), language=None),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_fill_gives_what_the_rules_give(made, name, case, monkeypatch):
    if (name, case) == ("Open-dCoder", "at the very beginning"):
        pytest.skip("its first two slots are equally sure: no token stands before them")
    checkpoint, request = greedy(made[name]), REQUESTS[case]
    if name != "Dream" and "again" not in case:
        checkpoint = replace(
            checkpoint, spec=replace(checkpoint.spec, hole_sizes=(4, 8) if name != "DreamOn" else (4,))
        )
    filler = Filler(checkpoint)
    how, resources = checkpoint.spec.denoising, filler.resources
    monkeypatch.setattr(prefix_cache, "encode", lambda *args: pytest.fail("nothing is read causally"))
    runs, fill = steps_of(filler, replace(request, max_lines=None), monkeypatch)
    spec = checkpoint.spec
    for canvas, steps, sampling in runs:
        for row in range(len(canvas.tokens)):
            used = int(canvas.used[row].sum()) if canvas.used is not None else canvas.tokens.shape[1]
            ids = torch.where(canvas.is_hole, how.mask_id, canvas.tokens)[row : row + 1, :used]
            slots = int(canvas.is_hole[row].sum())
            assert sampling.max_steps == {"Open-dCoder": 64, "Dream": slots, "DreamOn": 256}[name]
            assert spec.eos_id is None or ids[0, -1] == spec.eos_id
            assert spec.bos_id is None or ids[0, 0] == spec.bos_id
            mine = [
                masked(step, rows.index(row), how.mask_id, None if step.holes is not None else used)
                for rows, step in steps
                if row in rows
            ]
            allowed = dict(canvas.allowed)
            theirs = oracle_allowing(name, checkpoint, resources.banned, allowed, ids, sampling.max_steps)
            equal_steps(theirs, mine)
    assert fill.nfe == sum(len(steps) for _, steps, _ in runs)


def oracle_allowing(name, checkpoint, banned, allowed, ids, steps):
    """As `oracle`, where one slot may take a few tokens only: the first, whose place never changes."""
    if not allowed:
        return oracle(name, checkpoint, banned, ids, steps)
    ((place, only),) = allowed.items()
    barred = banned.expand(ids.shape[1] + 80, -1).clone()
    barred[max(0, place - 1)] |= torch.ones_like(banned).index_fill(0, only, False)
    spec, how = checkpoint.spec, checkpoint.spec.denoising
    plain = logits_of(checkpoint, torch.zeros_like(banned))

    def logits(tokens):
        return plain(tokens).masked_fill(barred[: tokens.shape[1]], torch.finfo(torch.float32).min)

    common = {"steps": steps, "temperature": 0.0, "top_p": spec.sampling.top_p}
    if name == "Open-dCoder":
        return samplers.path_planning(logits, ids, how.mask_id, **common)
    if name == "Dream":
        return samplers.dream(logits, ids, how.mask_id, **common)
    return samplers.dreamon(logits, ids, how.mask_id, how.grow_id, how.shrink_id, longest=how.longest, **common)


def loop(checkpoint, ids, longest=None, shown=True):
    """Denoise ids with a plan of steps of their own; return the masked ids after each step."""
    how, cache = checkpoint.spec.denoising, RollbackCache.for_config(checkpoint.model.config)
    canvas = Canvas(ids, ids == how.mask_id, Filler(checkpoint).resources.banned)
    work = denoise(checkpoint.model, cache, canvas, checkpoint.spec.sampling, torch.Generator(), as_stock, how)
    return [masked(step, 0, how.mask_id, None) for step in work]


def test_slots_grow_and_go_as_the_rules_say(made):
    """Over some texts both happen, what is behind a slot that goes goes with it, and no middle is longer than may be."""
    checkpoint = greedy(made["DreamOn"])
    how = replace(checkpoint.spec.denoising, longest=9)
    checkpoint = replace(checkpoint, spec=replace(checkpoint.spec, denoising=how))
    banned, lengths, full = Filler(checkpoint).resources.banned, set(), 0
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        sides = torch.randint(0, 250, (9,), generator=generator).tolist()
        ids = torch.tensor([[*sides[:5], *[how.mask_id] * 6, *sides[5:]]])
        ours = loop(checkpoint, ids)
        equal_steps(oracle("DreamOn", checkpoint, banned, ids, 256), ours)
        changes = [len(after) - len(before) for before, after in zip([ids[0].tolist(), *ours], ours, strict=False)]
        lengths |= set(changes)
        full += max(map(len, ours)) == 9 + 9
        assert max(map(len, ours)) <= 9 + 9
        assert all(row[:5] == sides[:5] and row[-4:] == sides[5:] for row in ours)
    assert 1 in lengths
    assert min(lengths) < -1
    assert full


@pytest.mark.parametrize(("longest", "slots"), [(6, 6), (64, 64)])
def test_no_slot_grows_where_there_is_no_room(made, longest, slots):
    checkpoint = greedy(made["DreamOn"])
    how = replace(checkpoint.spec.denoising, longest=longest, shrink_id=None)
    checkpoint = replace(checkpoint, spec=replace(checkpoint.spec, denoising=how))
    ours = loop(checkpoint, torch.tensor([[7, 8, *[how.mask_id] * slots, 9]]))
    assert {len(each) for each in ours} == {slots + 3}


def test_a_slot_that_goes_takes_nothing_of_another_hole_along(made):
    """And the places of the holes follow."""
    checkpoint = greedy(made["DreamOn"])
    how, seen = checkpoint.spec.denoising, 0
    for seed in range(30):
        sides = torch.randint(0, 250, (9,), generator=torch.Generator().manual_seed(seed)).tolist()
        row = [*sides[:3], *[how.mask_id] * 3, *sides[3:6], *[how.mask_id] * 3, *sides[6:]]
        ids = torch.tensor([row])
        cache = RollbackCache.for_config(checkpoint.model.config)
        canvas = Canvas(ids, ids == how.mask_id, Filler(checkpoint).resources.banned)
        lengths = [3, 3]
        for step in denoise(
            checkpoint.model, cache, canvas, checkpoint.spec.sampling, torch.Generator(), as_stock, how
        ):
            now = [len(hole) for hole in step.holes]
            assert sum(before != after for before, after in zip(lengths, now, strict=True)) <= 1
            seen += any(after < before for before, after in zip(lengths, now, strict=True))
            lengths, ids = now, step.tokens[0].tolist()
            first, second = step.holes
            kept = ids[: first.start], ids[first.stop : second.start], ids[second.stop :]
            assert kept == (sides[:3], sides[3:6], sides[6:])
    assert seen


@pytest.mark.parametrize("revises", [False, True])
def test_as_many_slots_are_accepted_as_the_rules_count(revises):
    """In single precision, as they do: at every length that fits in a canvas, and some numbers of steps."""
    how = Denoising("mask", 0, conditioned=False, revises=revises, keeps=revises)
    left = torch.arange(1, 257)[:, None]
    for steps in (*range(1, 20), 32, 48, 63, 64, 100, 128, 256):
        sampling = Sampling(steps, linear_to=0.0 if revises else 1e-3)
        for step in range(steps):
            found = planned(left, sampling, step + 1, how)[:, 0]
            if revises:
                share = torch.tensor(1 - (step + 1) / steps, dtype=torch.float32)
                assert torch.equal(found, left[:, 0] - (left[:, 0].float() * share).floor().long())
                continue
            noise = torch.linspace(1, 1e-3, steps + 1)
            counts = (left[:, 0].float() * (1 - noise[step + 1] / noise[step])).int()
            assert torch.equal(found, left[:, 0] if step == steps - 1 else counts.long())
            assert int(found[6]) == samplers.planned(7, step, steps)


def small(checkpoint, **changes):
    """With few slots, so that a test takes little time."""
    sizes = checkpoint.spec.hole_sizes[:1] if checkpoint.spec.denoising.grow_id else (4, 6)
    return Filler(replace(checkpoint, spec=replace(checkpoint.spec, hole_sizes=sizes, **changes)))


def run(filler, request):
    *drafts, fill = filler.fill(request)
    assert isinstance(fill, Fill)
    assert all(isinstance(draft, Draft) and len(draft.holes) == len(request.holes) for draft in drafts)
    return [draft.texts for draft in drafts], replace(fill, ms=0.0)


def test_the_same_seed_gives_the_same_fill(made, name):
    """At the published temperature, whatever was filled before; other seeds give others."""
    filler = small(made[name])
    first = run(filler, replace(REQUEST, seed=3))
    others = [run(filler, replace(REQUEST, seed=seed)) for seed in range(4, 9)]
    assert run(filler, replace(REQUEST, seed=3)) == first
    livelier = replace(filler.spec.sampling, t_min=2.0, t_max=2.0, top_p=1.0)
    livelier = small(replace(made[name], spec=replace(filler.spec, sampling=livelier)))
    assert len({str(run(livelier, replace(REQUEST, seed=seed))) for seed in range(4)}) > 1
    assert not any(mark in text for _, fill in others for text in fill.texts for mark in ("<|", "<M>"))


@pytest.mark.parametrize("strength", [0.3, 0.7])
def test_a_part_of_the_text_is_kept(made, name, strength, monkeypatch):
    checkpoint = made[name]
    filler = small(greedy(checkpoint))
    text = "a = 1\nvalue of all\nb = 2\n"
    request = FillRequest(text, (Span(6, 18),), language=None, strength=strength, seed=2)
    runs, _ = steps_of(filler, request, monkeypatch)
    assert runs
    present = filler.tokens.encode("value of all")
    for canvas, steps, _ in runs:
        assert len(canvas.tokens) == 1
        start = len(filler.tokens.encode("a = 1\n")) + (checkpoint.spec.bos_id is not None)
        (hole,) = steps[-1][1].holes or (range(start, start + len(present) + min(filler.spec.hole_sizes)),)
        tokens = steps[-1][1].tokens[0].tolist()
        known = canvas.start_known[0] if canvas.start_known is not None else ~canvas.is_hole[0]
        kept = [present[at] for at in range(len(present)) if known[start + at]]
        assert 0 < len(kept) < len(present)
        left = iter(tokens[hole.start : hole.stop])
        assert all(token in left for token in kept)  # in this order
        assert tokens[: hole.start] == canvas.tokens[0, : hole.start].tolist()


@pytest.mark.parametrize("changes", [{"candidates": 3}, {"sizes": (2, 3, 5)}, {"max_lines": 1}, {"max_steps": 2}])
def test_requests_of_every_kind_are_answered(made, name, changes):
    filler = small(made[name])
    _, fill = run(filler, replace(REQUEST, **changes))
    assert fill.texts or fill.reason
    assert fill.nfe
    if changes.get("max_lines"):
        assert "\n" not in fill.texts[0]


def test_a_long_hole_is_written_canvas_after_canvas(made, name, monkeypatch):
    """Between the two sides, and each behind those before it; nothing is read causally."""
    filler = small(greedy(made[name]), canvas=10)
    monkeypatch.setattr(prefix_cache, "encode", lambda *args: pytest.fail("nothing is read causally"))
    text = "a = 1\n" + "x + " * 8 + "\nb = 2\n"
    runs, fill = steps_of(filler, FillRequest(text, (Span(6, 38),), language=None), monkeypatch)
    before = filler.tokens.encode("a = 1\n")
    first, *_, last = (canvas for canvas, *_ in runs)
    assert int(first.is_hole.sum()) == 10
    at = int(first.is_hole[0].int().argmax())
    assert first.tokens[0, :at].tolist()[-len(before) :] == before
    assert int(last.is_hole[0].int().argmax()) >= at + 20
    after = filler.tokens.encode("\nb = 2\n")
    assert first.tokens[0, at + 10 :].tolist()[: len(after)] == after
    assert fill.nfe == sum(len(steps) for _, steps, _ in runs)


def test_a_fill_is_cancelled_before_the_next_pass(made, name):
    events = small(made[name]).fill(REQUEST, (answers := iter([False, False, False, True])).__next__)
    with pytest.raises(FillCancelled):
        list(events)
    assert next(answers, None) is None


def test_it_cannot_write_left_to_right(made, name):
    with pytest.raises(UnsupportedCheckpoint, match="cannot write left to right"):
        Filler(made[name], left_to_right=True)


def test_the_surest_size_is_the_best(made, monkeypatch):
    """By the mean entropy of its slots when they were accepted."""
    filler, ranked = small(greedy(made["Dream"])), []
    ranking = Ranking.rank
    monkeypatch.setattr(
        Ranking,
        "rank",
        lambda self, layout, rows: (ranked.append((rows, found := ranking(self, layout, rows))), found)[1],
    )
    runs, _ = steps_of(filler, REQUEST, monkeypatch)
    rows, found = ranked[0]
    assert [len(row.spans[0]) for row in rows] == [4, 6]
    entropy = [
        float(steps[-1][1].entropy.sum()) / len(row.spans[0]) for (_, steps, _), row in zip(runs, rows, strict=False)
    ]
    assert [row.entropy for row in rows] == pytest.approx(entropy)
    assert [row.entropy for row in found] == sorted(entropy)

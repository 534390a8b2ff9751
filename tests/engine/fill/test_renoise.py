"""What is noised again when every candidate breaks the syntax, by each strategy, and what it may cost."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from palimpsest_engine import Draft, Fill, FillRequest, Span, Verdict
from palimpsest_engine.fill import canvas_fill
from palimpsest_engine.fill.detokenize import ReadOut, Row
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.fill.renoise import REPAIRS, chosen, under_the_parser

TEXT = "x = \n"
# A random model writes next to no valid JSON, so repair is often asked for.
BROKEN = FillRequest('{"a": [1, 2, 3], "b": }\n', (Span(22, 22),), language="json")
SEEDS = range(8)


@pytest.fixture(scope="module")
def read(checkpoint):
    filler = Filler(checkpoint)
    return ReadOut(FillRequest(TEXT, (Span(4, 4),)), filler.tokens, filler.spec.filler, "")


def row_of(read, text, size=None, entropy=None):
    ids = read.tokens.encode(text)
    size = size or len(ids)
    row = torch.tensor([*ids, *[read.filler] * (size - len(ids)), *read.tokens.encode("\n")])
    return Row(row, (range(size),), True, torch.zeros(len(row)) if entropy is None else entropy), ids


def test_the_parser_s_spans_and_their_neighbours(read):
    row, ids = row_of(read, "a + ) * bcd")
    ends = read.tokens.ends("a + ) * bcd")
    bad = next(i for i, end in enumerate(ends) if end >= 5)
    at = Span(4 + (ends[bad - 1] if bad else 0) + 1, 4 + ends[bad] - 1) if ends[bad] - ends[bad - 1] > 2 else None
    spans = (at or Span(4 + ends[bad - 1], 4 + ends[bad]),)
    broken = under_the_parser(read, row, Verdict("worse", bad=spans)).nonzero().squeeze(1).tolist()
    assert set(range(max(0, bad - 1), min(len(ids), bad + 2))) <= set(broken)
    assert broken == list(range(broken[0], broken[-1] + 1))
    assert len(broken) < len(row.tokens)


def test_confidence_takes_the_least_certain_and_random_a_run(read):
    entropy = torch.tensor([0.0, 3.0, 0.1, 2.0, 0.2, 9.0, 9.0, 9.0, 9.0])[:9]
    row, ids = row_of(read, "a+b", size=8, entropy=entropy)
    assert len(ids) == 3
    broken = torch.zeros_like(row.tokens, dtype=torch.bool)
    broken[1:3] = True
    generator = torch.Generator().manual_seed(1)
    assert chosen("parser", broken, row, read, generator).tolist() == broken.tolist()
    # Of what is written and the first filler, not of the filler after it.
    assert chosen("confidence", broken, row, read, generator).nonzero().squeeze(1).tolist() == [1, 3]
    seen = {tuple(chosen("random", broken, row, read, generator).nonzero().squeeze(1).tolist()) for _ in range(40)}
    assert seen == {(0, 1), (1, 2), (2, 3)}


def run(filler, request):
    *drafts, fill = filler.fill(request)
    assert isinstance(fill, Fill)
    assert all(isinstance(draft, Draft) for draft in drafts)
    return fill


def of_seed(seed):
    return FillRequest(BROKEN.text, BROKEN.holes, language=BROKEN.language, seed=seed)


def test_each_way_of_repair_offers_nothing_worse_and_none_repairs_nothing(checkpoint):
    treatments = {}
    for repair in REPAIRS:
        filler = Filler(checkpoint, repair, 20.0 if repair != "none" else None)
        fills = [run(filler, of_seed(seed)) for seed in SEEDS]
        assert all(fill.empty or fill.verdict.status in ("valid", "no worse") for fill in fills)
        treatments[repair] = {fill.treatment for fill in fills}
    assert "repaired" not in treatments["none"]
    assert "rejected" in treatments["none"]


def repaired_passes(monkeypatch, checkpoint, repair, repair_ms, clock=None):
    """Decoder passes of the repair stage alone, for each of the seeds whose first candidates all broke something."""
    filler, passes = Filler(checkpoint, repair, repair_ms), []
    mended = canvas_fill.OneCanvas.mended

    def counted(self, *args):
        before = self.nfe
        fill = yield from mended(self, *args)
        passes.append((self.nfe - before, fill is None))
        return fill

    with monkeypatch.context() as patch:
        patch.setattr(canvas_fill.OneCanvas, "mended", counted)
        if clock:
            patch.setattr(canvas_fill, "time", SimpleNamespace(perf_counter=clock))
        for seed in SEEDS:
            run(filler, of_seed(seed))
    return passes


def test_repair_goes_on_for_as_long_as_it_may(checkpoint, monkeypatch):
    """By a clock that a round moves on by one millisecond: no round is begun past the budget."""
    steps = canvas_fill.REPAIR_STEPS

    def ticking():
        ticking.now += 0.001
        return ticking.now

    ticking.now = 0.0
    assert {passes for passes, _ in repaired_passes(monkeypatch, checkpoint, "random", 0.0)} == {0}
    rounds = [p for p, gave_up in repaired_passes(monkeypatch, checkpoint, "parser", 6.0, ticking) if gave_up]
    assert rounds
    assert all(5 <= passes <= 6 * steps for passes in rounds)
    usual = [passes for passes, gave_up in repaired_passes(monkeypatch, checkpoint, "parser", None) if gave_up]
    assert usual
    assert all(passes <= canvas_fill.REPAIR_ROUNDS * steps for passes in usual)

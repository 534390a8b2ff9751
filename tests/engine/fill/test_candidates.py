"""Candidates of one canvas: sizes and tries as one batch, rows that finish, lines written left to right."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from palimpsest_engine import Draft, Fill, FillRequest, Span
from palimpsest_engine.checkpoint.load import Checkpoint
from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_engine.decoding import autoregressive, denoise, scoring
from palimpsest_engine.fill import candidates, writer
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.fill.plan import plan_canvas
from palimpsest_engine.fill.ranking import Ranking
from palimpsest_engine.model import prefix_cache

# At these thresholds rows of a random model finish at different steps.
LIVELY = Sampling(max_steps=9, t_min=0.02, t_max=0.06, entropy_bound=3.0, stability=0, confidence=0.2)
REQUEST = FillRequest("x = \n", (Span(4, 4),), language=None)


def filler_of(checkpoint: Checkpoint, **changes: object) -> Filler:
    return Filler(replace(checkpoint, spec=replace(checkpoint.spec, **changes)))


def run(filler, request):
    *drafts, fill = filler.fill(request)
    assert isinstance(fill, Fill)
    assert all(isinstance(draft, Draft) for draft in drafts)
    return drafts, fill


def batches(filler, request, monkeypatch):
    """Return the rows of each decoder pass."""
    seen, decode = [], denoise.decode
    with monkeypatch.context() as patch:
        patch.setattr(
            denoise, "decode", lambda m, c, tokens, *a: (seen.append(len(tokens)), decode(m, c, tokens, *a))[1]
        )
        run(filler, request)
    return seen


@pytest.mark.parametrize(
    ("unsure", "again", "t_max", "times", "written"),
    [
        (None, 3, 0.06, 1, 0),
        (1e9, 3, 0.06, 1, 0),
        (0.0, 0, 0.06, 1, 0),
        (0.0, 1, 0.06, 2, 0),
        (0.0, 1, 0.0, 1, 0),  # the likeliest text is the same again
        (0.0, 1, 0.06, 2, 1),
        (1e9, 1, 0.06, 1, 1),
    ],
)
def test_unsure_rows_are_drawn_anew_and_give_way_to_surer_ones(
    checkpoint, monkeypatch, unsure, again, t_max, times, written
):
    sampling = Sampling(max_steps=2, t_min=min(0.02, t_max), t_max=t_max, confidence=-1.0, unsure=unsure, again=again)
    filler, ranked, rank = filler_of(checkpoint, sampling=sampling, causal_candidates=written), [], Ranking.rank
    filler.resources = replace(filler.resources, redraw=False)
    monkeypatch.setattr(Ranking, "rank", lambda self, layout, found: ranked.append(found) or rank(self, layout, found))
    rows = batches(filler, REQUEST, monkeypatch)
    assert rows == [3, 3] * times
    (found,) = ranked
    unsure_ones = [] if written and unsure == 0.0 else [False] * 3 * times
    assert [bool(each.logs) for each in found] == unsure_ones + [True] * written


def test_unsure_rows_are_drawn_anew_once_a_request(checkpoint, monkeypatch):
    sampling = Sampling(max_steps=1, t_min=0.02, t_max=0.06, confidence=-1.0, unsure=0.0, again=1)
    filler = filler_of(checkpoint, sampling=sampling)
    canvas = CanvasFill(filler.resources, REQUEST, filler.prefix_cache(""))
    canvas.cache.encode(canvas.layout.context)
    seen, decode = [], denoise.decode
    monkeypatch.setattr(
        denoise, "decode", lambda m, c, tokens, *a: seen.append(len(tokens)) or decode(m, c, tokens, *a)
    )
    plan = plan_canvas(REQUEST, filler.spec, filler.tokens, canvas.layout)
    for times in (2, 3, 4):
        list(canvas.candidates.ranked(canvas.layout, plan))
        assert seen == [3] * times


def test_no_row_is_drawn_anew_if_one_is_sure(checkpoint, monkeypatch):
    sampling = Sampling(max_steps=1, t_min=0.02, t_max=0.06, confidence=-1.0)
    filler, ranked, rank = filler_of(checkpoint, sampling=sampling), [], Ranking.rank
    filler.resources = replace(filler.resources, redraw=False)
    monkeypatch.setattr(Ranking, "rank", lambda self, layout, found: ranked.append(found) or rank(self, layout, found))
    run(filler, REQUEST)
    least, *others = sorted(each.entropy for each in ranked.pop())
    assert least < min(others)
    filler = filler_of(checkpoint, sampling=replace(sampling, unsure=least, again=1))
    filler.resources = replace(filler.resources, redraw=False)
    assert batches(filler, REQUEST, monkeypatch) == [3]
    assert [each.entropy for each in ranked.pop()] == [least]


@pytest.mark.parametrize(
    ("changes", "request_changes", "rows"),
    [
        ({}, {}, 3),
        ({"tries": 3}, {}, 9),
        ({"tries": 3}, {"sizes": (5,)}, 3),
        ({"tries": 3}, {"strength": 0.7}, 1),
        ({"tries": 2, "line_sizes": (2,)}, {}, 6),
        ({"tries": 2, "line_sizes": (2,)}, {"max_lines": 1}, 2),
        ({"line_sizes": (2,)}, {"max_lines": 2}, 3),
        ({"tries": 3}, {"candidates": 2}, 9),
    ],
)
def test_the_first_pass_has_a_row_for_each_size_and_try(checkpoint, monkeypatch, changes, request_changes, rows):
    request = replace(REQUEST, **request_changes)
    assert batches(filler_of(checkpoint, **changes), request, monkeypatch)[0] == rows


def test_a_finished_row_costs_no_further_pass_and_is_still_ranked(checkpoint, monkeypatch):
    filler, ranked, fewer = filler_of(checkpoint, sampling=LIVELY, tries=2), [], 0
    ranking = Ranking.rank
    monkeypatch.setattr(
        Ranking,
        "rank",
        lambda self, layout, rows: (ranked.append(rows), ranking(self, layout, rows))[1],
    )
    for seed in range(4):
        ranked.clear()
        rows = batches(filler, replace(REQUEST, seed=seed), monkeypatch)
        first = rows[: next((i for i in range(1, len(rows)) if rows[i] > rows[i - 1]), len(rows))]
        assert first[0] == 6
        fewer += first[-1] < 6
        assert len(ranked[0]) == 6
        assert [len(row.spans[0]) for row in ranked[0]] == [2, 2, 4, 4, 8, 8]
    assert fewer


def test_pruned_rows_take_no_further_pass(checkpoint, monkeypatch):
    filler = filler_of(checkpoint, prune=((1, 2), (2, 1)))
    assert batches(filler, REQUEST, monkeypatch)[:4] == [3, 2, 1, 1]


@pytest.mark.parametrize(
    ("request_changes", "steps"),
    [
        ({}, 2),  # the shortest of 2, 4 and 8
        ({"sizes": (2,)}, 2),
        ({"sizes": (3,)}, 3),
        ({"sizes": (8, 3)}, 3),
        ({"sizes": (8,)}, 5),
        ({"sizes": (2,), "holes": (Span(0, 0), Span(4, 4))}, 3),  # tokens of both
        ({"sizes": (24,)}, 5),
        ({"sizes": (2,), "max_steps": 1}, 1),
        ({"sizes": (8,), "max_steps": 7}, 7),
    ],
)
def test_the_shortest_row_decides_the_number_of_steps(checkpoint, monkeypatch, request_changes, steps):
    patient = Sampling(max_steps=5, confidence=-1.0)
    filler = filler_of(checkpoint, sampling=patient, steps_by_size=((2, 2), (4, 3)))
    limits, whole = [], candidates.denoise

    def counted(model, cache, canvas, sampling, *others):
        limits.append(sampling.max_steps)
        return whole(model, cache, canvas, sampling, *others)

    monkeypatch.setattr(candidates, "denoise", counted)
    drafts, _ = run(filler, replace(REQUEST, **request_changes))
    assert limits[0] == steps
    assert sum(limits) == len(drafts)


def test_lines_written_left_to_right_are_ranked_with_the_others(checkpoint, monkeypatch):
    ranked, ranking = [], Ranking.rank
    monkeypatch.setattr(
        Ranking,
        "rank",
        lambda self, layout, rows: (ranked.append(rows), ranking(self, layout, rows))[1],
    )
    filler = filler_of(checkpoint, causal_candidates=2)
    drafts, fill = run(filler, REQUEST)
    assert len(ranked[0]) == 3 + 2
    assert fill.nfe > len(drafts)
    alone = run(Filler(checkpoint, left_to_right=True), replace(REQUEST, max_lines=1))[1]
    read = CanvasFill(filler.resources, REQUEST, filler.prefix_cache("")).read
    assert read.texts(ranked[0][3])[0].rstrip() == alone.texts[0].rstrip()
    for request in (replace(REQUEST, sizes=(4,)), replace(REQUEST, strength=0.7)):
        ranked.clear()
        run(filler, request)
        assert len(ranked[0]) == 1


@pytest.mark.parametrize(
    ("text", "at", "count"),
    [
        ("x = \n", 4, 1),
        ("a\n    \nb\n", 6, 3),
        ("", 0, 3),
        ("a\n  y\n", 4, 1),
        ("a\n\ty\n", 3, 1),
        ("a\r\n\r\nb", 3, 3),
    ],
)
def test_a_blank_line_gets_its_own_number_of_lines_written_left_to_right(checkpoint, monkeypatch, text, at, count):
    written, counts = writer.writing, []
    monkeypatch.setattr(writer, "writing", lambda *args: (counts.append(args[7]), written(*args))[1])
    request = FillRequest(text, (Span(at, at),), language=None)
    run(filler_of(checkpoint, causal_candidates=1, blank_line_candidates=3), request)
    run(filler_of(checkpoint, causal_candidates=2), request)
    assert set(counts) == {count, 2}


def test_no_token_of_the_context_is_encoded_twice(checkpoint, monkeypatch):
    """Denoising, writing left to right, ranking and drawing anew encode only the last token of the context again; the next
    fill at that place encodes no other."""
    passes, encode = [], prefix_cache.encode

    def counted(model, cache, tokens):
        passes.append((cache.get_seq_length(), tokens.shape[1]))
        return encode(model, cache, tokens)

    for module in (prefix_cache, autoregressive, scoring):
        monkeypatch.setattr(module, "encode", counted)
    filler = filler_of(checkpoint, causal_candidates=2, tries=2)
    request = FillRequest("def f(x):\n    return \n" * 5, (Span(20, 20),), language="python", document="a")
    context = len(CanvasFill(filler.resources, request, filler.prefix_cache("other")).layout.context)
    fill = run(filler, request)[1]
    assert fill.encoded == fill.context == context
    once = Counter(at for begun, count in passes for at in range(begun, min(begun + count, context - 1)))
    assert once == Counter(range(context - 1))
    assert len(passes) > 3
    passes.clear()
    assert run(filler, request)[1].encoded == 0
    assert passes
    assert all(begun >= context - 1 for begun, _ in passes)

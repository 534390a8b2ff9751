"""Fills by the way they go on a GPU, without one: a shared prefix, padded passes, rows behind it. The texts are the same."""

from __future__ import annotations

import copy
import importlib.util
from dataclasses import replace

import pytest

from palimpsest_engine import Fill, FillRequest, Span
from palimpsest_engine.cuda.backend import Backend
from palimpsest_engine.cuda.fused_layers import make_fused
from palimpsest_engine.cuda.graphs import Prefixes, unrecorded
from palimpsest_engine.cuda.shared_prefix import make_shared
from palimpsest_engine.fill.filler import Filler

TEXT = (
    "def total(entries):\n    found = 0\n    for entry in entries:\n        found += entry.amount\n    return found\n"
)
HOLE = Span(TEXT.index("found +="), TEXT.index("found +=") + 8)
REQUESTS = {
    "insertion": FillRequest(TEXT, (Span(30, 30),)),
    "several": FillRequest(TEXT, (HOLE,), candidates=3, seed=4),
    "rewrite": FillRequest(TEXT, (HOLE,), strength=0.6, seed=2),
    "two holes": FillRequest(TEXT, (Span(20, 25), Span(40, 44)), seed=3),
    "longer than a canvas": FillRequest(TEXT, (Span(len(TEXT), len(TEXT)),), sizes=(40,), seed=5),
}


@pytest.fixture(scope="module")
def ways(checkpoint):
    """(plain, as on a GPU), with left-to-right candidates beside those of diffusion."""
    spec = replace(checkpoint.spec, causal_candidates=2)
    changed = replace(checkpoint, model=copy.deepcopy(checkpoint.model), spec=spec)
    make_shared(changed.model)
    shared = Filler(changed)
    shared.resources = replace(shared.resources, backend=Backend(Prefixes(unrecorded)))
    return Filler(replace(checkpoint, spec=spec)), shared


def answer(filler, request):
    *drafts, fill = filler.fill(request)
    assert isinstance(fill, Fill)
    return [draft.holes for draft in drafts], fill.texts, fill.alternatives, fill.nfe, fill.encoded


@pytest.mark.parametrize("name", REQUESTS)
def test_fills_on_the_gpu_path_have_the_same_texts(ways, name):
    plain, shared = ways
    request = replace(REQUESTS[name], document=name)
    assert answer(shared, request) == answer(plain, request)


def test_fills_after_a_keystroke_have_the_same_texts(ways):
    plain, shared = ways
    for typed in ("x", "xy", "z"):
        text = TEXT[:30] + typed + TEXT[30:]
        request = FillRequest(text, (Span(30 + len(typed), 30 + len(typed)),), document="typed")
        assert answer(shared, request) == answer(plain, request)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_fills_by_fused_layers_have_the_same_texts(ways):
    plain, shared = ways
    request = replace(REQUESTS["insertion"], document="fused", sizes=(2,), max_steps=1)
    expected = answer(plain, request)
    assert make_fused(shared.model)
    assert answer(shared, request) == expected

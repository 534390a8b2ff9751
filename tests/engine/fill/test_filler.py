"""Fills of a tiny random checkpoint: bytes outside holes, seeds, cancelling, several and long holes."""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palimpsest_engine import Draft, Fill, FillCancelled, FillRequest, Span, Verdict
from palimpsest_engine.decoding import denoise
from palimpsest_engine.fill import candidates
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.filler import Filler, joined
from palimpsest_engine.fill.plan import groups, parts
from palimpsest_engine.model.prefix_cache import PrefixCache

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ALPHABET = st.sampled_from(
    [*"abc_XY01 ()[]:,.=\t", "\n", "\n    ", "\r\n", "é", "漢", "😀", "e\u0301", "\u200d", "<pad>", "<fill>"]
)


@pytest.fixture(scope="module", params=["diffusion", "left to right, with a denoiser"])
def either(request):
    """Both families that denoise: the promises are the same."""
    return request.getfixturevalue("checkpoint" if request.param == "diffusion" else "denoising_checkpoint")


@pytest.fixture(scope="module")
def filler(either):
    return Filler(either)


def run(filler, request, cancelled=lambda: False):
    events = list(filler.fill(request, cancelled))
    assert all(isinstance(event, Draft) for event in events[:-1])
    assert isinstance(events[-1], Fill)
    return events[:-1], events[-1]


@st.composite
def requests(draw):
    text = "".join(draw(st.lists(ALPHABET, max_size=40)))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=6)))
    cuts = cuts[: len(cuts) // 2 * 2]
    holes = tuple(Span(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=True))
    return FillRequest(
        text,
        holes,
        document=draw(st.sampled_from(["", "a", "b"])),
        language=draw(st.sampled_from([None, "python", "rust", "klingon"])),
        seed=draw(st.integers(0, 2**31)),
        strength=draw(st.sampled_from([1.0, 0.3])),
        max_lines=draw(st.sampled_from([None, 1, 2])),
        sizes=draw(st.sampled_from([None, (3,), (2, 5), (60,)])),
    )


@QUICK
@given(request=requests())
def test_any_request_ends_in_one_fill_that_changes_only_holes(filler, request):
    drafts, fill = run(filler, request)
    assert len(fill.texts) == len(request.holes)
    assert bool(fill.reason) or not fill.empty
    assert all(len(draft.holes) == len(request.holes) for draft in drafts)
    assert all(0.0 <= draft.settled_share <= 1.0 for draft in drafts)
    assert fill.nfe == len(drafts)
    spliced, at, shift = request.splice(fill.texts), 0, 0
    for hole, text in zip(request.holes, fill.texts, strict=True):
        assert spliced[at + shift : hole.start + shift] == request.text[at : hole.start]
        shift += len(text) - (hole.end - hole.start)
        at = hole.end
    assert spliced[at + shift :] == request.text[at:]
    if request.max_lines is not None:
        assert all(len(text.splitlines()) <= request.max_lines for text in fill.texts)
    assert fill.verdict.status != "worse" or fill.empty


@QUICK
@given(request=requests())
def test_the_same_seed_gives_the_same_fill_after_any_other_fill(either, filler, request):
    fresh = run(Filler(either), request)[1]
    warm = run(filler, request)[1]
    assert (warm.texts, warm.nfe, warm.verdict) == (fresh.texts, fresh.nfe, fresh.verdict)


@pytest.mark.parametrize("text", ["", "x", "x\n", "\n", "é", "a = 1\r\nb = 2\r\n"])
@pytest.mark.parametrize("end", ["start", "end"])
def test_holes_at_both_ends_of_a_text_are_filled(filler, text, end):
    at = 0 if end == "start" else len(text)
    run(filler, FillRequest(text, (Span(at, at),), language="python"))


def test_a_word_under_the_cursor_is_healed_not_repeated(filler):
    """The first token of the hole continues the typed one; its beginning is never written twice, and never lost."""
    text = "import os\nimpo"
    for seed in range(5):
        layout_texts = filler.tokens.texts
        request = FillRequest(text, (Span(len(text), len(text)),), language=None, seed=seed)
        drafts, _ = run(filler, request)
        last = filler.tokens.encode(text)[-1]
        continuing = {t[len(layout_texts[last]) :] for t in layout_texts if t.startswith(layout_texts[last])}
        for draft in drafts:
            shown = draft.texts[0]
            assert any(shown.startswith(piece) for piece in continuing)


def test_a_cancelled_fill_takes_no_further_step(filler):
    request = FillRequest("def f(x):\n    return ", (Span(21, 21),), language="python")
    steps = 0

    def cancelled():
        return steps >= 2

    events = filler.fill(request, cancelled)
    for _ in range(2):
        next(events)
        steps += 1
    with pytest.raises(FillCancelled):
        next(events)
    run(filler, request)  # and the filler is as good as before


def test_a_fill_cancelled_during_encoding_keeps_the_encoded_pieces(filler, monkeypatch):
    monkeypatch.setattr("palimpsest_engine.model.prefix_cache.PIECE", 8)
    text, asked = "total = 1\n" * 12, []

    def cancelled():
        asked.append(None)
        return len(asked) > 3  # before anything is done, and before each of two pieces, it was not

    request = FillRequest(text, (Span(len(text), len(text)),), document="long")
    with pytest.raises(FillCancelled):
        list(filler.fill(request, cancelled))
    assert len(filler.prefix_cache("long").tokens) == 16
    _, fill = run(filler, request)
    assert fill.encoded == fill.context - 16


def test_a_hole_larger_than_a_canvas_is_written_block_after_block(filler, monkeypatch):
    text, committed = "x = [\n]\n", []
    encode = PrefixCache.encode
    monkeypatch.setattr(
        PrefixCache, "encode", lambda self, ids, *more: (committed.append(len(ids)), encode(self, ids, *more))[1]
    )
    _, fill = run(filler, FillRequest(text, (Span(6, 6),), sizes=(60,), language=None))
    canvas, steps = filler.spec.canvas, filler.spec.sampling.max_steps
    blocks = -(-(60 - max(filler.spec.hole_sizes)) // canvas)
    assert blocks >= 2
    assert committed == [fill.context + canvas * i for i in range(blocks + 1)]
    assert blocks + 1 <= fill.nfe <= (blocks + 2) * steps
    assert len(filler.prefix_cache("").tokens) == fill.context  # what was committed for the blocks is rolled back


def test_near_holes_share_a_canvas_and_far_ones_do_not(filler):
    near = FillRequest("a = \nb = \n", (Span(4, 4), Span(9, 9)))
    far = FillRequest("a = \n" + "c = 1234\n" * 30 + "b = \n", (Span(4, 4), Span(5 + 270 + 4, 5 + 270 + 4)))
    assert len(list(groups(near.text, near.holes, filler.spec, filler.tokens))) == 1
    assert len(list(groups(far.text, far.holes, filler.spec, filler.tokens))) == 2


def test_a_fill_has_the_newlines_of_the_document(filler):
    text = "a\r\nb\r\n\r\nc\r\n"
    for seed in range(12):
        _, fill = run(filler, FillRequest(text, (Span(6, 6),), seed=seed, language=None))
        assert "\n" not in fill.texts[0].replace("\r\n", "")


def test_one_more_typed_character_encodes_at_most_two_tokens(filler):
    head = "".join(f"value_{i} = compute(value_{i}, {i})\n" for i in range(3)) + "def f(x):\n    return x + "
    tail = "\n\nprint(f(1))\n"
    first = run(filler, FillRequest(head + tail, (Span(len(head), len(head)),), document="typing"))[1]
    head += "y"
    then = run(filler, FillRequest(head + tail, (Span(len(head), len(head)),), document="typing"))[1]
    assert first.encoded == first.context
    assert then.encoded <= 2


def test_less_strength_starts_from_more_of_the_present_tokens(filler, monkeypatch):
    """The share of present tokens in the first pass falls with the strength."""
    text, hole = "total = alpha + beta + gamma\n", Span(8, 28)
    shown = []
    decode = denoise.decode
    monkeypatch.setattr(denoise, "decode", lambda m, c, tokens, *a: (shown.append(tokens), decode(m, c, tokens, *a))[1])
    kept = []
    for strength in (0.05, 0.5, 1.0):
        shown.clear()
        list(filler.fill(FillRequest(text, (hole,), strength=strength, seed=3, sizes=(24,), language=None)))
        request = FillRequest(text, (hole,), strength=strength, language=None)
        layout = CanvasFill(filler.resources, request, filler.prefix_cache("")).layout
        present = filler.tokens.encode(layout.healed + text[8:28])
        first = shown[0][0].tolist()[
            int(filler.spec.denoising.shift) :
        ]  # the last token of the context stands before it
        kept.append(sum(a == b for a, b in zip(first, present, strict=False)))
    assert kept[0] > kept[1] > kept[2]


def test_a_fill_that_breaks_the_syntax_is_never_offered(filler):
    """A random model writes no valid JSON: everything offered parses no worse, the rest is rejected with a reason."""
    text = '{"a": [1, 2, 3], "b": }\n'
    treatments = set()
    for seed in range(15):
        _, fill = run(filler, FillRequest(text, (Span(22, 22),), language="json", seed=seed))
        treatments.add(fill.treatment)
        if fill.treatment == "rejected":
            assert fill.empty
            assert "syntax" in fill.reason
        else:
            assert fill.verdict.status in ("valid", "no worse")
    assert treatments & {"rejected", "cut", "repaired"}


def test_the_verdict_on_several_canvases_is_the_last_one_with_a_text():
    """The first canvas was judged while the second hole was open; the last one with a text saw the whole document."""
    first = Fill(("a",), Verdict("no worse"), nfe=3, context=10)
    second = Fill(("b",), Verdict("valid"), treatment="repaired", nfe=4, context=20, settled=False)
    nothing = Fill(("",), Verdict("worse"), "no good", treatment="rejected", nfe=5)
    both = joined([first, second], ("a", "b"), 7.0)
    assert (both.texts, both.verdict.status, both.treatment) == (("a", "b"), "valid", "repaired")
    assert (both.nfe, both.context, both.settled, both.ms) == (7, 20, False, 7.0)
    three = joined([first, second, nothing], ("a", "b", "kept"), 1.0)
    assert (three.verdict.status, three.treatment, three.reason) == ("valid", "rejected", "no good")
    assert three.texts == ("a", "b", "kept")
    none = joined([nothing, nothing], ("kept", "kept"), 1.0)
    assert none.verdict.status == "worse"
    assert none.empty


@QUICK
@given(request=requests())
def test_a_touched_up_hole_is_cut_into_parts_that_a_canvas_holds(filler, request):
    for hole in request.holes:
        cut = parts(replace(request, holes=(hole,), strength=0.3), filler.spec, filler.tokens)
        assert "".join(request.text[part.start : part.end] for part in cut) == request.text[hole.start : hole.end]
        assert all(a.end == b.start for a, b in pairwise(cut))
        most = filler.spec.canvas - filler.spec.pins - min(filler.spec.hole_sizes)
        assert all(len(filler.tokens.encode(request.text[p.start : p.end])) <= most + 1 for p in cut)


def test_a_long_selection_is_touched_up_line_by_line(filler):
    text = "".join(f"value_{i} = {i}\n" for i in range(12))
    cut = parts(FillRequest(text, (Span(0, len(text)),), strength=0.3), filler.spec, filler.tokens)
    assert len(cut) > 2
    assert all(part.start == 0 or text[part.start - 1] == "\n" for part in cut)
    drafts, _ = run(filler, FillRequest(text, (Span(0, len(text)),), strength=0.3, language="python"))
    assert all(len(draft.holes) == 1 for draft in drafts)
    assert drafts[0].texts[0].endswith("value_10 = 10\nvalue_11 = 11\n")  # its turn is yet to come


def test_a_hole_without_an_offer_keeps_its_text(filler, monkeypatch):
    text = "a = 1\n" + "# between\n" * 12 + "b = 2\n"
    holes = (Span(4, 5), Span(len(text) - 2, len(text) - 1))
    answers = iter([Fill(("",), Verdict("worse"), "no good"), Fill(("7",), Verdict("valid"))])
    monkeypatch.setattr("palimpsest_engine.fill.canvas_fill.CanvasFill.run", lambda self: iter([next(answers)]))
    _, fill = run(filler, FillRequest(text, holes, language="python"))
    assert fill.texts == ("1", "7")
    assert fill.reason == "no good"


def test_more_wanted_candidates_are_more_rows(filler, monkeypatch):
    rows = []
    denoise = candidates.denoise
    monkeypatch.setattr(
        candidates, "denoise", lambda m, c, canvas, *a: (rows.append(len(canvas.tokens)), denoise(m, c, canvas, *a))[1]
    )
    for count in (1, 3, 8):
        run(filler, FillRequest("x = ", (Span(4, 4),), language=None, candidates=count))
    sizes = len(filler.spec.hole_sizes)
    assert rows[0] == sizes
    by_chance = bool(filler.spec.sampling.t_max)  # without it, more rows would be the same
    assert [count >= wanted for count, wanted in zip(rows[-2:], (3, 8), strict=True)] == [True, by_chance]


def test_a_touch_up_pins_most_of_what_stands_there(filler, monkeypatch):
    """Even a random model changes no more than its share of the tokens, and loses nothing behind them."""
    text, share = "total = alpha + beta + gamma - delta\n", []
    denoise = candidates.denoise

    def watched(model, cache, canvas, *rest):
        cut = parts(request, filler.spec, filler.tokens)
        most = max(len(filler.tokens.encode(text[part.start : part.end])) for part in cut)
        share.append(1 - (int(canvas.is_hole.sum()) - min(filler.spec.hole_sizes)) / most)
        return denoise(model, cache, canvas, *rest)

    monkeypatch.setattr(candidates, "denoise", watched)
    for seed in range(12):
        request = FillRequest(text, (Span(8, 36),), strength=0.2, seed=seed, language=None)
        _, fill = run(filler, request)
        assert fill.treatment in ("none", "rejected")
        same = SequenceMatcher(None, text[8:36], fill.texts[0], autojunk=False).get_matching_blocks()
        assert sum(block.size for block in same) >= 28 / 4
    assert sum(share) / len(share) > 0.7

"""The evidence for a fill: likelihoods, agreement, names; and the confidence that a calibration makes of it."""

from dataclasses import replace

import pytest

from palimpsest_engine import Confidence, Fill, FillRequest, Span, Verdict
from palimpsest_engine.checkpoint.calibration import Calibration
from palimpsest_engine.fill.canvas_fill import CanvasFill
from palimpsest_engine.fill.evidence import Evidence, features, first_line, line_of
from palimpsest_engine.fill.filler import Filler

TEXT = "def area(width, height):\n    return \n"
REQUEST = FillRequest(TEXT, (Span(36, 36),), path="a.py", document="a", max_lines=1, tidy=True)
ALWAYS = Calibration(0.0, {}, {"python": 0.0}, ((0.4, 0.3), (0.6, 0.5), (0.8, 0.7)))


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        ([], 0),
        (["a", "b"], 2),
        (["a", "\n", "b"], 1),
        (["a", "b\n"], 2),  # a token with text and the end of the line
        (["\n", "  ", "a", "\n", "b"], 3),  # the first line with anything on it
        (["\n  a", "\n"], 1),
        (["\n", "\n"], 2),
    ],
)
def test_the_first_line_ends_where_its_text_does(texts, count):
    assert first_line(texts) == count


def test_features_are_numbers_whatever_is_missing():
    fill = Fill(("x",), Verdict("valid"))
    assert set(features(Evidence(()), fill).values()) <= {0.0, 1.0}
    found = features(Evidence((-1.0, -3.0), (-0.5,), 2.0, 0.5, 1), replace(fill, treatment="cut"))
    assert (found["total"], found["worst"], found["mean"], found["behind"]) == (-4.0, -3.0, -2.0, -0.5)
    assert (found["lead"], found["agreement"], found["strange"]) == (2.0, 0.5, 1.0)
    assert (found["doubtful"], found["mended"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("language", "calibration", "expected"),
    [
        ("python", ALWAYS, Confidence(0.5, 0.6)),
        ("go", ALWAYS, None),
        (None, ALWAYS, None),
        ("go", replace(ALWAYS, languages={"": -50.0, "python": 0.0}), Confidence(pytest.approx(0), 0.0)),
        ("python", replace(ALWAYS, intercept=1e9), Confidence(pytest.approx(1), 0.8)),
        (
            "python",
            replace(ALWAYS, weights={"total": 1.0, "no such": 5.0}),
            Confidence(pytest.approx(0.1192, abs=1e-3), 0.0),
        ),
    ],
)
def test_a_calibration_speaks_of_the_languages_that_were_measured(language, calibration, expected):
    assert calibration.confidence({"total": -2.0}, language) == expected


def test_a_fill_says_how_sure_each_of_its_texts_is(checkpoint):
    filler = Filler(replace(checkpoint, calibration=ALWAYS))
    *_, fill = filler.fill(replace(REQUEST, candidates=3, tidy=False))
    assert not fill.empty
    assert len(fill.confidences) == 1 + len(fill.alternatives)


@pytest.mark.parametrize(
    "changes",
    [{"holes": (Span(4, 8), Span(36, 36))}, {"strength": 0.5, "holes": (Span(29, 35),)}, {"path": "a.go"}],
)
def test_nothing_is_said_of_what_was_not_measured(checkpoint, changes):
    *_, fill = Filler(replace(checkpoint, calibration=ALWAYS)).fill(replace(REQUEST, **changes))
    assert fill.confidences == ()


def test_without_a_calibration_nothing_is_said(checkpoint):
    *_, fill = Filler(checkpoint).fill(REQUEST)
    assert fill.confidences == ()


def test_a_part_of_a_candidate_has_what_speaks_for_the_whole(checkpoint):
    filler = Filler(checkpoint)
    canvas = CanvasFill(filler.resources, REQUEST, filler.prefix_cache("a"))
    for _ in canvas.run():
        pass
    found = canvas.candidates.ranking.evidence
    texts = next(iter(found))
    assert canvas.evidence(texts) is found[texts]
    assert canvas.evidence((texts[0][:1],)) in found.values()


def test_the_line_of_a_text_is_the_first_one_that_says_anything():
    assert line_of("\n\n    a = 1  \nb") == "a = 1"
    assert line_of(" \n") == ""

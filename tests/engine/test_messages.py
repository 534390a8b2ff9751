from __future__ import annotations

import contextlib
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palimpsest_engine.engine import Endpoint, EngineSettings, EngineStatus
from palimpsest_engine.errors import CheckpointMissing, FillCancelled, PalimpsestError
from palimpsest_engine.messages import (
    LARGEST,
    PROTOCOL,
    Cancel,
    Drafted,
    Failed,
    Filled,
    Goodbye,
    Hello,
    NotAMessage,
    Retire,
    Submit,
    Told,
    Warm,
    Welcome,
    error_of,
    from_client,
    from_engine,
    request_of,
    to_bytes,
)
from palimpsest_engine.request import Confidence, Diff, Draft, DraftPiece, Excerpt, Fill, FillRequest, Span, Verdict
from palimpsest_engine.trace import Choice, Frame, Judged, Lane, Slot, Stage, StartPiece, Traced

REQUEST = FillRequest(
    "def f():\n    \n",
    (Span(13, 13),),
    document="file:///a.py",
    language="python",
    sizes=(4, 8),
    strength=0.5,
    context=(Excerpt("b.py", "x = 1"),),
    changes=(Diff("a.py", "a", "b"),),
    cursor=3,
)
FILL = Fill(
    ("return 1",),
    Verdict("worse", "why", (Span(1, 2),)),
    treatment="cut",
    alternatives=(("pass",),),
    confidences=(Confidence(0.5, 0.75),),
)
SLOT = Slot("re", 0.5, "open", 7, (Choice("re", 0.75, 7), Choice("", 0.125, 3)))
FRAME = Frame(1.5, (Lane(0, "denoised", ((SLOT,), ()), finished=True), Lane(3, "written", ((), ()))))
TRACED = Traced((Judged(0, ("re", ""), 0, -0.5, "valid", chosen=True),), (Stage("encode", 1.5),))
PIECES = (StartPiece("pinned", "re", key=7), StartPiece("noise", slots=2), StartPiece("present", "x"))
OF_CLIENT = [
    Hello(PROTOCOL, "0.1.0", EngineSettings("a", endpoint=Endpoint("http://localhost"), profile="fast")),
    Warm(),
    Retire("a newer version"),
    Submit(7, REQUEST, True),
    Submit(7, replace(REQUEST, changes=(), start=PIECES, trace=3, temperature=0.5, left_to_right=True), True),
    Cancel(7),
]
OF_ENGINE = [
    Welcome(PROTOCOL, "0.1.0", 4711),
    Goodbye("retired"),
    Told(EngineStatus("ready", model="m", languages=("python",), edit_languages=())),
    Drafted(7, Draft(2, ((DraftPiece("a", True), DraftPiece("b", False)),), 0.5)),
    Drafted(7, Draft(2, ((DraftPiece("a", True),), ()), 0.5, frame=FRAME)),
    Filled(7, FILL),
    Filled(7, replace(FILL, traced=TRACED)),
    Failed(7, "CheckpointMissing", "No such model."),
]


@pytest.mark.parametrize("message", OF_CLIENT, ids=lambda m: type(m).__name__)
def test_a_message_of_a_client_comes_back_the_same(message):
    assert from_client(to_bytes(message)) == message


@pytest.mark.parametrize("message", OF_ENGINE, ids=lambda m: type(m).__name__)
def test_a_message_of_an_engine_comes_back_the_same(message):
    assert from_engine(to_bytes(message)) == message


@given(st.text(st.characters(exclude_categories=("Cs",))), st.data())
def test_any_text_with_a_hole_comes_back_the_same(text, data):
    start = data.draw(st.integers(0, len(text)))
    request = FillRequest(text, (Span(start, data.draw(st.integers(start, len(text)))),))
    assert request_of(to_bytes(request)) == request


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=4)
CHOICES = st.lists(st.builds(Choice, TEXT, st.floats(0, 1), st.integers(0, 2**31)), max_size=3).map(tuple)
SLOTS = st.builds(
    Slot, TEXT, st.floats(0, 20), st.sampled_from(["pinned", "settled", "open"]), st.integers(0, 2**31), CHOICES
)
HOLES = st.lists(st.lists(SLOTS, max_size=3).map(tuple), max_size=2).map(tuple)
LANES = st.builds(Lane, st.integers(0, 99), st.sampled_from(["denoised", "written"]), HOLES, st.booleans())


@given(st.builds(Frame, st.floats(0, 1e6), st.lists(LANES, max_size=3).map(tuple)))
def test_any_frame_comes_back_the_same(frame):
    drafted = Drafted(1, Draft(1, ((),), 0.0, frame=frame))
    assert from_engine(to_bytes(drafted)) == drafted


def raw(*values):
    return msgspec.msgpack.encode(values)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        b"GET / HTTP/1.1\r\n",
        to_bytes(Submit(1, REQUEST, True))[:-3],
        to_bytes(Submit(1, REQUEST, True)) + b"\x00",
        raw("Nobody", 1),
        raw("Submit", "1", {}, True),
        raw("Submit", 1, {"text": "a", "holes": [{"start": 5, "end": 2}]}, True),
        raw("Submit", 1, {"text": "a", "holes": [{"start": 0, "end": 9}]}, True),
        raw("Submit", 1, {"text": "a", "holes": []}, True),
        raw("Hello", 1, "0.1.0", {"quantization": "int2"}),
        raw("Cancel"),
        b"\x91" * 100_000,
    ],
)
def test_bytes_that_are_no_message_are_refused(packed):
    with pytest.raises(NotAMessage):
        from_client(packed)


@given(st.binary(max_size=60))
def test_random_bytes_are_a_message_or_refused(packed):
    for decode in (from_client, from_engine):
        with contextlib.suppress(NotAMessage):
            decode(packed)


def test_half_a_surrogate_pair_cannot_be_sent():
    with pytest.raises(NotAMessage, match="surrogate"):
        to_bytes(Submit(1, FillRequest("\ud800", (Span(0, 0),)), False))


def test_a_document_that_is_too_large_cannot_be_sent():
    with pytest.raises(NotAMessage, match="too large"):
        to_bytes(Submit(1, FillRequest("a" * LARGEST, (Span(0, 0),)), False))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("CheckpointMissing", CheckpointMissing),
        ("FillCancelled", FillCancelled),
        ("annotations", PalimpsestError),
        ("SystemExit", PalimpsestError),
        ("", PalimpsestError),
    ],
)
def test_an_error_keeps_its_class_and_its_sentence(kind, expected):
    error = error_of(kind, "No such model.")
    assert type(error) is expected
    assert str(error) == "No such model."

"""Whole fills of the embedded checkpoint on the device: as by the class's own passes, as on the CPU, each time the same."""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib import resources

import pytest
import torch

from gpu.conftest import DEVICE, ON_GPU
from palimpsest_engine import EngineSettings, Fill, FillCancelled, FillRequest, OutOfMemory, Span, open_engine
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.cuda.backend import Backend
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.syntax.watched import SyntaxGate
from palimpsest_eval.held_out import short_holes

pytestmark = pytest.mark.gpu
DOCUMENT = resources.files("palimpsest_bench").joinpath("document.txt").read_text("utf-8")
HOLES = 20 if ON_GPU else 4
TEXT = "def total(entries):\n    found = 0\n    for entry in entries:\n        \n    return found\n"
AT = TEXT.index("        \n") + 8


def filler(device, dtype):
    """Make a filler with the recordings and layers of a GPU where it is one."""
    return Filler(load(EngineSettings(device=str(device), dtype=dtype)))


def plain_filler(dtype):
    """Make a filler on the same device with the class's own passes and the prefix copied to every row."""
    checkpoint = load(EngineSettings(device=str(DEVICE), dtype=dtype))
    made = Filler(checkpoint)
    made.resources = replace(made.resources, backend=Backend())
    for module in checkpoint.model.model.modules():
        module.__dict__.pop("forward", None)
    return made


def texts(filler, holes, seed=0):
    out = []
    for number, hole in enumerate(holes):
        *_, fill = filler.fill(replace(hole.request(seed), document=f"{number}"))
        assert isinstance(fill, Fill)
        out.append(fill.texts[0])
    return out


@pytest.fixture
def holes(monkeypatch):
    monkeypatch.setattr(SyntaxGate.__init__, "__defaults__", (60_000.0,))  # nothing goes unchecked on a busy machine
    tokenizer = load(EngineSettings(device="cpu")).tokenizer
    tokenizer.encode_special_tokens = True
    return list(short_holes([DOCUMENT], tokenizer, HOLES, 8, seed=5))


def test_on_the_same_device_the_texts_are_those_of_the_class(holes, report):
    """Same random numbers; in bfloat16 a rounding may turn one."""
    for dtype in ("float32", "bfloat16") if ON_GPU else ("float32",):
        made = filler(DEVICE, dtype)
        if ON_GPU:
            assert made.resources.backend.prefixes is not None
            assert "forward" in vars(made.model.model.decoder.layers[0])
        ours = texts(made, holes)
        assert made.resources.backend.prefixes is None or made.resources.backend.prefixes.recording
        theirs = texts(plain_filler(dtype), holes)
        same = sum(a == b for a, b in zip(ours, theirs, strict=True))
        report(f"fills as by the class's passes, {dtype}", f"{same} of {len(holes)}")
        assert same >= (0.75 if dtype == "float32" else 0.6) * len(holes)


def test_and_about_those_of_the_cpu(holes, report):
    """Other random numbers are drawn there, so that two seeds on the CPU are what this is to be compared with."""
    cpu = filler("cpu", "float32")
    found = {"CPU, float32": texts(cpu, holes), "CPU, float32, another seed": texts(cpu, holes, seed=1)}
    found |= {
        f"{DEVICE}, {dtype}": texts(filler(DEVICE, dtype), holes) for dtype in ("float32", "bfloat16")[: 1 + ON_GPU]
    }
    for name, mine in found.items():
        same = sum(a == b for a, b in zip(mine, found["CPU, float32"], strict=True))
        right = sum(text == hole.truth for text, hole in zip(mine, holes, strict=True))
        report(f"{name}: fills as on the CPU, right", f"{same}, {right} of {len(holes)}")
    mine = found[f"{DEVICE}, {'bfloat16' if ON_GPU else 'float32'}"]
    base = found["CPU, float32, another seed"]
    same, usual = (sum(a == b for a, b in zip(each, found["CPU, float32"], strict=True)) for each in (mine, base))
    assert same >= usual - 0.25 * len(holes)


@pytest.fixture(scope="module")
def engine():
    engine = open_engine(EngineSettings(device=str(DEVICE), dtype="bfloat16" if ON_GPU else "float32"))
    yield engine
    engine.close()


def request(**more):
    return FillRequest(TEXT, (Span(AT, AT),), language="python", **more)


@pytest.mark.xdist_group("engine")
def test_the_same_seed_twice_is_the_same_fill(engine, caplog):
    with caplog.at_level(logging.WARNING):
        for candidates in (1, 3):
            runs = []
            for document in ("a", "b", "a"):
                asked = request(document=document, seed=7, candidates=candidates)
                fill = engine.submit(asked).future.result(120)
                runs.append((fill.texts, fill.alternatives, fill.nfe))
            assert runs[0] == runs[1] == runs[2]
    assert [record.getMessage() for record in caplog.records] == []  # nothing fell back to a plain way


@pytest.mark.xdist_group("engine")
def test_cancelling_takes_effect_before_the_next_step(engine):
    steps, job = [], None

    def on_draft(draft):
        steps.append(draft.step)
        if job is not None:
            job.cancel()

    job = engine.submit(request(document="cancelled", sizes=(16,), max_steps=60, seed=1), on_draft)
    with pytest.raises(FillCancelled):
        job.future.result(120)
    assert len(steps) <= 2  # the first draft may come before `job` is bound
    assert engine.submit(request(document="cancelled")).future.result(120)


@pytest.mark.xdist_group("engine")
def test_a_keystroke_after_the_other(engine):
    """The encoded prefix grows and is rolled back; a fill is that of a document seen for the first time."""
    for number, typed in enumerate(("f", "fo", "foun", "f", "")):
        text, at = TEXT[:AT] + typed + TEXT[AT:], AT + len(typed)
        runs = [
            engine.submit(
                FillRequest(text, (Span(at, at),), document=document, language="python", seed=3)
            ).future.result(120)
            for document in ("typed", f"fresh {number}")
        ]
        assert runs[0].texts == runs[1].texts


@pytest.mark.xdist_group("engine")
def test_out_of_memory_is_the_answer_and_the_next_request_is_filled(engine, report):
    if not ON_GPU:
        pytest.xfail("a rehearsal has no memory to take")
    before = engine.submit(request(document="before", seed=2)).future.result(120)
    torch.cuda.empty_cache()
    hog, size = [], 2**30
    limit = torch.cuda.memory_reserved() + 64 * 2**20
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(DEVICE).total_memory)
    try:
        while size >= 512:
            try:
                hog.append(torch.empty(size, dtype=torch.uint8, device=DEVICE))
            except torch.OutOfMemoryError:
                size //= 4
        long = DOCUMENT + "\n" + TEXT
        at = len(DOCUMENT) + 1 + AT
        asked = FillRequest(
            long, (Span(at, at),), document="no room", language="python", sizes=(2, 4, 8, 16), candidates=3
        )
        with pytest.raises(OutOfMemory) as failed:
            engine.submit(asked).future.result(120)
        report("the error when memory runs out", failed.value)
        assert engine.status().state in ("ready", "busy")
    finally:
        hog.clear()
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    after = engine.submit(request(document="before", seed=2)).future.result(120)
    assert after.texts == before.texts
    assert engine.submit(asked).future.result(120)

"""Memory or a device fails: the error, the status, the checkpoint that answers; and the rehearsal, which leaves no trace.

The models are real; their passes raise what torch raises.
"""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import Counter

import pytest
import torch

from palimpsest_engine import EngineSettings, Fill, FillCancelled, FillRequest, Span, open_engine
from palimpsest_engine.checkpoint import adopt, store
from palimpsest_engine.decoding import denoise as loop
from palimpsest_engine.errors import DeviceLost, DeviceUnsupported, LanguageUnknown, OutOfMemory, PalimpsestError
from palimpsest_engine.model.device_errors import outage
from palimpsest_engine.runtime import doctor
from palimpsest_engine.runtime.fallback import SHORTAGES, FallbackFiller

TEXT = "def f(x):\n    return \n"
FULL = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.68 GiB of which 1.20 GiB is free. "
    "Including non-PyTorch memory, this process has 22.00 GiB memory in use."
)
LOST = torch.AcceleratorError(
    "CUDA error: unspecified launch failure\nSearch for `cudaErrorLaunchFailure' in https://docs.nvidia.com/cuda"
)
TOO_OLD = torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device\nSearch for ...")


def request(seed=0, language="python", **more):
    return FillRequest(TEXT, (Span(21, 21),), language=language, seed=seed, max_steps=2, **more)


class Device:
    """Makes the decoder passes of the tiny model fail, and of no other. passes: their number for each model, by the size of
    its vocabulary."""

    def __init__(self, monkeypatch, vocabulary):
        self.fault, self.passes, self.tiny = None, Counter(), vocabulary
        self.seen = lambda: None
        decode = loop.decode

        def pass_of(model, *arguments):
            vocabulary = model.config.get_text_config().vocab_size
            self.passes[vocabulary] += 1
            if vocabulary == self.tiny and self.fault is not None:
                activations = torch.zeros(3)  # as a real pass would have some
                self.seen = weakref.ref(activations)
                raise type(self.fault)(*self.fault.args)
            return decode(model, *arguments)

        monkeypatch.setattr(loop, "decode", pass_of)


@pytest.fixture
def device(monkeypatch, checkpoint):
    return Device(monkeypatch, checkpoint.model.config.get_text_config().vocab_size)


def opened(checkpoint_folder, **more):
    filler = FallbackFiller(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", **more))
    filler.open()
    assert (filler.status.state, filler.status.model, filler.status.reason) == ("ready", "tiny", "")
    return filler


def fill(filler, asked=None):
    *_, last = filler.fill(asked or request(), lambda: False)
    assert isinstance(last, Fill)
    return last


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FULL, OutOfMemory),
        (MemoryError(), OutOfMemory),
        (OutOfMemory("already ours"), OutOfMemory),
        (torch.AcceleratorError("CUDA error: out of memory\nSearch for ..."), OutOfMemory),
        (RuntimeError("CUDA driver error: out of memory"), OutOfMemory),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), OutOfMemory),
        (RuntimeError("Triton Error [CUDA]: out of memory"), OutOfMemory),
        (LOST, DeviceLost),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"), DeviceLost),
        (RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"), DeviceLost),
        (TOO_OLD, DeviceUnsupported),
        (
            torch.AcceleratorError("CUDA error: invalid device ordinal\nGPU device may be out of range"),
            DeviceUnsupported,
        ),
        (RuntimeError("The NVIDIA driver on your system is too old (found version 11040)."), DeviceUnsupported),
        (RuntimeError("CUDA error: the provided PTX was compiled with an unsupported toolchain."), DeviceUnsupported),
        (RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"), None),
        (ValueError("out of memory"), None),
        (FillCancelled("The fill was cancelled."), None),
    ],
    ids=str,
)
def test_errors_of_torch_become_the_right_outage(error, kind):
    why = outage(error, "during a fill", "cuda:0" if kind is not DeviceLost else "a GPU that is gone")
    assert type(why) is (kind or type(None))
    if kind is not None:
        assert "\n" not in str(why)
        assert str(why).endswith(".") or isinstance(error, PalimpsestError)


def test_running_out_of_main_memory_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    why = outage(caught.value, "during a fill", "cpu")
    assert isinstance(why, OutOfMemory)
    assert "enforce fail" not in str(why)


def test_an_error_on_a_gpu_that_still_works_is_no_outage(monkeypatch):
    monkeypatch.setattr("palimpsest_engine.model.device_errors.works", lambda device: True)
    assert outage(torch.AcceleratorError("CUDA error: invalid argument"), "during a fill", "cuda") is None


def test_the_cause_of_an_error_counts_too():
    error = PalimpsestError("The checkpoint cannot be loaded.")
    error.__cause__ = FULL
    assert isinstance(outage(error, "while the checkpoint was loaded", "cuda"), OutOfMemory)


def test_out_of_memory_ends_one_fill_and_not_the_next(checkpoint_folder, device):
    filler = opened(checkpoint_folder)
    expected = fill(filler).texts
    device.fault = FULL
    with pytest.raises(OutOfMemory, match=r"2\.00 GiB.* With fallback the embedded") as caught:
        fill(filler, request(document="a"))
    assert caught.value.exit_code == 30
    assert not filler._own.filler.cached  # freed
    assert "Memory ran out" in filler.status.reason
    assert filler.status.state == "ready"
    caught = None
    gc.collect()
    assert device.seen() is None  # and so are the tensors of the pass that failed
    device.fault = None
    assert fill(filler).texts == expected
    assert filler.status.reason == ""


@pytest.mark.parametrize(("fault", "kind"), [(LOST, DeviceLost), (TOO_OLD, DeviceUnsupported)])
def test_a_lost_device_is_not_tried_again(checkpoint_folder, device, fault, kind):
    filler = opened(checkpoint_folder)
    device.fault = fault
    for _ in range(3):
        with pytest.raises(kind, match="With fallback the embedded checkpoint would answer"):
            fill(filler)
    assert device.passes[device.tiny] == 1  # it is asked no more
    assert (filler.status.state, filler.status.exit_code) == ("error", kind.exit_code)
    assert str(fault).split("\n")[0] in filler.status.reason


@pytest.mark.parametrize("fault", [LOST, TOO_OLD])
def test_with_fallback_the_embedded_checkpoint_answers_for_a_lost_device(checkpoint_folder, device, fault):
    filler = opened(checkpoint_folder, fallback=True)
    device.fault = fault
    for _ in range(2):
        fill(filler)
        assert filler.status.state == "ready"
        assert filler.status.model == "palimpsest-py-6m"
        assert filler.status.device.startswith("cpu")
        assert filler.status.reason.startswith("The embedded checkpoint answers. ")
        assert str(fault).split("\n")[0] in filler.status.reason
    assert device.passes[device.tiny] == 1
    with pytest.raises(PalimpsestError):  # it was not trained on that
        fill(filler, request(language="rust"))


def test_with_fallback_the_third_shortage_in_a_row_is_the_last(checkpoint_folder, device):
    filler = opened(checkpoint_folder, fallback=True)
    expected = fill(filler).texts
    for _ in range(2):
        device.fault = FULL
        for _ in range(SHORTAGES - 1):
            fill(filler)
            assert (filler.status.state, filler.status.model) == ("ready", "tiny")
            assert "The embedded checkpoint answered; the next fill tries again." in filler.status.reason
        device.fault = None
        assert fill(filler).texts == expected
        assert filler.status.reason == ""
    device.fault = FULL
    for _ in range(SHORTAGES):
        fill(filler)
    asked = device.passes[device.tiny]
    device.fault = None
    fill(filler)
    assert device.passes[device.tiny] == asked
    assert filler.status.model == "palimpsest-py-6m"
    assert filler._own is None  # its memory is free


def loading_fails(monkeypatch, folder, fault):
    """Make the class fail when it reads that folder's weights."""
    from transformers import DiffusionGemmaForBlockDiffusion as Model

    read = Model.from_pretrained

    def failing(where, *arguments, **options):
        if str(where) == str(folder):
            raise type(fault)(*fault.args)
        return read(where, *arguments, **options)

    monkeypatch.setattr(Model, "from_pretrained", failing)


@pytest.mark.parametrize(("fault", "kind"), [(FULL, OutOfMemory), (TOO_OLD, DeviceUnsupported), (LOST, DeviceLost)])
def test_an_outage_while_loading_is_an_error_and_with_fallback_a_warning(checkpoint_folder, monkeypatch, fault, kind):
    settings = EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32")
    loading_fails(monkeypatch, checkpoint_folder, fault)
    filler = FallbackFiller(settings)
    filler.open()
    assert (filler.status.state, filler.status.exit_code) == ("error", kind.exit_code)
    with pytest.raises(kind, match="With fallback"):
        fill(filler)
    allowed = FallbackFiller(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", fallback=True))
    allowed.open()
    assert (allowed.status.state, allowed.status.model) == ("ready", "palimpsest-py-6m")
    assert allowed.status.reason.startswith("The embedded checkpoint answers. ")
    fill(allowed)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_with_fallback_the_embedded_checkpoint_answers_for_a_missing_gpu(checkpoint_folder):
    asked = FallbackFiller(EngineSettings(str(checkpoint_folder), device="cuda"))
    asked.open()
    assert (asked.status.state, asked.status.exit_code) == ("error", DeviceUnsupported.exit_code)
    allowed = FallbackFiller(EngineSettings(str(checkpoint_folder), device="cuda", fallback=True))
    allowed.open()
    assert (allowed.status.state, allowed.status.model) == ("ready", "palimpsest-py-6m")
    assert "torch sees no CUDA device" in allowed.status.reason
    engine = open_engine(allowed.settings)
    check = doctor.check_checkpoint(engine)
    assert (check.status, "palimpsest-py-6m" in check.found) == ("warning", True)
    assert allowed.status.reason in check.found
    engine.close()


def test_fallback_does_not_hide_other_failures_to_load(tmp_path):
    filler = FallbackFiller(EngineSettings(str(tmp_path / "nowhere"), fallback=True))
    filler.open()
    assert (filler.status.state, filler.status.exit_code) == ("error", 20)


def test_nothing_answers_for_the_embedded_checkpoint_on_a_cpu(device):
    filler = FallbackFiller(EngineSettings(device="cpu", fallback=True))
    filler.open()
    device.tiny = filler._own.filler.tokens.vocabulary
    device.fault = FULL
    with pytest.raises(OutOfMemory) as caught:
        fill(filler)
    assert "fallback" not in str(caught.value)
    device.fault = None
    fill(filler)


def test_another_error_is_no_outage(checkpoint_folder, device):
    filler = opened(checkpoint_folder, fallback=True)
    device.fault = RuntimeError("shapes do not match")
    with pytest.raises(RuntimeError, match="shapes do not match"):
        fill(filler)
    assert filler.status.model == "tiny"


def test_a_rehearsal_leaves_nothing_behind(checkpoint_folder):
    fresh, warm = opened(checkpoint_folder), opened(checkpoint_folder)
    warm.rehearse(lambda: False)
    assert not warm._own.filler.cached
    assert warm.status == fresh.status
    for seed in range(3):
        ours, theirs = fill(warm, request(seed, document="a")), fill(fresh, request(seed, document="a"))
        assert (ours.texts, ours.nfe, ours.encoded) == (theirs.texts, theirs.nfe, theirs.encoded)


def status_of(engine, wanted):
    """Return the engine's status once it is in one of the wanted states."""
    until = time.monotonic() + 60
    while (status := engine.status()).state not in wanted and time.monotonic() < until:
        time.sleep(0.005)
    return status


def test_a_rehearsal_is_invisible_and_gives_way_to_a_request(checkpoint_folder, monkeypatch):
    begun, go, passes = threading.Event(), threading.Event(), Counter()
    decode = loop.decode

    def held(model, *arguments):
        passes["rehearsal" if not go.is_set() else "asked"] += 1
        begun.set()
        assert go.wait(60)
        return decode(model, *arguments)

    monkeypatch.setattr(loop, "decode", held)
    engine = open_engine(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32"))
    engine.warm()
    assert begun.wait(60)
    assert engine.status().state == "ready"
    assert engine._running is None
    first = engine.submit(request(document="a"))
    go.set()
    assert isinstance(first.future.result(60), Fill)
    assert passes["rehearsal"] == 1
    steps = passes["asked"]
    engine.submit(request(document="a")).future.result(60)
    assert passes["asked"] == 2 * steps  # the first had no pass of the rehearsal's behind it
    engine.close()


def test_a_waiting_request_comes_before_a_rehearsal(checkpoint_folder, monkeypatch):
    rehearsed = []
    monkeypatch.setattr(FallbackFiller, "rehearse", lambda self, cancelled: rehearsed.append(1))
    engine = open_engine(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32"))
    engine.submit(request()).future.result(60)
    engine.close()
    assert rehearsed == []


def test_the_rehearsal_reports_an_unusable_gpu_before_the_first_request(checkpoint_folder, device):
    device.fault = TOO_OLD
    engine = open_engine(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32"))
    engine.warm()
    status = status_of(engine, ["error"])
    assert (status.state, status.exit_code) == ("error", DeviceUnsupported.exit_code)
    with pytest.raises(DeviceUnsupported):
        engine.submit(request()).future.result(60)
    engine.close()


def test_the_embedded_checkpoint_stands_in_for_the_chosen_model(checkpoint_folder, device):
    adopt.add(checkpoint_folder, "mine")
    store.choose("mine")
    filler = FallbackFiller(EngineSettings(device="cpu", dtype="float32", fallback=True))
    filler.open()
    assert (filler.status.state, filler.status.model) == ("ready", "tiny")
    device.fault = LOST
    assert fill(filler).texts is not None
    assert filler.status.model == "palimpsest-py-6m"
    assert filler.status.reason.startswith("The embedded checkpoint answers.")


def test_a_choice_that_is_gone_is_an_error_and_no_other_model_fills():
    store.choose("vanished")
    filler = FallbackFiller(EngineSettings(device="cpu"))
    filler.open()
    assert (filler.status.state, filler.status.exit_code) == ("error", 20)
    assert "chosen model vanished" in filler.status.reason


def test_a_checkpoint_answers_in_its_own_languages_unless_the_request_insists():
    filler = FallbackFiller(EngineSettings("embedded", "cpu", dtype="float32"))
    filler.open()
    for language, path in (("javascript", None), (None, "a.js"), (None, "LICENCE")):
        with pytest.raises(LanguageUnknown, match="trained on python only"):
            fill(filler, request(language=language, path=path))
        fill(filler, request(language=language, path=path, any_language=True))
    assert filler.status.state == "ready"

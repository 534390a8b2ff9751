"""Measurements: that every figure is there and means what it says. No time is asserted."""

from __future__ import annotations

import signal
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

from palimpsest_bench.engine import contexts, diffusers_peer, fills, hardware, peers, steps, subject, timing
from palimpsest_bench.engine.random_models import config_of
from palimpsest_bench.engine.subject import open_subject
from palimpsest_engine import EngineSettings, PalimpsestError
from palimpsest_engine.cuda.graphs import Prefixes, unrecorded
from palimpsest_engine.cuda.shared_prefix import make_shared

TEXT = "def area(width, height):\n    return width * height\n" * 20


@pytest.fixture(scope="module")
def narrow():
    return open_subject(EngineSettings(device="cpu", dtype="float32"), "26b-narrow")


def test_steps_are_measured_for_every_combination_and_against_the_library_for_a_whole_canvas(narrow):
    found = steps.steps(narrow, [32, 8], [1, 2], [5, 130], runs=1)
    rows = found["steps"]
    assert [(row["context"], row["canvas"], row["batch"]) for row in rows] == [
        (context, canvas, batch) for context in (5, 130) for canvas in (32, 8) for batch in (1, 2)
    ]
    against = [row for row in rows if "generate_step_ms" in row]
    assert [(row["canvas"], row["batch"]) for row in against] == [(32, 1)] * 2
    assert list(found["prefill_ms"]) == ["5", "130"]
    assert found["ratio_over_generate"] > 0
    assert found["step_ms"] == next(r["step_ms"] for r in rows if (r["context"], r["canvas"]) == (130, 32))
    assert found["step_over_floor"] == pytest.approx(found["step_ms"] / found["floor"]["floor_ms"])
    assert not {"memory_gib", "steps_failed", "steps_left_out"} & found.keys()


def test_steps_after_the_deadline_are_left_out_and_counted(narrow):
    found = steps.steps(narrow, [32, 8], [1, 2], [5, 6, 7], runs=1, until=time.monotonic())
    assert [(row["context"], row["canvas"], row["batch"]) for row in found["steps"]] == [(6, 32, 1)]
    assert found["steps_left_out"] == 11
    assert found["step_ms"] > 0


@pytest.mark.parametrize(("lengths", "middle"), [([7], 7), ([5, 130], 130), ([1, 3, 2], 2)])
def test_the_middle_is_one_of_them(lengths, middle):
    assert steps.middle(lengths) == middle


def test_a_slope_leaves_out_what_is_done_once(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def work(count):
        clock[0] += 100 + 0.002 * count

    assert timing.slopes({"a": work}, torch.device("cpu"), 3)["a"] == pytest.approx(2.0)


def test_contexts_are_a_curve_by_length(narrow):
    found = contexts.contexts(narrow, [130, 64], runs=1)
    assert [point["tokens"] for point in found["contexts"]] == [64, 130]
    assert all(
        set(point) == {"tokens", "cold_ms", "warm_ms", "step_ms", "cache_mib", "runs"} for point in found["contexts"]
    )
    assert found["contexts"][0]["cache_mib"] < found["contexts"][1]["cache_mib"]
    assert found["contexts_left_out"] == {}


def test_lengths_beyond_the_time_have_a_reason(narrow):
    found = contexts.contexts(narrow, [16, 32, 64], runs=1, until=time.monotonic())
    assert [point["tokens"] for point in found["contexts"]] == [16]
    assert set(found["contexts_left_out"]) == {"32", "64"}


def test_a_length_that_fails_ends_the_curve_and_says_why(narrow, monkeypatch):
    real = contexts.point

    def point(subject, length, runs):
        if length > 16:
            raise RuntimeError("no memory\nat all")
        return real(subject, length, runs)

    monkeypatch.setattr(contexts, "point", point)
    found = contexts.contexts(narrow, [16, 32, 64], runs=1)
    assert len(found["contexts"]) == 1
    assert found["contexts_left_out"] == {"32": "RuntimeError: no memory"}


def test_peers_without_a_compiler_say_so_and_the_others_are_there(narrow, monkeypatch):
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    found = peers.peers(narrow, 16, runs=1)
    assert found["peers"]["static"] is None
    assert "C++ compiler" in found["peers"]["static_reason"]
    assert found["ratio_over_generate_static"] is None
    assert found["ratio_over_generate"] == pytest.approx(found["peers"]["generate"] / found["peers"]["ours"])
    assert set(found["tokens_per_second"]) == {"ours", "generate", "left_to_right"}
    canvas_ms = peers.STEPS_A_CANVAS * found["peers"]["ours"]
    assert found["tokens_per_second"]["ours"] == pytest.approx(1000 * narrow.whole / canvas_ms)


def test_replaced_methods_are_restored_after_the_library_ran(narrow):
    layer = narrow.model.model.decoder.layers[0]
    layer.forward = forward = lambda *given, **more: None
    try:
        with subject.as_the_class_has_it(narrow.model):
            assert layer.forward != forward
        assert layer.forward is forward
    finally:
        del layer.forward


@pytest.mark.parametrize(("times", "threads"), [({1: 5.0, 2: 9.0}, 1), ({1: 9.0, 2: 5.0}, 2)])
def test_the_library_gets_the_threads_that_suit_it(narrow, monkeypatch, times, threads):
    ours = torch.get_num_threads()
    used = []
    monkeypatch.setattr(narrow, "library_threads", None)
    monkeypatch.setattr(narrow, "torch_threads", 2)
    monkeypatch.setattr(narrow.stock, "generate", lambda *given, **more: used.append(torch.get_num_threads()))
    monkeypatch.setattr(steps, "slopes", lambda ways, device, runs: {name: times[int(name)] for name in ways})
    torch.set_num_threads(1)
    try:
        steps.generate(narrow, [1, 2], 2)
        steps.generate(narrow, [1, 2], 2)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(ours)
    assert used == [threads] * 2


def test_compiled_functions_of_the_library_are_freed(narrow):
    stock = narrow.stock
    stock._cache, stock._compiled_encoder = object(), torch.nn.Identity()
    peers.forget_compiled(stock)
    assert not hasattr(stock, "_cache")
    assert not hasattr(stock, "_compiled_encoder")


def test_a_hole_of_64_tokens_takes_ten_steps_of_four_sizes(narrow):
    found = fills.hole(narrow, TEXT, runs=1)
    assert found["fill_64_ms"] > 0
    made_of = found["fill_64"]
    assert (made_of["sizes"], made_of["steps"], made_of["samples"]) == ([16, 32, 48, 64], 10, 1)
    assert 1500 < made_of["context"] <= fills.HOLE_CONTEXT
    assert made_of["encoded"] < 20  # the rest is there from before


def test_only_what_changed_is_encoded_again(narrow):
    found = fills.reencoding(narrow, TEXT, len(TEXT) // 2, runs=1)
    assert found["warm_tokens"] < found["cold_tokens"]


def test_left_to_right_is_measured_for_every_size(narrow):
    found = fills.left_to_right(narrow, TEXT, [len(TEXT) // 2], sizes=(2, 4))
    assert [row["hole_tokens"] for row in found["sizes"]] == [2, 4]


def test_work_that_takes_too_long_is_ended_and_the_alarm_is_off_again():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(PalimpsestError, match="waiting took longer than"), timing.at_most(0.01, "waiting"):
        time.sleep(60)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    with timing.at_most(float("inf"), "anything"):
        pass


def test_work_that_makes_another_error_of_it_was_too_late_all_the_same():
    def compiled():
        try:
            time.sleep(60)
        except PalimpsestError as error:
            raise RuntimeError("another library's own error") from error

    with pytest.raises(PalimpsestError, match="waiting took longer than"), timing.at_most(0.01, "waiting"):
        compiled()


def test_the_floor_is_the_slower_of_reading_and_multiplying(narrow):
    reading = hardware.floor(narrow.model, 32, 1, 64, hardware.Rates(1e30, 1e9))
    multiplying = hardware.floor(narrow.model, 32, 1, 64, hardware.Rates(1e9, 1e30))
    assert reading["floor_ms"] == reading["memory_ms"] > reading["arithmetic_ms"]
    assert multiplying["floor_ms"] == multiplying["arithmetic_ms"] > multiplying["memory_ms"]
    longer = hardware.floor(narrow.model, 32, 4, 128, hardware.Rates(1e9, 1e9))
    assert longer["gigabytes"] > reading["gigabytes"]
    assert longer["gigaflop"] > 3 * reading["gigaflop"]


def test_the_weights_of_the_large_shape_are_read_in_about_ten_milliseconds():
    """As published for an H200: some 50 GB a step at 4.8 TB/s."""
    from transformers import DiffusionGemmaForBlockDiffusion

    with torch.device("meta"):
        model = DiffusionGemmaForBlockDiffusion(config_of("26b")).to(torch.bfloat16)
    size = sum(each.nbytes for each in model.model.decoder.parameters())
    assert 46e9 < size < 52e9
    assert 2e12 < hardware.operations(model, 256, 2048) < 3e12  # 3.8 billion active parameters, 256 positions
    assert hardware.context_bytes(model, 4096) > 1.5 * hardware.context_bytes(model, 512)


def test_the_processor_is_read_as_linux_writes_it(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Nine of Nine\nflags\t\t: fpu avx2 amx_bf16 avx512_bf16 sse\n")
    assert hardware.processor(info) == ("Nine of Nine", ["amx_bf16", "avx512_bf16", "avx2"])
    name, flags = hardware.processor(tmp_path / "none")
    assert name
    assert len(flags) == 1


def test_the_machine_is_described(narrow):
    about = hardware.machine(narrow.device)
    assert set(about) == {"cpu", "gpu", "versions"}
    assert about["gpu"] is None
    assert about["cpu"]["threads"] >= 1
    assert about["versions"]["torch"] == version("torch")


def test_on_a_gpu_the_other_ways_are_timed_beside_the_engines(narrow, monkeypatch):
    """The bookkeeping alone, with the recording left out: there is no GPU here."""
    prefix = steps.PrefixCache(narrow.model)
    prefix.encode(range(10, 30))
    ours = steps.Ours(narrow, prefix, 2, 8)
    failed = {}
    assert steps.other_ways(ours, 3.0, 1, failed) == {}
    make_shared(narrow.model)
    monkeypatch.setattr(narrow.filler.resources.backend, "prefixes", Prefixes(unrecorded))
    found = steps.other_ways(ours, 3.0, 1, failed)
    assert found["recorded_step_ms"] == 3.0
    assert set(found) == {"recorded_step_ms", "shared_step_ms", "plain_step_ms"}
    monkeypatch.setattr(steps, "Prefixes", lambda record: SimpleNamespace(shared=lambda cache: 1 / 0))
    monkeypatch.setattr(narrow.filler.resources.backend, "prefixes", SimpleNamespace(recording=False))
    found = steps.other_ways(ours, 3.0, 1, failed)
    assert set(found) == {"plain_step_ms"}
    assert set(failed) == {"recorded_step_ms", "shared_step_ms"}
    assert failed["shared_step_ms"].startswith("ZeroDivisionError")


class Careless:
    """A pipeline with the step callback of diffusers, which replaces the first canvas position after the last one."""

    def __init__(self, model, scheduler, processor):
        self.model, self.ids = model, processor.apply_chat_template([])["input_ids"]

    def set_progress_bar_config(self, disable):
        pass

    def __call__(self, gen_length, num_inference_steps, confidence_threshold, callback_on_step_end=None, **more):
        canvas = torch.zeros(1, gen_length, dtype=torch.long)
        for step in range(num_inference_steps):
            logits = torch.nn.functional.one_hot(canvas + 1, 4096).float()
            if callback_on_step_end is not None:
                canvas = callback_on_step_end(self, step, step, {"canvas": canvas, "logits": logits})["canvas"]
        if confidence_threshold is not None:
            canvas[0, -1] = 4095
        return SimpleNamespace(sequences=canvas)


def test_pins_of_the_other_library_are_compared_with_ours(narrow, monkeypatch):
    library = SimpleNamespace(DiffusionGemmaPipeline=Careless, EntropyBoundScheduler=lambda **settings: None)
    monkeypatch.setitem(sys.modules, "diffusers", library)
    monkeypatch.setattr(diffusers_peer.importlib.metadata, "version", lambda name: "9")
    found = diffusers_peer.peer(narrow, TEXT, 16, count=3, runs=1)
    assert (found["version"], found["reason"], found["holes"]) == ("9", "", 3)
    pins = found["pins"]
    assert pins["ours"]["kept"] == pins["ours"]["whole"] == pins["diffusers, all steps"]["whole"] == 1.0
    assert pins["diffusers"]["whole"] == 0.0
    assert 0.9 < pins["diffusers"]["kept"] < 1.0
    assert pins["diffusers"]["steps"] == diffusers_peer.STEPS
    assert found["ratio"] == pytest.approx(found["step_ms"]["diffusers"] / found["step_ms"]["ours"])


@pytest.mark.parametrize(
    ("version", "reason"),
    [(lambda name: "9", "AttributeError: no pipeline"), (None, "the package diffusers is not installed")],
)
def test_the_other_library_may_be_missing_or_fail(narrow, monkeypatch, version, reason):
    class Broken:
        def __getattr__(self, name):
            raise AttributeError("no pipeline")

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setitem(sys.modules, "diffusers", Broken())
    monkeypatch.setattr(diffusers_peer.importlib.metadata, "version", version or missing)
    found = diffusers_peer.peer(narrow, TEXT, 16, count=1, runs=1)
    assert found["reason"] == reason
    assert "pins" not in found


@pytest.mark.skipif(find_spec("diffusers") is None, reason="diffusers is not installed")
def test_the_real_pipeline_keeps_all_pins_only_with_all_steps():
    """It keeps them where its own stop does not overwrite them; newer names of transformers it may not know."""
    embedded = open_subject(EngineSettings("embedded", device="cpu"))
    found = diffusers_peer.peer(embedded, TEXT, 16, count=4, runs=1)
    assert "past_key_values" in found["reason"] or found["pins"]["diffusers, all steps"]["whole"] == 1.0

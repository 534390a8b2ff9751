"""Tables of machines: the models that fit, and the one that is recommended. No device is asked."""

from __future__ import annotations

import pytest

from palimpsest_engine.checkpoint.catalogue import entries, entry
from palimpsest_engine.checkpoint.machine import Machine, format_for, parse_gpus, place_for, recommend

GB = 10**9
H100 = "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize(
    ("machine", "name", "reason"),
    [
        (
            Machine(16 * GB, cores=2),
            "qwen2.5-coder-0.5b",
            "the smallest coder answers soonest on 2 CPU cores; it needs 1.4 GB of the 16 GB",
        ),
        (Machine(500 * GB, cores=96), "qwen2.5-coder-0.5b", "Without a GPU that has room"),
        (Machine(1 * GB, cores=4), None, "Only 1.0 GB of memory are free"),
        (Machine(16 * GB, 1 * GB, "small", 8), "qwen2.5-coder-0.5b", "Without a GPU that has room"),
        (Machine(16 * GB, 2 * GB, "small", 8), "qwen2.5-coder-0.5b", "the 2.0 GB free on small"),
        (Machine(16 * GB, 4 * GB, "card", 8), "qwen2.5-coder-1.5b", "the 4.0 GB free on card"),
        (Machine(16 * GB, 8 * GB, "card", 8), "qwen2.5-coder-1.5b", "the 8.0 GB free on card"),
        (Machine(16 * GB, 24 * GB, "card", 8), "qwen2.5-coder-7b", "the 24 GB free on card"),
        (Machine(16 * GB, 80 * GB, H100, 16), "qwen2.5-coder-7b", "the larger models have not been measured here"),
    ],
)
def test_a_model_is_recommended_for_every_machine(machine: Machine, name: str | None, reason: str) -> None:
    found = recommend(machine, entries())
    assert found.name == name
    assert reason in found.reason


@pytest.mark.parametrize("gpu", [0, 20, 24, 48, 80, 192])
def test_nothing_unmeasured_or_restricted_is_recommended(gpu: int) -> None:
    name = recommend(Machine(64 * GB, gpu * GB, "card" if gpu else "", 16), entries()).name
    assert name not in (None, "diffusiongemma-26b", "qwen2.5-coder-3b")


@pytest.mark.parametrize(
    ("name", "machine", "place"),
    [
        ("qwen2.5-coder-3b", Machine(16 * GB), "memory"),
        ("qwen2.5-coder-3b", Machine(16 * GB, 8 * GB, "card"), "gpu"),
        ("qwen2.5-coder-3b", Machine(4 * GB, 4 * GB, "card"), None),
        ("diffusiongemma-26b", Machine(16 * GB, 18 * GB, "card"), "gpu"),
        ("diffusiongemma-26b", Machine(64 * GB), "memory"),
    ],
)
def test_the_place_where_a_model_fits(name: str, machine: Machine, place: str | None) -> None:
    each = entry(name)
    assert each is not None
    assert place_for(each, machine) == place


@pytest.mark.parametrize(
    ("name", "machine", "format"),
    [
        ("qwen2.5-coder-7b", Machine(64 * GB), "none"),
        ("qwen2.5-coder-7b", Machine(64 * GB, 6 * GB, "card"), "none"),
        ("qwen2.5-coder-7b", Machine(64 * GB, 7 * GB, "card"), "int4"),
        ("qwen2.5-coder-7b", Machine(8 * GB, 11 * GB, "card"), "int8"),
        ("qwen2.5-coder-7b", Machine(8 * GB, 24 * GB, "card"), "none"),
        ("qwen2.5-coder-3b", Machine(8 * GB, 4 * GB, "card"), "none"),
    ],
)
def test_the_format_with_which_a_model_fits_a_gpu(name: str, machine: Machine, format: str) -> None:
    each = entry(name)
    assert each is not None
    assert format_for(each, machine) == format


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ("", ("", 0)),
        ("No devices were found\n", ("", 0)),
        ("81000, NVIDIA H100 80GB HBM3\n", (H100, 81000 * 2**20)),
        ("1000, A\n9000, B\n", ("B", 9000 * 2**20)),
        ("[N/A], NVIDIA GB10\n", ("", 0)),
    ],
)
def test_the_driver_s_answer_is_read(told: str, found: tuple[str, int]) -> None:
    assert parse_gpus(told) == found

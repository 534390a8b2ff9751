"""The setup of the tests on a GPU (`-m gpu`): compiled kernels, recorded layers, fills of the embedded checkpoint.

Nothing is skipped: without a GPU these tests fail. `PALIMPSEST_TEST_DEVICE=cpu` rehearses most of them through Triton's
interpreter.
"""

from __future__ import annotations

import os

# Before anything imports triton.
if os.environ.get("PALIMPSEST_TEST_DEVICE", "cuda") == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"
else:
    os.environ.pop("TRITON_INTERPRET", None)

import pytest
import torch

DEVICE = torch.device(os.environ.get("PALIMPSEST_TEST_DEVICE", "cuda"))
ON_GPU = DEVICE.type == "cuda"


@pytest.fixture(autouse=True)
def _a_gpu():
    """No test of these passes where there is none, unless it is a rehearsal."""
    if ON_GPU:
        assert torch.cuda.is_available(), "these tests need a CUDA device"


@pytest.fixture
def report(record_property, capsys):
    """Say a figure: it goes to the log and, as a property, to the report in XML."""

    def say(name, value):
        record_property(name, str(value))
        with capsys.disabled():
            print(f"\n[figure] {name}: {value}", flush=True)
        if folder := os.environ.get("PALIMPSEST_TEST_FIGURES"):
            with open(folder, "a", encoding="utf-8") as file:
                file.write(f"{name}: {value}\n")

    return say

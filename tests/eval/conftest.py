"""A tiny random checkpoint of the embedded kind, a few problems with tests, and sandboxes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.load import Checkpoint, load
from palimpsest_eval import execute
from palimpsest_eval.execute import Limits, Sandbox
from palimpsest_eval.problems import Problem, read
from palimpsest_train.model import Shape, build
from palimpsest_train.tokenizer import BOS, FILLER, PREFIX, SUFFIX, new_tokenizer

torch.set_num_threads(1)

# Rows of the shape of HumanEval-Infilling.
ROWS: list[dict[str, Any]] = [
    {
        "task_id": f"Sum/{number}",
        "prompt": f"def add_{number}(a, b):\n    c = {number}\n",
        "canonical_solution": "    d = a + b\n",
        "suffix": "    return c + d\n",
        "test": f"def check(candidate):\n    assert candidate(1, 2) == {number} + 3\n",
        "entry_point": f"add_{number}",
    }
    for number in range(4)
]


def write_checkpoint(folder: Path, **spec: Any) -> Path:
    """Write a random checkpoint of the embedded kind."""
    tokenizer = new_tokenizer([json.dumps(ROWS), Path(__file__).read_text("utf-8")], 400)
    shape = Shape(hidden=32, layers=3, heads=2, kv_heads=1, head_dim=16, mlp=48, expert=16, canvas=24, positions=256)
    model = build(replace(shape, vocabulary=tokenizer.get_vocab_size()), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {
        "name": "tiny",
        "dialect": "fim",
        "filler": FILLER,
        "bos_id": BOS,
        "suffix_id": SUFFIX,
        "prefix_id": PREFIX,
        "context": 128,
        "suffix": 40,
        "canvas": 24,
        "pins": 8,
        "hole_sizes": [4, 8],
        "sampling": {"max_steps": 2},
    }
    (folder / "palimpsest.json").write_text(json.dumps(described | spec), "utf-8")
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("eval") / "tiny")


@pytest.fixture(scope="session")
def checkpoint(folder: Path) -> Checkpoint:
    return load(EngineSettings(str(folder), device="cpu", dtype="float32", threads=1))


@pytest.fixture(scope="session")
def control(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("eval") / "control", name="tiny-ar", left_to_right=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    return path


@pytest.fixture
def problems(data: Path) -> list[Problem]:
    return list(read(data))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sandbox ends a program because the machine is busy; a test of that bound says how long it is."""
    monkeypatch.setattr(execute, "Limits", partial(Limits, seconds=60))


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with more time than any program that ends."""
    with Sandbox(Limits(seconds=60)) as opened:
        yield opened


@pytest.fixture(scope="session")
def hasty() -> Iterator[Sandbox]:
    """A sandbox for programs that do not end."""
    with Sandbox(Limits(seconds=0.3)) as opened:
        yield opened

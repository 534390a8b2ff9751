"""A tiny random checkpoint of the embedded kind (one expert, the packed pass), and a little repository to tune it on."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.load import Checkpoint, load
from palimpsest_train.model import Shape, build
from palimpsest_train.tokenizer import BOS, FILLER, PREFIX, SUFFIX, new_tokenizer

torch.set_num_threads(1)
NAMES = ("total", "items", "price", "count", "order", "basket", "weight", "label")


def module(seed: int, functions: int = 12) -> str:
    """Code that repeats itself, as code does: what one file teaches holds in the next."""
    rng = random.Random(seed)
    out = [f'"""Module {seed} of the shop."""\n\nimport math\n']
    for i in range(functions):
        a, b = rng.sample(NAMES, 2)
        out.append(f"\n\ndef {a}_of_{i}({a}, {b}):\n    result = {a} * {b} + {i}\n    return math.floor(result)\n")
    return "".join(out)


def write_checkpoint(folder: Path, **spec: object) -> Path:
    """A random checkpoint of the embedded kind."""
    tokenizer = new_tokenizer([module(seed) for seed in range(4)], 400)
    shape = Shape(hidden=32, layers=3, heads=2, kv_heads=1, head_dim=16, mlp=48, expert=16, canvas=48, positions=512)
    model = build(replace(shape, vocabulary=tokenizer.get_vocab_size()), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    description = {
        "name": "tiny",
        "dialect": "fim",
        "languages": ["python"],
        "filler": FILLER,
        "bos_id": BOS,
        "suffix_id": SUFFIX,
        "prefix_id": PREFIX,
        "context": 96,
        "suffix": 32,
        "canvas": 48,
        "pins": 8,
        "hole_sizes": [4, 8],
        "sampling": {"max_steps": 2},
    }
    (folder / "palimpsest.json").write_text(json.dumps(description | spec), "utf-8")
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tuned") / "checkpoint")


@pytest.fixture
def checkpoint(folder: Path) -> Checkpoint:
    return load(EngineSettings(str(folder), device="cpu", dtype="float32"), trainable=True)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of twelve modules."""
    root = tmp_path_factory.mktemp("code") / "shop"
    root.mkdir()
    for seed in range(12):
        (root / f"part{seed}.py").write_text(module(seed), "utf-8")
    return root

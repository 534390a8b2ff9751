"""A very small kit: bytes and Qwen2's special tokens, and this repository's own code as texts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from palimpsest_train.denoiser import texts
from palimpsest_train.denoiser.kit import save_ids
from palimpsest_train.denoiser.run import TINY, Kit
from palimpsest_train.denoiser.tokens import NAMES, new_tokenizer

ROOT = Path(__file__).parents[3]
PIECES = ("in", "re", "se", "on", "de", "sel", "self", "ret", "retu", "Ġ=", "def", "Ġself", "ĠĠ", "ĠĠĠĠ")


def small_tokenizer():
    """Single bytes, a few merges, and the special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [
        "i n",
        "r e",
        "s e",
        "o n",
        "d e",
        "se l",
        "sel f",
        "re t",
        "ret u",
        "Ġ =",
        "de f",
        "Ġ self",
        "Ġ Ġ",
        "ĠĠ ĠĠ",
    ]
    tokens = [*alphabet, *PIECES, *NAMES.values()]
    return new_tokenizer(tokens, merges, NAMES.values())


@pytest.fixture(scope="session")
def kit(tmp_path_factory):
    """A folder as `prepare` makes it, but for the base, which is drawn."""
    folder = tmp_path_factory.mktemp("kit")
    tokenizer = small_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    mask = tokenizer.get_vocab_size()
    save_ids(folder, np.arange(mask + 1), mask)
    files = sorted((ROOT / "engine" / "palimpsest_train").glob("*.py"))
    rows = [{"group": "python", "text": path.read_text("utf-8")} for path in files]
    texts.pack(rows[3:], {"python": 2.0}, folder / "train.safetensors", 10**6)
    texts.pack(rows[:3], {}, folder / "held_out.safetensors", 10**6)
    problems = [
        {"task_id": "one", "prompt": "def f(x):\n", "suffix": "", "canonical_solution": "    return x\n"},
        {"task_id": "two", "prompt": "x = [", "suffix": "]\n", "truth": "1, 2", "kind": "span"},
    ]
    with gzip.open(folder / "problems-1-small.jsonl.gz", "wt") as out:
        out.writelines(json.dumps(problem) + "\n" for problem in problems)
    return Kit(folder, TINY)


@pytest.fixture(scope="session")
def vocabulary(kit):
    return kit.vocabulary()

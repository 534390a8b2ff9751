"""A corpus of a few files, and the smoke recipe on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from palimpsest_train.data import LeftToRightRows, Rows
from palimpsest_train.recipe import read_recipe
from palimpsest_train.tokenizer import encode_corpus, new_tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """The engine's own source as a corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    files = sorted((ROOT / "engine" / "palimpsest_engine").rglob("*.py"))
    for split, chosen in (("train", files[:-4]), ("held_out", files[-4:])):
        rows = [json.dumps({"package": "palimpsest", "path": str(f), "text": f.read_text("utf-8")}) for f in chosen]
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    tokenizer = new_tokenizer([f.read_text("utf-8") for f in files], 512)
    tokenizer.save(str(folder / "tokenizer.json"))
    for split in ("train", "held_out"):
        array, starts = encode_corpus(tokenizer, folder, split)
        np.save(folder / f"{split}.npy", array)
        np.save(folder / f"{split}.starts.npy", starts)
    return folder


@pytest.fixture(scope="session")
def smoke():
    """The smallest recipe, whose figures are in its file."""
    return read_recipe("smoke")


def opened(kind, corpus, recipe, seed=3):
    tokenizer = Tokenizer.from_file(str(corpus / "tokenizer.json"))
    return kind(np.load(corpus / "train.npy"), np.load(corpus / "train.starts.npy"), tokenizer, recipe.row, seed)


@pytest.fixture
def rows(corpus, smoke):
    return opened(Rows, corpus, smoke)


@pytest.fixture
def left_to_right(corpus, smoke):
    return opened(LeftToRightRows, corpus, smoke)

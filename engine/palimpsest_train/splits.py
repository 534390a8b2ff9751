"""Open what the trainer reads of a corpus, its tokenizer and token arrays, or say plainly what is missing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from palimpsest_train.data import LeftToRightRows, Rows
from palimpsest_train.errors import TrainingError
from palimpsest_train.recipe import Recipe

ROWS = {"diffusion": Rows, "left-to-right": LeftToRightRows}


def read_tokenizer(corpus: Path) -> Tokenizer:
    """Return the corpus's tokenizer."""
    path = corpus / "tokenizer.json"
    if not path.exists():
        raise TrainingError(f"There is no {path}; make it with `python -m palimpsest_train tokens --corpus {corpus}`.")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing more exact
        raise TrainingError(f"{path} is not a tokenizer: {error}.") from error


def fingerprint(tokenizer: Tokenizer) -> str:
    """Return the SHA-256 of what a tokenizer's ids mean, however its file is laid out."""
    model = json.loads(tokenizer.to_str())["model"]
    return hashlib.sha256(json.dumps(model, sort_keys=True).encode()).hexdigest()


def read_split(corpus: Path, split: str, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens `[N]`, mapped rather than read, and document starts `[D + 1]` of a split."""
    try:
        tokens = np.load(corpus / f"{split}.npy", mmap_mode="r")
        starts = np.load(corpus / f"{split}.starts.npy")
    except FileNotFoundError as error:
        raise TrainingError(
            f"There is no {error.filename}; make it with `python -m palimpsest_train tokens --corpus {corpus}`."
        ) from None
    except (OSError, ValueError, EOFError) as error:
        raise TrainingError(f"The {split} split in {corpus} cannot be read: {error}; encode it again.") from error
    if len(tokens) < recipe.row.context:
        raise TrainingError(
            f"The {split} split in {corpus} has {len(tokens)} tokens, and a row's context is {recipe.row.context}; "
            "it needs more text."
        )
    if not len(starts) or starts[-1] != len(tokens) or int(tokens.max()) >= recipe.shape.vocabulary:
        raise TrainingError(f"The {split} split in {corpus} was not encoded by its tokenizer; encode it again.")
    return tokens, starts


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a split's rows: all that a process needs to draw them itself."""

    corpus: Path
    split: str
    recipe: Recipe
    seed: int

    def open(self) -> Rows:
        """Return the rows, unread."""
        tokenizer = read_tokenizer(self.corpus)
        arrays = read_split(self.corpus, self.split, self.recipe)
        return ROWS[self.recipe.objective](*arrays, tokenizer, self.recipe.row, self.seed)

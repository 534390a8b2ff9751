"""Train the byte-level BPE tokenizer of an embedded checkpoint and turn the corpus into token arrays."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

# Ids as in Gemma for pad, eos, bos; the rest is this project's. `<fill>` follows a middle that is too short for its hole.
SPECIALS = ("<pad>", "<eos>", "<bos>", "<fill>", "<suf>", "<pre>", "<unused0>", "<unused1>")
PAD, EOS, BOS, FILLER, SUFFIX, PREFIX = range(6)

# A newline keeps its indentation and nothing else; words and operators may carry one space; digits stand alone.
PIECES = r"\r?\n[ \t]*| ?[\p{L}_]+|\p{N}| ?[^\s\p{L}\p{N}_]+|[ \t]+(?=[ \t]\S)|\s"


def documents(path: Path) -> Iterator[str]:
    """Yield the texts of a corpus split."""
    with path.open(encoding="utf-8") as rows:
        for row in rows:
            yield json.loads(row)["text"]


def new_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Train a byte-level BPE tokenizer of at most `vocabulary` entries: any text is encoded, and decoded to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def train_tokenizer(corpus: Path, vocabulary: int, seed: int = 0, characters: int = 40_000_000) -> Tokenizer:
    """Train a tokenizer of `vocabulary` entries from a seeded sample of the training split of about so many characters."""
    rng = random.Random(seed)
    texts = list(documents(corpus / "train.jsonl"))
    rng.shuffle(texts)
    sample: list[str] = []
    for text in texts:
        if characters <= 0:
            break
        sample.append(text)
        characters -= len(text)
    return new_tokenizer(sample, vocabulary)


def encode_corpus(tokenizer: Tokenizer, corpus: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of a split as `uint16 [N]`, each document ended by `<eos>`, and document starts `int64 [D + 1]`."""
    tokenizer.encode_special_tokens = True  # a file that mentions `<eos>` does not end there
    arrays: list[np.ndarray] = []
    starts = [0]
    batch: list[str] = []

    def flush() -> None:
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False):
            arrays.append(np.array([*encoding.ids, EOS], dtype=np.uint16))
            starts.append(starts[-1] + len(arrays[-1]))
        batch.clear()

    for text in documents(corpus / f"{split}.jsonl"):
        batch.append(text)
        if len(batch) == 256:
            flush()
    flush()
    return np.concatenate(arrays), np.array(starts, dtype=np.int64)

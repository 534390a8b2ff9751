"""Choose the texts that a checkpoint is tuned on and those held out, and encode both. Knows no files and no model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from palimpsest_engine.errors import DataError
from palimpsest_engine.prompt.layout import EOS
from palimpsest_train.filters import GENERATED, LEAST_CHARACTERS, MOST_CHARACTERS

LONGEST_LINE = 1_000  # more than the trainer takes: here nothing of the user's own is left out lightly
MEAN_LINE = 120
LEAST_TOKENS = 4_000
HELD_OUT = 0.1


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text and its language (a canonical grammar name)."""

    text: str
    language: str


@dataclass(frozen=True, slots=True)
class Split:
    """One part of the code: its sources, their tokens `[N]`, each document ended by `<eos>`, and starts `[D + 1]`."""

    sources: tuple[Source, ...]
    tokens: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True, slots=True)
class Code:
    """The files trained on, those held out (whole files), and how many files were left out, by reason."""

    train: Split
    held_out: Split
    left_out: Counter[str]


def unfit(text: str) -> str:
    """Return why a text is nothing to learn from, or ""."""
    if len(text.strip()) < LEAST_CHARACTERS:
        return "it is short"
    if len(text) > MOST_CHARACTERS:
        return "it is long"
    if GENERATED.search(text[:1000]):
        return "it is generated"
    lines = text.splitlines()
    if max(map(len, lines)) > LONGEST_LINE or len(text) / len(lines) > MEAN_LINE:
        return "its lines are long, as in minified code or tables"
    return ""


def chosen(sources: Iterable[Source]) -> tuple[list[Source], Counter[str]]:
    """Return the sources that are fit, each text once (white space at the ends of lines aside), and how many are not, by
    reason."""
    kept: dict[tuple[str, ...], Source] = {}
    left_out: Counter[str] = Counter()
    for source in sources:
        key = tuple(line.rstrip() for line in source.text.splitlines() if line.strip())
        if reason := unfit(source.text) or ("it is a copy of another" if key in kept else ""):
            left_out[reason] += 1
        else:
            kept[key] = source
    return list(kept.values()), left_out


def prepared(sources: Iterable[Source], tokenizer: Any, seed: int, where: str) -> Code:
    """Encode the code, a tenth of it held out by file.

    The seed and the texts decide the split, not the order in which they come. Raises DataError, with the numbers, if
    there is too little.
    """
    kept, left_out = chosen(sources)
    tokenizer.encode_special_tokens = True  # a file that mentions `<eos>` does not end there
    texts = [source.text.replace("\r\n", "\n") for source in kept]
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    total = sum(map(len, ids))
    if total < LEAST_TOKENS or len(kept) < 2:
        raise DataError(
            f"There is too little code in {where}: {total} tokens in {len(kept)} {'file' if len(kept) == 1 else 'files'} "
            f"({left_out.total()} left out), and tuning takes at least {LEAST_TOKENS} in 2 files."
        )
    order = sorted(range(len(kept)), key=lambda i: kept[i].text)
    random.Random(seed).shuffle(order)
    held, tokens = list[int](), 0
    for i in order:
        if tokens >= HELD_OUT * total:
            break
        if tokens + len(ids[i]) <= total / 2:  # or one long file would take everything
            held.append(i)
            tokens += len(ids[i])
    held = held or [min(order, key=lambda i: len(ids[i]))]
    train = [i for i in order if i not in set(held)]
    return Code(_split(kept, ids, train), _split(kept, ids, held), left_out)


def _split(sources: Sequence[Source], ids: Sequence[list[int]], which: Sequence[int]) -> Split:
    arrays = [np.array([*ids[i], EOS], dtype=np.int64) for i in which]
    starts = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
    return Split(tuple(sources[i] for i in which), np.concatenate(arrays), starts)

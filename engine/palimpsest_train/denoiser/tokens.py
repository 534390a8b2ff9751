"""The base's tokenizer, rebuilt from its GGUF file, and the smaller vocabulary that a run uses. Knows no model.

A run that travels with 40,000 of 151,936 embedding rows needs every text in those ids: a token that was left out falls
apart into the two it was merged from, and so on, down to single bytes, which are always there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from palimpsest_train.errors import TrainingError

WORDS = (  # Qwen2's own pattern
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NAMES = {
    "end": "<|endoftext|>",
    "turn": "<|im_end|>",
    "prefix": "<|fim_prefix|>",
    "middle": "<|fim_middle|>",
    "suffix": "<|fim_suffix|>",
    "filler": "<|fim_pad|>",
    "repository": "<|repo_name|>",
    "file": "<|file_sep|>",
}


def new_tokenizer(tokens: Sequence[str], merges: Iterable[str], special: Iterable[str]) -> Tokenizer:
    """Make a byte-level BPE tokenizer as Qwen2 has it. merges: "left right", the first merged first."""
    pairs: list[tuple[str, str]] = [(left, right) for left, _, right in (m.partition(" ") for m in merges)]
    tokenizer = Tokenizer(BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def plain(tokenizer: Tokenizer) -> Tokenizer:
    """Return the same tokenizer, reading special tokens in a text as the plain text they are there."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`. Raises TrainingError if there is none."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return plain(tokenizer)
    except Exception as error:  # tokenizers raises nothing more exact
        raise TrainingError(f"{path} is not a tokenizer: {error}.") from error


@dataclass(frozen=True, slots=True)
class Special:
    """Ids with a meaning, of whatever vocabulary. ends: what a left-to-right middle may end with."""

    prefix: int
    middle: int
    suffix: int
    filler: int
    mask: int
    ends: tuple[int, ...]
    never: tuple[int, ...]


class Vocabulary:
    """The ids a run uses, ascending, of the base's: a text's ids here are their places in that list.

    Full vocabularies cost nothing: every place is its id.
    """

    def __init__(self, ids: np.ndarray, tokenizer: Tokenizer, mask: int) -> None:
        """Take the ids. mask: id of the base without a token of its own. Raises TrainingError if a needed one is missing."""
        self.ids, self.tokenizer = ids.astype(np.int64), tokenizer
        self.place = np.full(max(int(self.ids[-1]), mask, tokenizer.get_vocab_size()) + 1, -1, dtype=np.int64)
        self.place[self.ids] = np.arange(len(self.ids))
        self._apart: dict[int, list[int]] = {}
        self._merged: dict[str, tuple[str, str]] | None = None
        found = {key: tokenizer.token_to_id(name) for key, name in NAMES.items()}
        here = {key: -1 if i is None else int(self.place[i]) for key, i in found.items()}
        for key in ("prefix", "middle", "suffix", "filler", "end"):
            if here[key] < 0:
                raise TrainingError(
                    f"The vocabulary of this run lacks {NAMES[key]}, without which nothing can be filled."
                )
        if self.place[mask] < 0:
            raise TrainingError(f"The vocabulary of this run lacks the mask id {mask}.")
        ends = tuple(here[key] for key in ("end", "turn", "filler", "file", "repository") if here[key] >= 0)
        spare = np.flatnonzero(self.ids >= self.ids[here["end"]])  # control tokens and unused ids follow the text's
        never = tuple(int(i) for i in spare if i != here["filler"])
        self.special = Special(
            here["prefix"], here["middle"], here["suffix"], here["filler"], int(self.place[mask]), ends, never
        )

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, text: str) -> list[int]:
        """Return the places of a text's tokens."""
        places = (
            self.place[self.tokenizer.encode(text, add_special_tokens=False).ids] if text else np.zeros(0, np.int64)
        )
        if (places >= 0).all():
            found: list[int] = places.tolist()
            return found
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [place for i in ids for place in ([int(self.place[i])] if self.place[i] >= 0 else self.apart(i))]

    def decode(self, places: Iterable[int]) -> str:
        """Return the text of places."""
        return str(self.tokenizer.decode([int(self.ids[p]) for p in places], skip_special_tokens=False))

    def apart(self, token: int) -> list[int]:
        """Return the places of the tokens that one which was left out was merged from."""
        if token not in self._apart:
            if self._merged is None:
                self._merged = merged_from(self.tokenizer)
            self._apart[token] = self._split(self.tokenizer.id_to_token(token) or "")
        return self._apart[token]

    def _split(self, token: str) -> list[int]:
        place = int(self.place[self.tokenizer.token_to_id(token)])
        if place >= 0:
            return [place]
        assert self._merged is not None
        parts = self._merged.get(token) or tuple(token)  # a token of the file's that no merge makes
        return [place for part in parts for place in self._split(part)]


def merged_from(tokenizer: Tokenizer) -> dict[str, tuple[str, str]]:
    """Return the two tokens that each other one was merged from."""
    merges: list[Any] = json.loads(tokenizer.to_str())["model"]["merges"]
    pairs = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in merges]
    return {left + right: (left, right) for left, right in reversed(pairs)}


def choose(tokenizer: Tokenizer, texts: Iterable[str], most: int, mask: int) -> np.ndarray:
    """Choose the ids of a run: all single bytes, the special ones, the mask, and the most frequent of these texts."""
    counts = np.zeros(max(tokenizer.get_vocab_size(), mask + 1), dtype=np.int64)
    for text in texts:
        np.add.at(counts, tokenizer.encode(text, add_special_tokens=False).ids, 1)
    alphabet = [tokenizer.token_to_id(sign) for sign in pre_tokenizers.ByteLevel.alphabet()]
    named = [tokenizer.token_to_id(name) for name in NAMES.values()]
    must = {i for i in (*alphabet, *named, mask) if i is not None}
    frequent = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i] and int(i) not in must]
    return np.array(sorted(must | set(frequent[: most - len(must)])), dtype=np.int64)

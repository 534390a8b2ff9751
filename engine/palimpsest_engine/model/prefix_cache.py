"""Keep the encoded context of one document, and encode again only what changed. Knows tokens, not text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from palimpsest_engine.model.forward import encode
from palimpsest_engine.model.kv_cache import RollbackCache

PIECE = 2048  # tokens encoded at once: as fast as more, and attention scores of the whole context never exist together
PIECE_ON_CPU = 512  # scores that stay in the caches: 2,048 tokens in less than half the time
_BLOCK = 1024


class PrefixCache:
    """The encoded context of one document: after an edit only the tokens from the first changed one on are encoded.

    block: where each position sees its own block of so many, only whole blocks are kept.
    """

    def __init__(self, model: Any, block: int | None = None) -> None:
        self.model, self.block = model, block
        self._forget()

    def encode(self, tokens: Sequence[int], between: Callable[[], None] = lambda: None) -> int:
        """Make the cache hold exactly `tokens`, or their whole blocks; the number of tokens that had to be encoded is
        returned.

        between: called before each piece; what it raises ends the encoding, and what was encoded stays.
        """
        tokens = list(tokens)
        whole, blocks = self.block or 1, {} if self.block is None else {"block": self.block}
        tokens = tokens[: len(tokens) // whole * whole]
        self.rollback(common(self.tokens, tokens) // whole * whole)
        begun = len(self.tokens)
        size = PIECE if self.model.device.type == "cuda" else min(PIECE, PIECE_ON_CPU)
        for start in range(begun, len(tokens), size):
            between()
            piece = tokens[start : start + size]
            try:
                encode(self.model, self.cache, torch.tensor([piece], device=self.model.device), **blocks)
            except BaseException:
                # Some layers may already hold the new tokens: nothing in here can be trusted any more.
                self._forget()
                raise
            self.tokens += piece
        return len(tokens) - begun

    def rollback(self, length: int) -> None:
        """Forget everything after the first `length` tokens; and those, too, if the cache cannot be rolled back so far."""
        surplus = len(self.tokens) - length
        if surplus <= 0:
            return
        if length < self.cache.earliest:
            self._forget()
            return
        for layer in self.cache.layers:
            layer.crop(-surplus)
        del self.tokens[length:]

    def _forget(self) -> None:
        self.tokens: list[int] = []
        self.cache = RollbackCache.for_config(self.model.config.get_text_config())


def common(a: list[int], b: list[int]) -> int:
    """Count the tokens that are the same at the beginning of both; a block at a time, for there may be 64,000."""
    end, at = min(len(a), len(b)), 0
    while at < end and a[at : at + _BLOCK] == b[at : at + _BLOCK]:
        at += _BLOCK
    return next((i for i in range(at, end) if a[i] != b[i]), end)

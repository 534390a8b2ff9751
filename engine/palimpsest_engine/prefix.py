"""The encoded context of one document, of which only what has changed is encoded again. Knows tokens, not text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from palimpsest_engine.cache import RollbackCache
from palimpsest_engine.passes import encode


class PrefixCache:
    """The encoded context of one document: after an edit only the tokens from the first changed one on are encoded."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.tokens: list[int] = []
        self.cache = RollbackCache.for_config(model.config.get_text_config())

    def encode(self, tokens: Sequence[int]) -> int:
        """Make the cache hold exactly `tokens`; the number of tokens that had to be encoded is returned."""
        same = next((i for i, (a, b) in enumerate(zip(self.tokens, tokens, strict=False)) if a != b), None)
        same = min(len(self.tokens), len(tokens)) if same is None else same
        self.rollback(same)
        new = list(tokens[same:])
        if new:
            device = self.model.device
            try:
                encode(self.model, self.cache, torch.tensor([new], device=device))
            except BaseException:
                # Some layers may already hold the new tokens: nothing in here can be trusted any more.
                self.tokens, self.cache = [], RollbackCache.for_config(self.model.config.get_text_config())
                raise
            self.tokens += new
        return len(new)

    def rollback(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        surplus = len(self.tokens) - length
        if surplus > 0:
            for layer in self.cache.layers:
                layer.crop(-surplus)
            del self.tokens[length:]

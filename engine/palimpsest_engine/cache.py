"""The encoder's KV cache of a context, with exact rollback. Knows the model's cache interface, nothing of text.

The stock dynamic cache forgets what has left a sliding window, so it cannot be rolled back past it. These layers keep
every token and show each caller the window it expects: the memory of a full-attention layer buys exactness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin


class RollbackLayer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's keys and values `[B, H, N, D]`, all N of them; `window` None for full attention.

    `keys` and `values` are what the decoder reads: everything, or the last `window - 1` tokens, as in the stock cache.
    """

    is_croppable = True

    def __init__(self, window: int | None) -> None:
        self.window = window
        self.is_sliding = window is not None
        self.all_keys: Tensor | None = None
        self.all_values: Tensor | None = None
        super().__init__()

    def _seen(self, states: Tensor | None, new: int = 0) -> Tensor | None:
        if states is None or self.window is None:
            return states
        return states[:, :, max(0, states.shape[2] - (self.window - 1) - new) :]

    @property
    def keys(self) -> Tensor | None:
        """Keys as the decoder sees them."""
        return self._seen(self.all_keys)

    @keys.setter
    def keys(self, value: Tensor | None) -> None:
        self.all_keys = value

    @property
    def values(self) -> Tensor | None:
        """Values as the decoder sees them."""
        return self._seen(self.all_values)

    @values.setter
    def values(self, value: Tensor | None) -> None:
        self.all_values = value

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to allocate: the first update brings the tensors."""
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append, and return what the new positions may attend to."""
        if self.all_keys is None or self.all_values is None:
            self.all_keys, self.all_values = key_states, value_states
        else:
            self.all_keys = torch.cat((self.all_keys, key_states), dim=2)
            self.all_values = torch.cat((self.all_values, value_states), dim=2)
        self.is_initialized = True
        new = key_states.shape[2]
        keys, values = self._seen(self.all_keys, new), self._seen(self.all_values, new)
        assert keys is not None
        assert values is not None
        return keys, values

    def get_seq_length(self) -> int:
        """Tokens kept."""
        return 0 if self.all_keys is None else int(self.all_keys.shape[2])

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(length, offset) of the keys that `update` will return for so many new positions."""
        past = self.get_seq_length()
        seen = past if self.window is None else min(past, self.window - 1)
        return seen + query_length, past - seen

    def get_max_length(self) -> int:
        """No maximum for full attention; the window otherwise."""
        return -1 if self.window is None else self.window

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last `-tokens_to_remove` tokens (a negative number, as in the library)."""
        if tokens_to_remove and self.all_keys is not None and self.all_values is not None:
            self.all_keys = self.all_keys[:, :, :tokens_to_remove]
            self.all_values = self.all_values[:, :, :tokens_to_remove]


class RollbackCache(Cache):  # type: ignore[misc]
    """A cache of `RollbackLayer`s for a text config."""

    def __init__(self, windows: Sequence[int | None]) -> None:
        super().__init__(layers=[RollbackLayer(window) for window in windows])

    @classmethod
    def for_config(cls, text_config: Any) -> RollbackCache:
        """Layers as the config says: sliding or full."""
        sliding = text_config.sliding_window
        return cls([sliding if kind == "sliding_attention" else None for kind in text_config.layer_types])

    def branch(self, batch: int, length: int | None = None) -> RollbackCache:
        """A cache for `batch` rows that all begin with the first `length` tokens of this one; this one stays as it is."""
        branched = RollbackCache([layer.window for layer in self.layers])
        for mine, theirs in zip(self.layers, branched.layers, strict=True):
            if mine.all_keys is not None and length != 0:
                theirs.all_keys = mine.all_keys[:, :, :length].expand(batch, -1, -1, -1)
                theirs.all_values = mine.all_values[:, :, :length].expand(batch, -1, -1, -1)
                theirs.is_initialized = True
        return branched

    def narrowed(self, rows: int) -> RollbackCache:
        """The same for the first `rows` rows only."""
        narrowed = RollbackCache([layer.window for layer in self.layers])
        for mine, theirs in zip(self.layers, narrowed.layers, strict=True):
            if mine.all_keys is not None:
                theirs.all_keys, theirs.all_values = mine.all_keys[:rows], mine.all_values[:rows]
                theirs.is_initialized = True
        return narrowed

"""Keep the encoder's keys and values of a context, with exact rollback. Knows the model's cache interface, nothing of text.

The stock dynamic cache forgets what has left a sliding window, so it cannot be rolled back past it. These layers keep what
a rollback may need, and show each caller the window it expects. They write into buffers with room to grow: a token more
does not copy those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

LEAST = 64  # tokens that a buffer grows by
KEPT = 2048  # tokens kept before a sliding window; so far back a rollback is exact and a long context costs no more


class RollbackLayer(CacheLayerMixin):
    """One layer's keys and values `[B, H, N, D]`; `window` None for full attention.

    `keys` and `values` are what the decoder reads: everything, or the last `window - 1` tokens, as in the stock cache.
    forgotten: tokens at the beginning that are not kept any more.
    """

    is_croppable = True

    def __init__(self, window: int | None) -> None:
        self.window = window
        self.is_sliding = window is not None
        self.forgotten = 0
        self._length = 0  # of what is kept
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self._own = False  # whether the buffers may be written to
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def kept_keys(self) -> Tensor | None:
        """Return the keys of all tokens but the forgotten ones."""
        return None if self._keys is None else self._keys[:, :, : self._length]

    @property
    def kept_values(self) -> Tensor | None:
        """Return the values of the kept tokens."""
        return None if self._values is None else self._values[:, :, : self._length]

    def _seen(self, states: Tensor | None, new: int = 0) -> Tensor | None:
        if states is None or self.window is None:
            return states
        return states[:, :, max(0, states.shape[2] - (self.window - 1) - new) :]

    @property
    def keys(self) -> Tensor | None:
        """Return the keys as the decoder sees them."""
        return self._seen(self.kept_keys)

    @keys.setter
    def keys(self, value: Tensor | None) -> None:
        assert value is None, "keys come through `update`"

    @property
    def values(self) -> Tensor | None:
        """Return the values as the decoder sees them."""
        return self._seen(self.kept_values)

    @values.setter
    def values(self, value: Tensor | None) -> None:
        assert value is None, "values come through `update`"

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing: the first update brings the tensors."""
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *, kwargs: Any = None) -> tuple[Tensor, Tensor]:
        """Append, and return what the new positions may attend to. kwargs: what the class hands on to caches that the layers
        have arguments for; these have none."""
        new = key_states.shape[2]
        end = self._length + new
        if not self._own or self._keys is None or end > self._keys.shape[2]:
            self._grow(key_states, value_states)
            end = self._length + new
        assert self._keys is not None
        assert self._values is not None
        self._keys[:, :, self._length : end] = key_states
        self._values[:, :, self._length : end] = value_states
        self._length = end
        self.is_initialized = True
        keys, values = self._seen(self.kept_keys, new), self._seen(self.kept_values, new)
        assert keys is not None
        assert values is not None
        return keys, values

    def _grow(self, key_states: Tensor, value_states: Tensor) -> None:
        """Make buffers of our own with room for these and more; forget what has long left the window."""
        kept = self._length
        if self.window is not None:
            kept = min(kept, KEPT + self.window - 1)
        end = kept + key_states.shape[2]
        room = end + max(LEAST, kept // 2)
        keys, values = (
            states.new_empty(*states.shape[:2], room, states.shape[3]) for states in (key_states, value_states)
        )
        if self._keys is not None and self._values is not None:
            keys[:, :, :kept] = self._keys[:, :, self._length - kept : self._length]
            values[:, :, :kept] = self._values[:, :, self._length - kept : self._length]
        self.forgotten += self._length - kept
        self._keys, self._values, self._length, self._own = keys, values, kept, True

    def bytes_for(self, tokens: int) -> int:
        """Return the bytes of the buffers for so many tokens, at the most; 0 as long as nobody knows what a token takes."""
        if self._keys is None or self._values is None:
            return 0
        kept = tokens if self.window is None else min(tokens, KEPT + self.window - 1)
        return (self._keys.nbytes + self._values.nbytes) // self._keys.shape[2] * (kept + max(LEAST, kept // 2))

    def shown(self, rows: int | None, batch: int | None = None, length: int | None = None) -> RollbackLayer:
        """Return a layer that reads the same and writes elsewhere: the first `rows` rows, or the one row `batch` times; of
        it the first `length` tokens."""
        other = RollbackLayer(self.window)
        if self._keys is None or self._values is None or length == 0:
            return other
        other.forgotten, other._length, other.is_initialized = self.forgotten, self._length, True
        other._keys, other._values = self._keys[:rows], self._values[:rows]
        if batch is not None:
            other._keys = other._keys.expand(batch, -1, -1, -1)
            other._values = other._values.expand(batch, -1, -1, -1)
        if length is not None:
            other.crop(length - self.get_seq_length())
        return other

    def get_seq_length(self) -> int:
        """Return the number of tokens encoded, forgotten ones too."""
        return self.forgotten + self._length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return (length, offset) of the keys that `update` will return for so many new positions."""
        past = self.get_seq_length()
        seen = past if self.window is None else min(past, self.window - 1)
        return seen + query_length, past - seen

    def get_max_length(self) -> int:
        """Return -1, no maximum, for full attention, and the window otherwise."""
        return -1 if self.window is None else self.window

    @property
    def earliest(self) -> int:
        """Return the shortest length that a crop can leave so that a whole window is still there."""
        return 0 if self.window is None or not self.forgotten else self.forgotten + self.window - 1

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last `-tokens_to_remove` tokens (a negative number, as in the library)."""
        length = self.get_seq_length() + tokens_to_remove
        assert tokens_to_remove <= 0
        assert tokens_to_remove == 0 or length >= self.earliest, (
            f"{length} tokens, of which {self.forgotten} are forgotten"
        )
        self._length += tokens_to_remove


class RollbackCache(Cache):
    """A cache of `RollbackLayer`s for a text config."""

    layers: list[RollbackLayer]  # type: ignore[assignment]  # the library's is of layers of any kind

    def __init__(self, layers: Sequence[RollbackLayer]) -> None:
        super().__init__(layers=list(layers))

    @classmethod
    def for_config(cls, text_config: Any) -> RollbackCache:
        """Make the layers as the config says: sliding or full."""
        sliding = getattr(text_config, "sliding_window", None)
        kinds = kinds_of(text_config)
        return cls([RollbackLayer(sliding if kind == "sliding_attention" else None) for kind in kinds])

    @property
    def earliest(self) -> int:
        """Return the shortest length that the cache can be rolled back to."""
        return max(int(layer.earliest) for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Return the bytes of its tokens, without the room to grow."""
        states = [each for layer in self.layers for each in (layer.kept_keys, layer.kept_values) if each is not None]
        return sum(each.nbytes for each in states)

    @property
    def allocated(self) -> int:
        """Return the bytes of its tokens, with the room to grow."""
        states = [each for layer in self.layers for each in (layer._keys, layer._values) if each is not None]
        return sum(each.nbytes for each in states)

    def bytes_for(self, tokens: int) -> int:
        """Return what `allocated` would be at the most with so many tokens; 0 as long as it holds nothing."""
        return sum(layer.bytes_for(tokens) for layer in self.layers)

    def branch(self, batch: int, length: int | None = None) -> RollbackCache:
        """Return a cache for `batch` rows that all begin with the first `length` tokens of this one; this one stays as it
        is, and must stay so while the branch is read."""
        return RollbackCache([layer.shown(1, batch, length) for layer in self.layers])

    def narrowed(self, rows: int) -> RollbackCache:
        """Return the same for the first `rows` rows only."""
        return RollbackCache([layer.shown(rows) for layer in self.layers])


class Reading:
    """A cache as a canvas reads it: a pass sees its own keys and values behind those that are kept, and keeps none."""

    def __init__(self, cache: RollbackCache) -> None:
        self.layers = cache.layers

    def update(self, keys: Tensor, values: Tensor, layer: int, *, kwargs: Any = None) -> tuple[Tensor, Tensor]:
        """Return the keys and values `[B, G, N, D]` that the canvas attends to in a layer."""
        kept_keys, kept_values = self.layers[layer].keys, self.layers[layer].values
        if kept_keys is None or kept_values is None:
            return keys, values
        return torch.cat((kept_keys, keys), 2), torch.cat((kept_values, values), 2)


def kinds_of(text_config: Any) -> list[str]:
    """Return the kind of attention of each layer; a config that names none has full attention everywhere."""
    kinds = getattr(text_config, "layer_types", None)
    return list(kinds) if kinds else ["full_attention"] * text_config.num_hidden_layers

"""Attend over a prefix that all rows share: its keys are there once, whatever the number of candidates. For GPUs.

On a GPU the rows of a batch would copy the prefix in every layer of every pass. So what is theirs alone and the prefix are
attended to apart, and the two merged by what their softmaxes add up to. For the decoder the prefix lies in buffers of fixed
addresses (`SharedPrefix`), which `graphs.py` needs; the causal encoder reads the document's cache itself (`Rows`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from palimpsest_engine.model.forward import through
from palimpsest_engine.model.kv_cache import RollbackCache, RollbackLayer
from palimpsest_engine.model.layers import use_attention

SHARED = "palimpsest_shared"
BUCKET = 512  # prefixes are padded to multiples of this; and to powers of two beyond eight of them

Through = Callable[["SharedPrefix", Any, Tensor, Tensor], Tensor]


def padded(length: int) -> int:
    """Return the length of the buffer for a prefix of so many tokens."""
    multiple = -(-max(1, length) // BUCKET) * BUCKET
    return multiple if multiple <= 8 * BUCKET else 1 << (multiple - 1).bit_length()


class SharedLayer:
    """Keys and values `[1, G, S, D]` of one layer, and bias `[S]`: 0 where there is a token, -inf where there is none."""

    def __init__(self, like: Tensor, length: int, bias: Tensor) -> None:
        self.keys = like.new_zeros(1, like.shape[1], length, like.shape[3])
        self.values = torch.zeros_like(self.keys)
        self.bias = bias


class SharedPrefix:
    """The encoded context of one document, in buffers of fixed addresses, read by any number of canvases.

    A cache as far as the decoder is concerned. Layers of the same window share their bias. beside: a bias `[T]` for the
    canvas itself, if part of it is only there to fill a buffer.
    """

    def __init__(self, cache: RollbackCache, run: Through | None = None) -> None:
        self._run = run
        self.beside: Tensor | None = None
        self.capacity = padded(cache.get_seq_length())
        self.length = 0
        self.layers = list[SharedLayer]()
        self._biases = dict[int | None, Tensor]()  # one for all layers of a window
        for layer in cache.layers:
            room = self.capacity if layer.window is None else min(self.capacity, padded(layer.window - 1))
            like = layer.keys
            assert like is not None, "a cache is shared after something was encoded"
            if layer.window not in self._biases:
                self._biases[layer.window] = torch.full((room,), -torch.inf, dtype=like.dtype, device=like.device)
            self.layers.append(SharedLayer(like, room, self._biases[layer.window]))
        self.load(cache)

    def load(self, cache: RollbackCache) -> None:
        """Take over the (first row of the) cache; it must fit."""
        self.length = cache.get_seq_length()
        assert padded(self.length) == self.capacity, f"{self.length} tokens in a buffer for {self.capacity}"
        for mine, theirs in zip(self.layers, cache.layers, strict=True):
            keys, values = theirs.keys, theirs.values
            assert keys is not None
            assert values is not None
            mine.keys[:, :, : keys.shape[2]].copy_(keys[:1])
            mine.values[:, :, : keys.shape[2]].copy_(values[:1])
        for window, bias in self._biases.items():
            seen = self.length if window is None else min(self.length, window - 1)
            bias[:seen] = 0.0
            bias[seen:] = -torch.inf

    def through(self, stack: Any, hidden: Tensor, positions: Tensor) -> Tensor:
        """Run a stack's layers and norm over this prefix; the next pass may overwrite what is returned."""
        if self._run is not None:
            return self._run(self, stack, hidden, positions)
        return through_shared(self, stack, hidden, positions)

    def attended(self, index: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attend with a canvas over this prefix and itself, in the layer of that index."""
        layer = self.layers[index]
        prefix = layer.keys, layer.values, layer.bias
        return shared_attention(query, (key, value, self.beside), prefix, scaling)

    def get_seq_length(self) -> int:
        """Return the number of tokens of the prefix."""
        return self.length

    def narrowed(self, rows: int) -> SharedPrefix:
        """Return the same: it serves any number of rows."""
        return self


class Rows:
    """A cache for rows that go on from one prefix, each in its own way: theirs are only the tokens behind it.

    length: of the prefix; the cache it is in must stay as it is meanwhile.
    """

    def __init__(self, cache: RollbackCache, length: int) -> None:
        self.layers: list[RollbackLayer] = [layer.shown(1, None, length) for layer in cache.layers]
        self.own: list[tuple[Tensor, Tensor] | None] = [None] * len(self.layers)
        self.prefix = length

    def get_seq_length(self) -> int:
        """Return the number of tokens of the prefix and behind it."""
        first = self.own[-1]  # the last layer is written last
        return self.prefix + (0 if first is None else first[0].shape[2])

    def through(self, stack: Any, hidden: Tensor, positions: Tensor) -> Tensor:
        """Run a stack's layers and norm; each layer appends what it encoded."""
        return through_shared(self, stack, hidden, positions)

    def attended(self, index: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Append to the layer of that index; attend causally with the new tokens over the prefix and their own row."""
        before = self.own[index]
        if before is not None:
            key, value = torch.cat((before[0], key), 2), torch.cat((before[1], value), 2)
        self.own[index] = key, value
        layer, new, seen = self.layers[index], query.shape[2], key.shape[2]
        device = query.device
        at = torch.arange(seen - new, seen, device=device)[:, None]  # behind the prefix
        allowed = at >= torch.arange(seen, device=device)
        outside = None
        if layer.window is not None:
            allowed &= at - torch.arange(seen, device=device) < layer.window
        keys, values = layer.keys, layer.values
        if keys is None or values is None:
            rows = query.reshape(query.shape[0], key.shape[1], -1, query.shape[3])
            return ungrouped(softmax_part(rows, key, value, bias_of(allowed, query, key), scaling)[0], query)
        if layer.window is not None and self.prefix + seen >= layer.window:
            there = keys.shape[2]
            outside = at + there - torch.arange(there, device=device) < layer.window
        prefix = keys, values, None if outside is None else bias_of(outside, query, key)
        return shared_attention(query, (key, value, bias_of(allowed, query, key)), prefix, scaling)


def through_shared(shared: SharedPrefix | Rows, stack: Any, hidden: Tensor, positions: Tensor) -> Tensor:
    """Run a stack's layers and norm, with the shared prefix instead of every mask."""
    return through(stack, hidden, positions, dict.fromkeys(stack.unique_layer_types, shared))


def bias_of(allowed: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """Return a bias `[M, S]` in the format of the scores, 0 where `allowed [T, S]` is; M is T for each of the heads of a
    group."""
    bias = torch.zeros(allowed.shape, dtype=query.dtype, device=query.device).masked_fill_(~allowed, -torch.inf)
    return bias.repeat(query.shape[1] // key.shape[1], 1)


def make_shared(model: Any) -> None:
    """Let the attention of decoder and encoder read a `SharedPrefix` and `Rows` in place of a mask; with a mask it is the
    library's."""
    AttentionMaskInterface.register(SHARED, sdpa_mask)
    use_attention(model, SHARED, sdpa_attention_forward)


Part = tuple[Tensor, Tensor, Tensor | None]


def shared_attention(query: Tensor, own: Part, prefix: Part, scaling: float = 1.0) -> Tensor:
    """Attend with `query [B, H, T, D]` over a prefix (keys and values `[1, G, S, D]`, bias `[S]` or `[M, S]` or None) that
    all rows share and over what is its row's own (`[B, G, T', D]`, bias `[T']` or `[M, T']` or None); out `[B, T, H, D]`. M
    is T for each of the H / G heads of a group.

    Two softmaxes merged by their log-sums, as in FlashAttention (arXiv 2205.14135, section 3.1). The queries of a group are
    one matrix against the group's keys, so that neither the keys of a group nor those of the prefix are ever repeated.
    """
    batch, groups, width = query.shape[0], own[0].shape[1], query.shape[3]
    rows = query.reshape(batch, groups, -1, width)
    together = rows.transpose(0, 1).reshape(1, groups, -1, width)
    bias = prefix[2]
    if bias is not None and bias.dim() == 2:
        bias = bias.repeat(batch, 1)
    before, before_sum = softmax_part(together, prefix[0], prefix[1], bias, scaling)
    beside, beside_sum = softmax_part(rows, *own, scaling)
    before = before.view(groups, batch, -1, width).transpose(0, 1)
    before_sum = before_sum.view(groups, batch, -1).transpose(0, 1)
    share = torch.sigmoid(before_sum - beside_sum).unsqueeze(-1)
    merged = before.float() * share + beside.float() * (1.0 - share)
    return ungrouped(merged.to(query.dtype), query)


def ungrouped(out: Tensor, query: Tensor) -> Tensor:
    """Return `[B, G, M, D]` as `[B, T, H, D]`."""
    return out.reshape(query.shape).transpose(1, 2)


def softmax_part(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scaling: float
) -> tuple[Tensor, Tensor]:
    """Return (attention `[A, G, M, D]`, log of what its softmax was divided by `[A, G, M]`, float32) of `query [A, G, M,
    D]` over `key, value [A, G, S, D]`; bias `[S]` or `[M, S]` is added to the scores."""
    if query.is_cuda and (bias is None or bias.dim() == 1):
        spread = None if bias is None else bias.expand(*query.shape[:3], -1)
        out, total, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, spread, True, scale=scaling
        )
        return out, total[..., : query.shape[2]]  # it comes padded
    scores = (query @ key.transpose(2, 3)).float() * scaling
    scores = scores if bias is None else scores + bias.float()
    total = scores.logsumexp(-1)
    # Where nothing may be seen, the other part has all the weight.
    return (scores - total.clamp_min(torch.finfo(total.dtype).min).unsqueeze(-1)).exp().to(value.dtype) @ value, total

"""Decoding over a prefix that all rows share: its keys are there once, however many candidates there are. For GPUs.

On a GPU the rows of a batch would copy the prefix in every layer of every step, and starting some thousand kernels a step
takes longer than running them. So the decoder attends to the shared prefix and to its own canvas apart, and merges the two
by what their softmaxes add up to; and its layers run as one recorded CUDA graph. A graph has fixed addresses and shapes, so
prefixes are padded to a few lengths. Tests run it without the recording. It has not been run on a GPU yet, so that only
`palimpsest bench --only steps` uses it.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor
from transformers.models.diffusion_gemma.modeling_diffusion_gemma import apply_rotary_pos_emb

from palimpsest_engine.cache import RollbackCache
from palimpsest_engine.passes import through

BUCKET = 512  # prefixes are padded to multiples of this; and to powers of two beyond eight of them
_KEPT = 8  # graphs of a prefix


def padded(length: int) -> int:
    """The length of the buffer for a prefix of so many tokens."""
    multiple = -(-max(1, length) // BUCKET) * BUCKET
    return multiple if multiple <= 8 * BUCKET else 1 << (multiple - 1).bit_length()


class SharedLayer:
    """Keys and values `[1, G, S, D]` of one layer, and bias `[S]`: 0 where there is a token, -inf where there is none."""

    def __init__(self, like: Tensor, length: int, bias: Tensor) -> None:
        self.keys = like.new_zeros(1, like.shape[1], length, like.shape[3])
        self.values = torch.zeros_like(self.keys)
        self.bias = bias


class SharedPrefix:
    """What the encoder wrote for one context, in buffers of fixed addresses, read by any number of rows.

    A cache as far as the decoder is concerned. Layers of the same window share their bias. recorded: run the layers as CUDA
    graphs, one for each shape of canvas.
    """

    def __init__(self, cache: RollbackCache, *, recorded: bool = False) -> None:
        self.recorded = recorded
        self._graphs: dict[tuple[int, int], Recorded] = {}
        self.capacity = padded(cache.get_seq_length())
        self.length = 0
        self.layers = list[SharedLayer]()
        biases = dict[int | None, Tensor]()
        for layer in cache.layers:
            room = self.capacity if layer.window is None else min(self.capacity, padded(layer.window - 1))
            like = layer.keys
            if layer.window not in biases:
                biases[layer.window] = torch.full((room,), -torch.inf, dtype=like.dtype, device=like.device)
            self.layers.append(SharedLayer(like, room, biases[layer.window]))
        self.load(cache)

    def load(self, cache: RollbackCache) -> None:
        """Take over the (first row of the) cache; it must fit."""
        self.length = cache.get_seq_length()
        assert padded(self.length) == self.capacity, f"{self.length} tokens in a buffer for {self.capacity}"
        for mine, theirs in zip(self.layers, cache.layers, strict=True):
            seen = theirs.keys.shape[2]
            mine.keys[:, :, :seen].copy_(theirs.keys[:1])
            mine.values[:, :, :seen].copy_(theirs.values[:1])
            mine.bias[:seen] = 0.0
            mine.bias[seen:] = -torch.inf

    def through(self, stack: Any, hidden: Tensor, positions: Tensor) -> Tensor:
        """As `passes.through` over this prefix; of what is recorded, the result is overwritten by the next pass."""
        if not self.recorded:
            return through(stack, hidden, self, positions, {})
        shape = (hidden.shape[0], hidden.shape[1])
        graph = self._graphs.pop(shape, None) or Recorded(stack, self, hidden, positions)
        self._graphs[shape] = graph
        while len(self._graphs) > _KEPT:
            self._graphs.pop(next(iter(self._graphs)))
        return graph.run(hidden, positions)

    def get_seq_length(self) -> int:
        """Tokens of the prefix."""
        return self.length

    def narrowed(self, rows: int) -> SharedPrefix:
        """For fewer rows: the same."""
        return self


def make_shared(model: Any) -> None:
    """Let the decoder's attention read a `SharedPrefix`, too; with any other cache it is the class's."""
    for layer in model.model.decoder.layers:
        layer.self_attn.forward = MethodType(_attend, layer.self_attn)


def _attend(
    attention: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """The forward of the class's decoder attention, `[B, T, d]` to the same, where the prefix is shared."""
    if not isinstance(past_key_values, SharedPrefix):
        theirs: tuple[Tensor, Tensor | None] = type(attention).forward(
            attention, hidden_states, position_embeddings, attention_mask, past_key_values, **others
        )
        return theirs
    batch, length, _ = hidden_states.shape
    cosines, sines = position_embeddings

    def heads(linear: Any) -> Tensor:
        projected: Tensor = linear(hidden_states).view(batch, length, -1, attention.head_dim)
        return projected

    query = apply_rotary_pos_emb(attention.q_norm(heads(attention.q_proj)), cosines, sines, unsqueeze_dim=2)
    key = heads(attention.k_proj)
    value = heads(attention.v_proj) if attention.v_proj is not None else key
    key = apply_rotary_pos_emb(attention.k_norm(key), cosines, sines, unsqueeze_dim=2).transpose(1, 2)
    value = attention.v_norm(value).transpose(1, 2)
    layer = past_key_values.layers[attention.layer_idx]
    seen = shared_attention(query.transpose(1, 2), key, value, layer.keys, layer.values, layer.bias, attention.scaling)
    return attention.o_proj(seen.reshape(batch, length, -1)), None


def shared_attention(
    query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scaling: float = 1.0
) -> Tensor:
    """Attention of `query [B, H, T, D]` over a prefix `keys, values [1, G, S, D]` that all rows share and over
    `key, value [B, G, T, D]` of its own row; out `[B, T, H, D]`.

    Two softmaxes merged by their log-sums, as in FlashAttention (arXiv 2205.14135, section 3.1). The queries of a group are
    one matrix against the group's keys, so that neither the keys of a group nor those of the prefix are ever repeated.
    """
    batch, heads, length, width = query.shape
    groups = key.shape[1]
    rows = query.reshape(batch, groups, -1, width)
    together = rows.transpose(0, 1).reshape(1, groups, -1, width)
    before, before_sum = softmax_part(together, keys, values, bias, scaling)
    beside, beside_sum = softmax_part(rows, key, value, None, scaling)
    before = before.view(groups, batch, -1, width).transpose(0, 1)
    before_sum = before_sum.view(groups, batch, -1).transpose(0, 1)
    share = torch.sigmoid(before_sum - beside_sum).unsqueeze(-1)
    merged = before.float() * share + beside.float() * (1.0 - share)
    return merged.to(query.dtype).reshape(batch, heads, length, width).transpose(1, 2)


def softmax_part(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scaling: float
) -> tuple[Tensor, Tensor]:
    """(attention `[A, G, M, D]`, log of what its softmax was divided by `[A, G, M]`, float32) of `query [A, G, M, D]` over
    `key, value [A, G, S, D]`; bias `[S]` is added to the scores."""
    if query.is_cuda:
        spread = None if bias is None else bias.expand(*query.shape[:3], -1)
        out, total, _, _ = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, spread, True, scale=scaling
        )
        return out, total[..., : query.shape[2]]  # it comes padded
    scores = (query @ key.transpose(2, 3)).float() * scaling
    scores = scores if bias is None else scores + bias.float()
    total = scores.logsumexp(-1)
    return (scores - total.unsqueeze(-1)).exp().to(value.dtype) @ value, total


class Recorded:
    """A stack's layers and norm over one `SharedPrefix` and one shape of canvas, as one CUDA graph."""

    def __init__(self, stack: Any, prefix: SharedPrefix, hidden: Tensor, positions: Tensor) -> None:
        self.hidden, self.positions = hidden.clone(), positions.clone()

        def work() -> Tensor:
            return through(stack, self.hidden, prefix, self.positions, {})

        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):  # kernels are chosen and workspaces taken before anything is recorded
                work()
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.out = work()

    def run(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """Last hidden states; overwritten by the next run."""
        self.hidden.copy_(hidden)
        self.positions.copy_(positions)
        self.graph.replay()
        return self.out


class Prefixes:
    """The buffers of a model, one for each length; recorded: with graphs of their own. None is given back."""

    def __init__(self, *, recorded: bool) -> None:
        self._recorded = recorded
        self._prefixes: dict[int, SharedPrefix] = {}

    def shared(self, cache: RollbackCache) -> SharedPrefix:
        """The cache's context, ready to be read by any number of rows; until the next call with one of the same length."""
        capacity = padded(cache.get_seq_length())
        if capacity in self._prefixes:
            self._prefixes[capacity].load(cache)
        else:
            self._prefixes[capacity] = SharedPrefix(cache, recorded=self._recorded)
        return self._prefixes[capacity]

"""The forward passes: causal over the context, both ways over the canvases. Equals transformers' Qwen2 to rounding.

The context is read with the base alone, so its keys and values are what left-to-right writing leaves in a cache. The canvas
is read with the adapter on; it sees those keys and values up to its own start, and itself. Attention is torch's own, with
keys and values written out for each query head and a finite bias, which every fused kernel takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palimpsest_train.denoiser.base import Base, Layer, Shape

HIDDEN = -30_000.0  # bias of what may not be seen: finite, so that no row of scores is all minus infinity
PLACES = ("qkv", "out", "gate_up", "down")

Pair = tuple[Tensor, Tensor]
"""(down `[rank, in]`, up `[out, rank]`): what a LoRA adds to a matrix is up @ down, times its scale."""


class Adapter(nn.Module):
    """LoRA on every linear map, and three rows: the mask and the filler as inputs, the filler as an output.

    Maps that share an input (queries, keys and values; gate and up) share `down`. Parameters are float32.
    """

    def __init__(self, base: Base, rank: int, alpha: float, filler: int, seed: int = 0) -> None:
        """Take the base. filler: place of the filler in the base's ids."""
        super().__init__()
        self.rank, self.scale, self.filler = rank, alpha / rank, filler
        generator = torch.Generator().manual_seed(seed)
        self.pairs = nn.ParameterDict()
        for number, layer in enumerate(base.layers):
            for place in PLACES:
                out, inside = getattr(layer, place).shape
                down = torch.randn(rank, inside, generator=generator) / inside**0.5
                self.pairs[f"{number}-{place}-down"] = nn.Parameter(down)
                self.pairs[f"{number}-{place}-up"] = nn.Parameter(torch.zeros(out, rank))
        self.mask_in = nn.Parameter(base.embed.float().mean(0).cpu())
        self.filler_in = nn.Parameter(base.embed[filler].float().cpu().clone())
        self.filler_out = nn.Parameter(base.unembed[filler].float().cpu().clone())

    def layer(self, number: int, dtype: torch.dtype) -> dict[str, Pair]:
        """Return the pairs of one layer, cast."""
        return {
            place: (
                self.pairs[f"{number}-{place}-down"].to(dtype),
                (self.pairs[f"{number}-{place}-up"] * self.scale).to(dtype),
            )
            for place in PLACES
        }

    def rows(self) -> list[nn.Parameter]:
        """Return the trained rows."""
        return [self.mask_in, self.filler_in, self.filler_out]

    def matrices(self) -> list[nn.Parameter]:
        """Return the trained matrices."""
        return list(self.pairs.values())


@dataclass(slots=True)
class Context:
    """The result of the causal pass: hidden `[B, C, hidden]` after the last norm, and keys and values of each layer,
    `[B, kv_heads, C, head]`."""

    hidden: Tensor
    caches: list[Pair]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, pair: Pair | None) -> Tensor:
    """Multiply: `[N, out]` of `[N, in]`, with what the pair adds."""
    y = F.linear(x, weight, bias)
    return y if pair is None else torch.addmm(y, F.linear(x, pair[0]), pair[1].t())


def halves(x: Tensor, weight: Tensor, pair: Pair | None) -> Pair:
    """Do `linear` in two products: the gradient of one product's halves would be copied together again."""
    (first, second), low = weight.chunk(2), None if pair is None else F.linear(x, pair[0])
    gate, up = F.linear(x, first), F.linear(x, second)
    if pair is None or low is None:
        return gate, up
    first, second = pair[1].chunk(2)
    return torch.addmm(gate, low, first.t()), torch.addmm(up, low, second.t())


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate `x [B, heads, T, head]` by its positions."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def angles(shape: Shape, positions: Tensor, dtype: torch.dtype) -> Pair:
    """Return cos and sin, `[B, 1, T, head]`, of positions `[B, T]`."""
    steps = torch.arange(0, shape.head, 2, device=positions.device, dtype=torch.float32) / shape.head
    turned = positions[:, None, :, None].float() / shape.theta**steps
    both = torch.cat((turned, turned), -1)
    return both.cos().to(dtype), both.sin().to(dtype)


def run_layer(
    shape: Shape, layer: Layer, x: Tensor, turn: Pair, cache: Pair | None, bias: Tensor | None, pairs: dict[str, Pair]
) -> tuple[Tensor, Pair]:
    """Return (`[B, T, hidden]`, keys and values of these positions). Without a bias it is causal, with no cache before it."""
    batch, length, _ = x.shape
    flat = x.reshape(-1, shape.hidden)
    normed = F.rms_norm(flat, (shape.hidden,), layer.input_norm, shape.eps)
    qkv = linear(normed, layer.qkv, layer.qkv_bias, pairs.get("qkv")).view(batch, length, -1, shape.head)
    q, k, v = torch.split(qkv.transpose(1, 2), [shape.heads, shape.kv_heads, shape.kv_heads], 1)
    q, k = rotate(q, *turn), rotate(k, *turn)
    own = (k, v)
    if cache is not None:
        k, v = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
    groups = shape.heads // shape.kv_heads
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, is_causal=bias is None)
    flat = flat + linear(seen.transpose(1, 2).reshape(-1, shape.heads * shape.head), layer.out, None, pairs.get("out"))
    normed = F.rms_norm(flat, (shape.hidden,), layer.post_norm, shape.eps)
    gate, up = halves(normed, layer.gate_up, pairs.get("gate_up"))
    flat = flat + linear(F.silu(gate) * up, layer.down, None, pairs.get("down"))
    return flat.view(batch, length, shape.hidden), own


class Network:
    """A base with the passes that use it; holds no trained parameter."""

    def __init__(self, base: Base, compiled: bool = False) -> None:
        self.base, self.shape = base, base.shape
        self.mask = int((base.ids == base.mask).nonzero()[0][0])  # its place
        self.run_layer: Callable[..., tuple[Tensor, Pair]] = (
            torch.compile(run_layer, dynamic=False) if compiled else run_layer
        )

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.base.embed.device

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of the weights."""
        return self.base.embed.dtype

    @torch.no_grad()
    def context(self, ids: Tensor) -> Context:
        """Run the causal pass over ids `[B, C]`, which are padded at their right, by the base alone."""
        x = F.embedding(ids, self.base.embed)
        places = torch.arange(ids.shape[1], device=ids.device)[None]
        turn = angles(self.shape, places, self.dtype)
        caches = []
        for layer in self.base.layers:
            x, (k, v) = run_layer(self.shape, layer, x, turn, None, None, {})
            caches.append((k.contiguous(), v.contiguous()))
        return Context(F.rms_norm(x, (self.shape.hidden,), self.base.norm, self.shape.eps), caches)

    def canvas(self, ids: Tensor, positions: Tensor, bias: Tensor, context: Context, adapter: Adapter | None) -> Tensor:
        """Return the hidden states `[B, Q, hidden]` of canvases `[B, Q]`, after the last norm.

        bias: `[B, 1, Q, C + Q]` (see `seen_by`).
        """
        x = F.embedding(ids, self.base.embed)
        if adapter is not None:
            for place, row in ((self.mask, adapter.mask_in), (adapter.filler, adapter.filler_in)):
                x = torch.where((ids == place)[..., None], row.to(x.dtype), x)
        turn = angles(self.shape, positions, self.dtype)
        for number, (layer, cache) in enumerate(zip(self.base.layers, context.caches, strict=True)):
            pairs = adapter.layer(number, self.dtype) if adapter is not None else {}
            x, _ = self.run_layer(self.shape, layer, x, turn, cache, bias, pairs)
        return F.rms_norm(x, (self.shape.hidden,), self.base.norm, self.shape.eps)

    def logits(self, hidden: Tensor, adapter: Adapter | None) -> Tensor:
        """Return the logits, float32 `[N, V]`, of hidden states `[N, hidden]`; the mask is never written."""
        found = F.linear(hidden, self.base.unembed).float()
        if adapter is not None:
            found[:, adapter.filler] = hidden.float() @ adapter.filler_out
        found[:, self.mask] = HIDDEN
        return found


def seen_by(seen: Tensor, segments: Tensor, context: int, dtype: torch.dtype, causal: bool = False) -> Tensor:
    """Return the bias `[B, 1, Q, C + Q]`: each canvas position sees `seen [B, Q]` context positions and its own segment.

    causal: of its own segment, what is not after it.
    """
    places = torch.arange(context, device=seen.device)
    before = places < seen[..., None]
    own = segments[:, :, None] == segments[:, None, :]
    if causal:
        length = segments.shape[1]
        own = own & torch.ones(length, length, dtype=torch.bool, device=seen.device).tril()
    allowed = torch.cat((before, own), -1)[:, None]
    return torch.zeros(allowed.shape, dtype=dtype, device=seen.device).masked_fill_(~allowed, HIDDEN)

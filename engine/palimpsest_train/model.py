"""Build a small `DiffusionGemmaForBlockDiffusion` and run its weights over a packed batch in one masked pass.

The class itself runs encoder and decoder separately, one canvas a row; training that way spends most of its time on
the context. Here one row holds a context and several canvases, and the same (tied) modules see them all at once:
context positions attend causally to the context, canvas positions to the context before their start and to their own
canvas. `tests/train` holds the two to the same logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from palimpsest_engine.model.forward import through
from palimpsest_engine.model.layers import TOKEN_VISION, conditioned_on
from palimpsest_train.shape import Shape as Shape
from palimpsest_train.tokenizer import BOS, EOS, PAD


def build(shape: Shape, seed: int) -> DiffusionGemmaForBlockDiffusion:
    """Build a freshly initialised model in float32; one expert of one, and a vision tower of the least size the class
    takes."""
    torch.manual_seed(seed)
    types = ["full_attention" if full else "sliding_attention" for full in shape.full]
    config = DiffusionGemmaConfig(
        text_config={
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.mlp,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head_dim,
            "global_head_dim": shape.head_dim,
            "num_global_key_value_heads": shape.kv_heads,
            "layer_types": types,
            "sliding_window": shape.sliding_window,
            "max_position_embeddings": shape.positions,
            "num_experts": 1,
            "top_k_experts": 1,
            "moe_intermediate_size": shape.expert,
            "pad_token_id": PAD,
            "eos_token_id": EOS,
            "bos_token_id": BOS,
        },
        vision_config=dict(TOKEN_VISION),
        canvas_length=shape.canvas,
        # The class wants image tokens; this vocabulary has none, so they name its unused entries.
        boi_token_id=6,
        eoi_token_id=7,
        image_token_id=6,
    )
    model = DiffusionGemmaForBlockDiffusion(config)
    for layer in model.model.decoder.layers:
        # The class scales attention by 1.0 and leaves it to q_norm; from 1.0 the first softmax would be nearly one-hot.
        nn.init.constant_(layer.self_attn.q_norm.weight, shape.head_dim**-0.5)
        layer.post_attention_layernorm.weight.data.fill_(0.5)
        layer.post_feedforward_layernorm.weight.data.fill_(0.5)
    return model


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend by softmax over `[B, H, C, D]`, each position on itself and those before it. Written out because compiled it
    is nearly twice as fast on a CPU as the library's flash kernel at these sizes."""
    allowed = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
    scores = (q @ k.transpose(-1, -2)).float().masked_fill(~allowed, -1e9)
    return torch.softmax(scores, dim=-1).to(v.dtype) @ v


def canvas_attention(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, canvas: int) -> Tensor:
    """Attend with canvases `q [B, H, K*c, D]` over `k, v [B, H, C + K*c, D]`: each canvas on the context positions that
    `visible [B, K, C]` allows and on itself; one softmax over both parts."""
    b, h, n, d = q.shape
    context, count = k.shape[2] - n, n // canvas
    allowed = visible.repeat_interleave(canvas, dim=1).unsqueeze(1)
    own = (b * h * count, canvas, d)
    to_context = (q @ k[:, :, :context].transpose(-1, -2)).float().masked_fill(~allowed, -1e9)
    to_canvas = q.reshape(own) @ k[:, :, context:].reshape(own).transpose(-1, -2)
    to_canvas = to_canvas.float().view(b, h, n, canvas)
    top = torch.maximum(to_context.amax(-1, keepdim=True), to_canvas.amax(-1, keepdim=True)).detach()
    to_context, to_canvas = torch.exp(to_context - top), torch.exp(to_canvas - top)
    total = to_context.sum(-1, keepdim=True) + to_canvas.sum(-1, keepdim=True)
    from_context = (to_context / total).to(v.dtype) @ v[:, :, :context]
    from_canvas = (to_canvas / total).to(v.dtype).reshape(-1, canvas, canvas) @ v[:, :, context:].reshape(own)
    return from_context + from_canvas.view(b, h, n, d)


def fused_causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute `causal_attention` by the library's fused kernel, which a GPU is fastest with."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)


def fused_canvas_attention(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, canvas: int) -> Tensor:
    """Compute `canvas_attention` by the fused kernel: every canvas is a row of its own, with its copy of the context's
    keys, so that none is multiplied with another's and no scores are kept."""
    b, h, n, d = q.shape
    context, count = k.shape[2] - n, n // canvas

    def beside(x: Tensor) -> Tensor:
        shared = x[:, None, :, :context].expand(b, count, h, context, d)
        own = x[:, :, context:].view(b, h, count, canvas, d).transpose(1, 2)
        return torch.cat((shared, own), dim=3).flatten(0, 1)

    allowed = F.pad(visible, (0, canvas), value=True).view(b * count, 1, 1, -1)
    rows = q.view(b, h, count, canvas, d).transpose(1, 2).flatten(0, 1)
    out = F.scaled_dot_product_attention(rows, beside(k), beside(v), attn_mask=allowed, scale=1.0)
    return out.view(b, count, h, canvas, d).transpose(1, 2).reshape(b, h, n, d)


@dataclass(frozen=True, slots=True)
class Kernels:
    """The two attentions of a pass: over the context `(q, k, v)`, and over canvases `(q, k, v, visible, canvas)`."""

    causal: Callable[[Tensor, Tensor, Tensor], Tensor]
    canvases: Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


WRITTEN_OUT = Kernels(causal_attention, canvas_attention)
FUSED = Kernels(fused_causal_attention, fused_canvas_attention)


@dataclass(frozen=True, slots=True)
class Packed:
    """The attention of a packed pass, which stands in the mask's place (see `use_attention`).

    Of T positions the first `context` are the context, the rest canvases of `canvas` positions, of which each sees what
    `visible [B, K, C]` allows. visible None: there is only the context.
    """

    kernels: Kernels
    context: int
    canvas: int = 0
    visible: Tensor | None = None

    def attended(self, index: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Attend with `query [B, H, T, D]` over `key, value [B, G, T, D]`; return `[B, T, H, D]`. The scaling is always 1."""
        groups = query.shape[1] // key.shape[1]
        q = query.to(value.dtype)
        k = key.to(value.dtype).repeat_interleave(groups, dim=1)
        v = value.repeat_interleave(groups, dim=1)
        if self.visible is None:
            return self.kernels.causal(q, k, v).transpose(1, 2)
        context = self.context
        first = self.kernels.causal(q[:, :, :context], k[:, :, :context], v[:, :, :context])
        rest = self.kernels.canvases(q[:, :, context:], k, v, self.visible, self.canvas)
        return torch.cat((first, rest), dim=2).transpose(1, 2)


def through_packed(decoder: Any, hidden: Tensor, positions: Tensor, packed: Packed) -> Tensor:
    """Return the last hidden states of embeddings `[B, T, d]` at `positions [B, T]`."""
    return through(decoder, hidden, positions, dict.fromkeys(decoder.unique_layer_types, packed))


def packed_forward(
    model: DiffusionGemmaForBlockDiffusion,
    context_ids: Tensor,
    canvas_ids: Tensor,
    positions: Tensor,
    starts: Tensor,
    soft_embeddings: Tensor,
    kernels: Kernels = WRITTEN_OUT,
) -> Tensor:
    """Return the last hidden states `[B, C + K*c, hidden]` of contexts `[B, C]` and their K canvases, laid end to end,
    `[B, K*c]`. The model's layers must be `trainable`.

    positions `[B, C + K*c]`; starts `[B, K]`, the context tokens each canvas may see; soft_embeddings `[B, K*c, hidden]`,
    zeros where nothing is known yet. Sliding windows are taken to be longer than the context.
    """
    decoder = model.model.decoder
    context, canvas = context_ids.shape[1], canvas_ids.shape[1] // starts.shape[1]
    embedded = decoder.embed_tokens(torch.cat((context_ids, canvas_ids), dim=1))
    canvases = conditioned_on(decoder, embedded[:, context:], soft_embeddings)
    hidden = torch.cat((embedded[:, :context], canvases.to(embedded.dtype)), dim=1)
    visible = torch.arange(context, device=hidden.device)[None, None, :] < starts[:, :, None]
    return through_packed(decoder, hidden, positions, Packed(kernels, context, canvas, visible))


def causal_forward(
    model: DiffusionGemmaForBlockDiffusion, context_ids: Tensor, kernels: Kernels = WRITTEN_OUT
) -> Tensor:
    """Return the last hidden states `[B, C, hidden]` of contexts `[B, C]` alone, as the class's encoder does."""
    decoder = model.model.decoder
    positions = torch.arange(context_ids.shape[1], device=context_ids.device).expand_as(context_ids)
    return through_packed(decoder, decoder.embed_tokens(context_ids), positions, Packed(kernels, context_ids.shape[1]))

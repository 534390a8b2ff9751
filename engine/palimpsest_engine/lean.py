"""Shortcuts for running the model class on a CPU; the results are those of the class, in less time.

At the embedded size a pass is made of thousands of small operations, and what they do not compute counts. Each
shortcut goes through the library's own seams: its attention registry, and a module's forward. What they compute is rounded
where the class rounds it: norms in float32, everything between them in the model's own format.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from palimpsest_engine.experts import quantised_experts

GROUPED = "palimpsest_grouped"


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float = 1.0,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Attention of `query [B, H, T, D]` over `key, value [B, G, S, D]`, H a multiple of G; out `[B, T, H, D]`.

    mask: `[1 or B, 1, T, S]`, True where a position may look, or None for everywhere. The keys of a group serve its
    queries as they are, not repeated for each; a quarter faster than the library's CPU kernel at these sizes.
    """
    batch, heads, length, width = query.shape
    groups, seen = key.shape[1], key.shape[2]
    scores = query.reshape(batch, groups, -1, width) @ key.transpose(2, 3)
    scores = scores.view(batch, groups, -1, length, seen)
    if scaling != 1.0:
        scores = scores * scaling
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask.unsqueeze(1), torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
    out = weights.view(batch, groups, -1, seen) @ value
    return out.view(batch, heads, length, width).transpose(1, 2).contiguous(), None


def make_lean(model: Any, *, trainable: bool = False) -> None:
    """Switch a loaded model's attention; where there is one expert, skip the routing, and run layers by
    `lean_layer`; quantised experts stay as they are.

    trainable: leave the layers to the class, so that there may be gradients, and modules exchanged. Otherwise their weights
    are joined in place: changing one afterwards changes the model, replacing one does not.
    """
    AttentionInterface.register(GROUPED, grouped_attention)
    model.set_attn_implementation(GROUPED)
    if model.config.get_text_config().num_experts != 1 or quantised_experts(model):
        return
    encoder, decoder = model.model.encoder.language_model, model.model.decoder
    for stack in (encoder, decoder):
        for layer in stack.layers:
            if trainable:
                layer.router.forward = MethodType(_sole_weight, layer.router)
                layer.experts.forward = MethodType(_sole_expert, layer.experts)
            else:
                layer.joined = Joined(layer, writes=stack is encoder)
                layer.forward = MethodType(lean_layer, layer)


def _sole_weight(router: Any, hidden: Tensor) -> tuple[None, Tensor, None]:
    """A softmax over one score is 1; what is left of the weight is the expert's own scale."""
    return None, router.per_expert_scale[0], None


def _sole_expert(experts: Any, hidden: Tensor, index: None, weight: Tensor) -> Tensor:
    gate, up = F.linear(hidden, experts.gate_up_proj[0]).chunk(2, dim=-1)
    out: Tensor = F.linear(experts.act_fn(gate) * up, experts.down_proj[0]) * weight
    return out


class Joined:
    """A layer's weights, those that meet the same input joined: `qkv [(H + 2G) D, hidden]`, without V where values are the
    keys; `gate_up [2 M, hidden]`. Scales of norms in float32, those of `qkv` per head `[H + 2G, D]`. writes: the layer
    appends to the cache (the encoder's); the decoder's only reads it."""

    def __init__(self, layer: Any, *, writes: bool) -> None:
        attention, mlp, experts = layer.self_attn, layer.mlp, layer.experts
        self.writes = writes
        self.width = attention.head_dim
        self.heads = attention.q_proj.weight.shape[0] // self.width
        self.groups = attention.k_proj.weight.shape[0] // self.width
        self.keys_are_values = attention.v_proj is None
        inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv = join([linear for linear in inputs if linear is not None])
        self.gate_up = join([mlp.gate_proj, mlp.up_proj])
        self.expert_gate_up, self.expert_down = experts.gate_up_proj[0], experts.down_proj[0]
        self.expert_scale = layer.router.per_expert_scale[0]
        scales = [attention.q_norm.weight.expand(self.heads, -1), attention.k_norm.weight.expand(self.groups, -1)]
        self.head_scales = torch.cat([*scales, torch.ones_like(scales[1])]).detach().float()
        self.eps = layer.input_layernorm.eps
        self.before_attention = scale_of(layer.input_layernorm)
        self.after_attention = scale_of(layer.post_attention_layernorm)
        self.before_mlp = scale_of(layer.pre_feedforward_layernorm)
        self.after_mlp = scale_of(layer.post_feedforward_layernorm_1)
        self.before_expert = scale_of(layer.pre_feedforward_layernorm_2)
        self.after_expert = scale_of(layer.post_feedforward_layernorm_2)
        self.after_both = scale_of(layer.post_feedforward_layernorm)

    def unit(self, hidden: Tensor) -> Tensor:
        """Divided by the root of its mean square, in float32."""
        return F.rms_norm(hidden.float(), hidden.shape[-1:], None, self.eps)

    def normed(self, hidden: Tensor, scale: Tensor) -> Tensor:
        """The class's norm."""
        return F.rms_norm(hidden.float(), hidden.shape[-1:], scale, self.eps).to(hidden.dtype)


def join(linears: list[Any]) -> Tensor:
    """The weights of some linear maps in one tensor, of which theirs are views from now on: nothing is kept twice."""
    whole = torch.cat([linear.weight.detach() for linear in linears])
    start = 0
    for linear in linears:
        end = start + linear.weight.shape[0]
        linear.weight.data = whole[start:end]
        start = end
    return whole


def scale_of(norm: Any) -> Tensor:
    """A norm's scale in float32."""
    scale: Tensor = norm.weight.detach().float()
    return scale


def lean_layer(
    layer: Any,
    hidden: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    past_key_values: Any = None,
    **unused: Any,
) -> Tensor:
    """A layer of the encoder or of the decoder, `hidden [B, T, d]` to the same: two thirds of the operations of the class."""
    w: Joined = layer.joined
    batch, length, _ = hidden.shape
    cosines, sines = position_embeddings
    projected = F.linear(w.normed(hidden, w.before_attention), w.qkv).view(batch, length, -1, w.width)
    if w.keys_are_values:
        projected = torch.cat((projected, projected[:, :, w.heads :]), 2)
    projected = (w.unit(projected) * w.head_scales).to(hidden.dtype)
    turned, half = projected[:, :, : -w.groups], w.width // 2
    rotated = torch.cat((-turned[..., half:], turned[..., :half]), -1)
    turned = (turned * cosines.unsqueeze(2) + rotated * sines.unsqueeze(2)).transpose(1, 2)
    query, key, value = turned[:, : w.heads], turned[:, w.heads :], projected[:, :, -w.groups :].transpose(1, 2)
    if past_key_values is not None and w.writes:
        key, value = past_key_values.update(key, value, layer.layer_idx)
    elif past_key_values is not None:
        read = past_key_values.layers[layer.layer_idx]
        key, value = torch.cat((read.keys, key), 2), torch.cat((read.values, value), 2)
    seen, _ = grouped_attention(None, query, key, value, attention_mask)
    attended = F.linear(seen.view(batch, length, -1), layer.self_attn.o_proj.weight)
    hidden = hidden + w.normed(attended, w.after_attention)
    unit = w.unit(hidden)
    gate, up = F.linear((unit * w.before_mlp).to(hidden.dtype), w.gate_up).chunk(2, -1)
    dense = F.linear(layer.mlp.act_fn(gate) * up, layer.mlp.down_proj.weight)
    gate, up = F.linear((unit * w.before_expert).to(hidden.dtype), w.expert_gate_up).chunk(2, -1)
    expert = F.linear(layer.experts.act_fn(gate) * up, w.expert_down) * w.expert_scale
    both = w.normed(dense, w.after_mlp) + w.normed(expert, w.after_expert)
    result: Tensor = (hidden + w.normed(both, w.after_both)) * layer.layer_scalar
    return result

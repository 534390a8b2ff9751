"""Run the model class on a CPU by shortcuts; the results are those of the class, in less time.

At the embedded size a pass is made of thousands of small operations, and what they do not compute counts. Each
shortcut goes through the library's own seams: its attention registry, and a module's forward. What they compute is rounded
where the class rounds it: norms in float32, everything between them in the model's own format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from palimpsest_engine.model.layers import Rope, replace_layer, use_attention
from palimpsest_engine.model.moe import quantised_experts

GROUPED = "palimpsest_grouped"

Product = Callable[[Tensor], Tensor]


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float = 1.0,
) -> tuple[Tensor, None]:
    """Attend with `query [B, H, T, D]` over `key, value [B, G, S, D]`, H a multiple of G; out `[B, T, H, D]`.

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


def make_lean(model: Any, *, trainable: bool = False, int8: bool = False) -> bool:
    """Switch a loaded model's attention; where there is one expert, skip the routing, and run layers by
    `lean_layer`; quantised experts stay as they are.

    trainable: leave the layers to the class, so that there may be gradients, and modules exchanged. Otherwise their weights
    are joined in place: changing one afterwards changes the model, replacing one does not.
    int8: these layers multiply in eight bits, see `InEightBits`; then changing a weight afterwards changes nothing. Whether
    they do is returned.
    """
    use_attention(model, GROUPED, grouped_attention)
    if model.config.get_text_config().num_experts != 1 or quantised_experts(model):
        return False
    encoder, decoder = model.model.encoder.language_model, model.model.decoder
    if trainable:
        for layer in (*encoder.layers, *decoder.layers):
            layer.router.forward = MethodType(_sole_weight, layer.router)
            layer.experts.forward = MethodType(_sole_expert, layer.experts)
        return False
    for writer, reader in zip(encoder.layers, decoder.layers, strict=True):
        writer.joined = Joined(writer, int8=int8)
        tied = all(a is b for a, b in zip(writer.parameters(), reader.parameters(), strict=True))
        reader.joined = writer.joined if tied else Joined(reader, int8=int8)  # one copy for both, in memory and caches
        for layer in (writer, reader):
            layer.writes = layer is writer
            replace_layer(layer, lean_layer)
    return int8


def _sole_weight(router: Any, hidden: Tensor) -> tuple[None, Tensor, None]:
    """Return the expert's own scale `[1]`: the softmax over one score is 1."""
    return None, router.per_expert_scale, None


def _sole_expert(experts: Any, hidden: Tensor, index: None, weight: Tensor) -> Tensor:
    gate, up = F.linear(hidden, experts.gate_up_proj[0]).chunk(2, dim=-1)
    out: Tensor = F.linear(experts.act_fn(gate) * up, experts.down_proj[0]) * weight[0]
    return out


class InEightBits:
    """A linear map computed in int8: its weights rounded to 8 bits (7 where 8 would overflow, see `exact_in_eight_bits`), a
    scale for each row of them, and the input to 8 bits, a scale for each row of it. `[.., K]` to `[.., N]` in float32."""

    def __init__(self, weight: Tensor) -> None:
        most = 127 if exact_in_eight_bits() else 63
        self.scales = weight.abs().amax(1).div_(most).clamp_min_(torch.finfo(weight.dtype).tiny)
        self.weight = (weight / self.scales.unsqueeze(1)).round_().to(torch.int8).t()

    def __call__(self, hidden: Tensor) -> Tensor:
        """Map `hidden`."""
        rows = hidden.reshape(-1, hidden.shape[-1])
        scales = rows.abs().amax(1, keepdim=True).div_(127).clamp_min_(torch.finfo(rows.dtype).tiny)
        products = torch._int_mm((rows / scales).round_().to(torch.int8), self.weight)
        return (products * scales).mul_(self.scales).view(*hidden.shape[:-1], -1)


@cache
def exact_in_eight_bits() -> bool:
    """Return whether this processor adds products of 8-bit numbers without overflow. Those before VNNI add pairs of them in
    16 bits and cut off the rest."""
    ones = torch.ones(16, 64, dtype=torch.int8) * 127
    return bool((torch._int_mm(ones, ones.t()) == 64 * 127 * 127).all())


class Joined:
    """A layer's linear maps. Those that read the same input are joined: `qkv` to `(H + 2G) D`, without V where values are
    the keys; `gate_up` to `2 M`. Scales of norms in float32, those of `qkv` per head `[H + 2G, D]`. int8: the maps are
    computed `InEightBits`."""

    def __init__(self, layer: Any, *, int8: bool = False) -> None:
        attention, mlp, experts = layer.self_attn, layer.mlp, layer.experts
        linear: Callable[[Tensor], Product] = InEightBits if int8 else lambda weight: partial(F.linear, weight=weight)
        self.width = attention.head_dim
        self.heads = attention.q_proj.weight.shape[0] // self.width
        self.groups = attention.k_proj.weight.shape[0] // self.width
        self.keys_are_values = attention.v_proj is None
        inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv = linear(join([each for each in inputs if each is not None]))
        self.output = linear(attention.o_proj.weight.detach())
        self.gate_up = linear(join([mlp.gate_proj, mlp.up_proj]))
        self.down = linear(mlp.down_proj.weight.detach())
        self.expert_gate_up = linear(experts.gate_up_proj[0].detach())
        self.expert_down = linear(experts.down_proj[0].detach())
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
        """Return the rows divided by the root of their mean square, in float32."""
        return F.rms_norm(hidden.float(), hidden.shape[-1:], None, self.eps)

    def normed(self, hidden: Tensor, scale: Tensor) -> Tensor:
        """Apply the class's norm."""
        return F.rms_norm(hidden.float(), hidden.shape[-1:], scale, self.eps).to(hidden.dtype)


def join(linears: Sequence[Any]) -> Tensor:
    """Return the weights of some linear maps in one tensor, of which theirs are views from now on: nothing is kept twice."""
    whole = torch.cat([linear.weight.detach() for linear in linears])
    start = 0
    for linear in linears:
        end = start + linear.weight.shape[0]
        linear.weight.data = whole[start:end]
        start = end
    return whole


def scale_of(norm: Any) -> Tensor:
    """Return a norm's scale in float32."""
    scale: Tensor = norm.weight.detach().float()
    return scale


def lean_layer(layer: Any, hidden: Tensor, rope: Rope, mask: Tensor | None, cache: Any) -> Tensor:
    """Run a layer, `hidden [B, T, d]` to the same, with two thirds of the operations of the class. The encoder's layers
    write to the cache, the decoder's only read it."""
    w: Joined = layer.joined
    batch, length, _ = hidden.shape
    cosines, sines = rope
    projected = w.qkv(w.normed(hidden, w.before_attention)).view(batch, length, -1, w.width)
    if w.keys_are_values:
        projected = torch.cat((projected, projected[:, :, w.heads :]), 2)
    projected = (w.unit(projected) * w.head_scales).to(hidden.dtype)
    turned, half = projected[:, :, : -w.groups], w.width // 2
    rotated = torch.cat((-turned[..., half:], turned[..., :half]), -1)
    turned = (turned * cosines.unsqueeze(2) + rotated * sines.unsqueeze(2)).transpose(1, 2)
    query, key, value = turned[:, : w.heads], turned[:, w.heads :], projected[:, :, -w.groups :].transpose(1, 2)
    if cache is not None and layer.writes:
        key, value = cache.update(key, value, layer.layer_idx)
    elif cache is not None:
        read = cache.layers[layer.layer_idx]
        key, value = torch.cat((read.keys, key), 2), torch.cat((read.values, value), 2)
    seen, _ = grouped_attention(None, query, key, value, mask)
    attended = w.output(seen.view(batch, length, -1))
    hidden = hidden + w.normed(attended, w.after_attention)
    unit = w.unit(hidden)
    gate, up = w.gate_up((unit * w.before_mlp).to(hidden.dtype)).chunk(2, -1)
    dense = w.down(layer.mlp.act_fn(gate) * up)
    gate, up = w.expert_gate_up((unit * w.before_expert).to(hidden.dtype)).chunk(2, -1)
    expert = w.expert_down(layer.experts.act_fn(gate) * up) * w.expert_scale
    both = w.normed(dense, w.after_mlp) + w.normed(expert, w.after_expert)
    result: Tensor = (hidden + w.normed(both, w.after_both)) * layer.layer_scalar
    return result

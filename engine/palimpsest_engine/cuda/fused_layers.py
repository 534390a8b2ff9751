"""Run the decoder's layers on a GPU over a shared prefix, with few kernels between the matrix products.

What is computed is the class's, rounded where the class rounds; `kernels/layer.py` has the kernels. Weights that meet the
same input are joined in place. A model is only left with these layers if they say on its own weights what the class's say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from palimpsest_engine.cuda import kernels
from palimpsest_engine.cuda.experts import GELU, make_grouped
from palimpsest_engine.cuda.shared_prefix import SharedPrefix, softmax_part
from palimpsest_engine.model.cpu_layers import join
from palimpsest_engine.model.forward import encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.layers import Rope, replace_layer, ropes_of, run_class_layer
from palimpsest_engine.model.quantised_linear import QuantisedLinear, joined

log = logging.getLogger(__name__)

_CLOSE = {torch.bfloat16: 0.05, torch.float32: 1e-3}  # relative error of a layer's output at a position


class Fused:
    """The tensors and sizes of a decoder layer, as `fused_layer` needs them."""

    def __init__(self, layer: Any) -> None:
        attention, router = layer.self_attn, layer.router
        self.groups: int = attention.k_proj.out_features // attention.head_dim
        self.keys_are_values: bool = attention.v_proj is None
        inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv = product([linear for linear in inputs if linear is not None])
        self.gate_up = product([layer.mlp.gate_proj, layer.mlp.up_proj])
        self.head_scales = attention.q_norm.weight, attention.k_norm.weight
        self.eps: float = layer.input_layernorm.eps
        self.between = (
            layer.post_attention_layernorm.weight,
            layer.pre_feedforward_layernorm.weight,
            layer.pre_feedforward_layernorm_2.weight,
            router.scale,
        )
        self.end = (
            layer.post_feedforward_layernorm_1.weight,
            layer.post_feedforward_layernorm_2.weight,
            layer.post_feedforward_layernorm.weight,
        )
        self.router_root: float = router.scalar_root_size
        self.most: int = router.config.top_k_experts
        self.experts: Callable[[Tensor, Tensor, Tensor], Tensor] = layer.experts


def product(linears: Sequence[Any]) -> Callable[[Tensor], Tensor]:
    """Join linear maps of the same input in place; return the function that computes all at once, `[.., inputs]` to
    `[.., outputs of all]`."""
    if isinstance(linears[0], QuantisedLinear):
        return joined(linears)
    return partial(F.linear, weight=join(linears))


def fused_layer(layer: Any, hidden: Tensor, rope: Rope, mask: Any, cache: Any) -> Tensor:
    """Run a layer of the decoder, `hidden [B, T, d]` to the same; run the class's where the mask is not a `SharedPrefix`."""
    if not isinstance(mask, SharedPrefix):
        return run_class_layer(layer, hidden, rope, mask, None, cache)
    from palimpsest_engine.cuda.kernels.layer import activate, between, end, heads, merge, norm, route

    w: Fused = layer.fused
    batch, length, width = hidden.shape
    rows = hidden.reshape(-1, width)
    projected = w.qkv(norm(rows, layer.input_layernorm.weight, w.eps))
    query, key, value = heads(projected, rope, w.head_scales, batch, w.groups, w.keys_are_values, w.eps)
    seen = mask.layers[layer.layer_idx]
    scaling: float = layer.self_attn.scaling
    together, apart = query.flatten(1, 3).unsqueeze(0), query.flatten(2, 3).transpose(0, 1)
    before = softmax_part(together, seen.keys, seen.values, seen.bias, scaling)
    beside = softmax_part(apart, key, value, mask.beside, scaling)
    attended = layer.self_attn.o_proj(merge(*before, *beside, length).flatten(0, 1))
    sums, for_mlp, for_experts, for_router = between(attended, rows, w.between, w.router_root, w.eps)
    dense = layer.mlp.down_proj(activate(w.gate_up(for_mlp)))
    scores = F.linear(for_router, layer.router.proj.weight)
    index, weights = route(scores, layer.router.per_expert_scale, w.most, torch.float32)
    mixed = w.experts(for_experts, index, weights)
    return end(dense, mixed, sums, w.end, layer.layer_scalar, w.eps).view(batch, length, width)


def make_fused(model: Any) -> bool:
    """Switch the decoder's layers if that is of use here; return whether it was done. `make_shared` comes first.

    One layer of each kind is tried against the class's. What does not compile there, or says something else, is logged, and
    leaves the layers to the class. Once for a model: its weights stay where they are then, as a recorded graph wants it.
    """
    decoder = model.model.decoder
    if hasattr(decoder.layers[0], "fused"):
        return "forward" in vars(decoder.layers[0])
    if not kernels.usable(model.device) or model.config.get_text_config().hidden_activation != GELU:
        return False
    for layer in decoder.layers:
        layer.fused = Fused(layer)
    try:
        errors = tried(model, {layer.self_attn.layer_type: layer for layer in decoder.layers}.values())
        if (error := max(errors)) > _CLOSE[model.dtype]:
            raise ArithmeticError(f"its results are off by {error:.2g}")
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a compiler raises for a GPU that nobody has seen
        log.warning("the decoder's layers are left to the class and will be slower: %s", error)
        return False
    for layer in decoder.layers:
        replace_layer(layer, fused_layer)
    make_grouped(model)
    return True


@torch.inference_mode()
def tried(model: Any, layers: Iterable[Any]) -> list[float]:
    """Return the relative error of each fused layer against the class's at the median position of random states. Others say
    nothing: two experts that are equally likely may change places."""
    decoder, errors = model.model.decoder, list[float]()
    generator = torch.Generator(model.device).manual_seed(0)
    cache = RollbackCache.for_config(model.config.get_text_config())
    encode(model, cache, torch.arange(1, 6, device=model.device).unsqueeze(0))
    prefix = SharedPrefix(cache)
    shape = 2, 3, decoder.embed_tokens.weight.shape[1]
    hidden = torch.randn(shape, generator=generator, device=model.device, dtype=model.dtype)
    positions = torch.arange(5, 8, device=model.device).unsqueeze(0)
    ropes = ropes_of(decoder, hidden, positions)
    for layer in layers:
        rope = ropes[layer.self_attn.layer_type]
        theirs = run_class_layer(layer, hidden.clone(), rope, prefix, positions, None)
        ours = fused_layer(layer, hidden.clone(), rope, prefix, None)
        each = (ours - theirs).float().norm(dim=-1) / theirs.float().norm(dim=-1)
        errors.append(float(each.median()) if bool(each.isfinite().all()) else torch.inf)
    return errors

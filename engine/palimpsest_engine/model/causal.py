"""The family of left-to-right models: stock text classes of transformers, and on a CPU their layers in eight bits.

The class decides what is computed. On a CPU, layers of the common shape (two norms, gated MLP, rotary positions) run by
`lean_layer`, which does the same with a third of the operations; others keep the class's forward. Knows tensors, no files.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest_engine.model.families import CAUSAL
from palimpsest_engine.model.int8 import Int8Embedding, Int8Linear, Rounded
from palimpsest_engine.model.layers import Rope, replace_layer, use_attention

FUSED = "palimpsest_fused"
# Keys of a config that name code to run: classes in files of the checkpoint, kernels in repositories of a hub.
_CODE = {"auto_map", "attn_implementation", "experts_implementation"}


def hollow(config: dict[str, Any], dtype: torch.dtype) -> Any:
    """Make a model of this config on the meta device; its rotary frequencies are real. config: as in `config.json`."""
    import transformers

    name = CAUSAL[config["model_type"]]
    plain = {key: value for key, value in config.items() if key not in _CODE and not key.startswith("_")}
    made = transformers.AutoConfig.for_model(**plain)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            model: Any = getattr(transformers, name)(made)
        model.model.rotary_emb = type(model.model.rotary_emb)(config=made)  # its frequencies come from the config
    finally:
        torch.set_default_dtype(usual)
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                assert name == "embed_scale", f"{type(module).__name__} has a buffer {name} that no file has"
                module._buffers[name] = torch.tensor(module.scalar_embed_scale)
    model.tie_weights()
    model.final_logit_softcapping = getattr(made, "final_logit_softcapping", None)
    return model.eval().requires_grad_(False)


def put(model: Any, name: str, tensor: Tensor, device: str, dtype: torch.dtype) -> None:
    """Put a tensor into its place in a hollow model."""
    where, _, leaf = name.rpartition(".")
    module = model.get_submodule(where)
    setattr(module, leaf, nn.Parameter(tensor.to(device, dtype), requires_grad=False))


def linears(model: Any) -> dict[str, nn.Module]:
    """Return the linear maps and the embedding, by the names of their weights: what is rounded to eight bits."""
    return {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Embedding | Int8Linear | Int8Embedding)
    }


def in_eight_bits(model: Any, rounded: dict[str, Rounded]) -> None:
    """Replace the linear maps and the embedding of a model whose other tensors are in place by ones of eight bits.

    Maps that read the same input are joined where the layer has the common shape. rounded: matrices by the names of their
    weights; entries are taken out as they are packed, so that memory never holds all of them twice.
    """
    use_attention(model, FUSED, attention)
    embedding = rounded.pop("model.embed_tokens.weight")
    scale = getattr(model.model.embed_tokens, "embed_scale", None)
    model.model.embed_tokens = Int8Embedding(embedding, None if scale is None else float(scale))
    model.lm_head = Int8Linear(rounded.pop("lm_head.weight", embedding))
    for number, layer in enumerate(model.model.layers):
        prefix = f"model.layers.{number}."
        own = {
            name: rounded.pop(prefix + name)
            for name in [n.removeprefix(prefix) for n in rounded if n.startswith(prefix)]
        }
        if _common_shape(layer):
            layer.lean = Lean(layer, own)
            replace_layer(layer, lean_layer)
            continue
        for name, weight in own.items():
            where, _, leaf = name.removesuffix(".weight").rpartition(".")
            module = layer.get_submodule(where)
            setattr(module, leaf, Int8Linear(weight, getattr(module, leaf).bias))


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float = 1.0,
) -> tuple[Tensor, None]:
    """Attend with `query [B, H, T, D]` over `key, value [B, G, S, D]` by torch's fused kernel; out `[B, T, H, D]`."""
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scaling, enable_gqa=True)
    return out.transpose(1, 2).contiguous(), None


def _common_shape(layer: Any) -> bool:
    norms = {name for name, _ in layer.named_children()} - {"self_attn", "mlp"}
    gated = all(hasattr(layer.mlp, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn"))
    plain = norms == {"input_layernorm", "post_attention_layernorm"} and hasattr(
        layer.input_layernorm, "variance_epsilon"
    )
    return gated and plain and layer.self_attn.o_proj.bias is None and layer.mlp.down_proj.bias is None


class Lean:
    """A layer of the common shape in eight bits: maps that read the same input are one."""

    def __init__(self, layer: Any, own: dict[str, Rounded]) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.width, self.scaling = attention.head_dim, attention.scaling
        queries, keys, values = (own[f"self_attn.{each}_proj.weight"] for each in "qkv")
        self.heads, self.groups = len(queries.scales) // self.width, len(keys.scales) // self.width
        biases = [each.bias for each in (attention.q_proj, attention.k_proj, attention.v_proj)]
        bias = None if biases[0] is None else torch.cat(biases)
        self.qkv = Int8Linear(Rounded.joined([queries, keys, values]), bias)
        self.output = Int8Linear(own["self_attn.o_proj.weight"])
        self.gate_up = Int8Linear(Rounded.joined([own["mlp.gate_proj.weight"], own["mlp.up_proj.weight"]]))
        self.down = Int8Linear(own["mlp.down_proj.weight"])
        self.activation = mlp.act_fn
        self.eps = layer.input_layernorm.variance_epsilon
        self.before_attention, self.before_mlp = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        self.of_queries = attention.q_norm.weight if hasattr(attention, "q_norm") else None
        self.of_keys = attention.k_norm.weight if hasattr(attention, "k_norm") else None
        for module in (attention, mlp):  # the class's own, without weights
            for name in [name for name, child in module.named_children() if isinstance(child, nn.Linear)]:
                setattr(module, name, None)


def lean_layer(layer: Any, hidden: Tensor, rope: Rope, mask: Tensor | None, cache: Any) -> Tensor:
    """Run a layer, `hidden [B, T, d]` to the same, as the class computes it."""
    w: Lean = layer.lean
    batch, length, size = hidden.shape
    cosines, sines = rope
    projected = w.qkv(F.rms_norm(hidden, (size,), w.before_attention, w.eps)).view(batch, length, -1, w.width)
    query, key, value = projected.split([w.heads, w.groups, w.groups], 2)
    if w.of_queries is not None:
        query, key = F.rms_norm(query, (w.width,), w.of_queries, w.eps), F.rms_norm(key, (w.width,), w.of_keys, w.eps)
        turned = torch.cat((query, key), 2)
    else:
        turned = projected[:, :, : -w.groups]
    half = w.width // 2
    rotated = torch.cat((-turned[..., half:], turned[..., :half]), -1)
    turned = (turned * cosines.unsqueeze(2) + rotated * sines.unsqueeze(2)).transpose(1, 2)
    query, key, value = turned[:, : w.heads], turned[:, w.heads :], value.transpose(1, 2)
    if cache is not None:
        key, value = cache.update(key, value, layer.self_attn.layer_idx)
    seen, _ = attention(None, query, key, value, mask, w.scaling)
    hidden = hidden + w.output(seen.reshape(batch, length, -1))
    gate, up = w.gate_up(F.rms_norm(hidden, (size,), w.before_mlp, w.eps)).chunk(2, -1)
    result: Tensor = hidden + w.down(w.activation(gate) * up)
    return result

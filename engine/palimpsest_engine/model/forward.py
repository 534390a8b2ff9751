"""The passes of the model class: the causal encoder's, the bidirectional decoder's, and the head. Knows tensors.

The class's own modules, called one by one: its `forward` makes masks that nobody looks at, and takes the logits of a whole
canvas to tell the decoder what was thought of the holes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palimpsest_engine.model.kv_cache import RollbackCache, RollbackLayer
from palimpsest_engine.model.layers import run_layer

if TYPE_CHECKING:
    from palimpsest_engine.cuda.shared_prefix import Rows, SharedPrefix


@torch.inference_mode()
def encode(model: Any, cache: RollbackCache | Rows, tokens: Tensor) -> Tensor:
    """Append `tokens [B, T]` to the cache through the causal encoder; last hidden states `[B, T, hidden]`."""
    past = cache.get_seq_length()
    positions = torch.arange(past, past + tokens.shape[1], device=tokens.device)
    masks = {}
    if isinstance(cache, RollbackCache):  # rows over a shared prefix see to it themselves
        for kind, layer in zip(model.config.get_text_config().layer_types, cache.layers, strict=True):
            if kind not in masks:
                masks[kind] = causal_mask(positions, layer)
    encoder = model.model.encoder.language_model
    return through(encoder, encoder.embed_tokens(tokens), cache, positions.unsqueeze(0), masks)


@torch.inference_mode()
def decode(
    model: Any,
    cache: RollbackCache | SharedPrefix,
    tokens: Tensor,
    where: Tensor,
    chances: Tensor | None,
    positions: Tensor | None = None,
) -> Tensor:
    """One decoder pass over a canvas `tokens [B, T]` that reads the cache (of B rows) and leaves it as it is; last hidden
    states `[B, T, hidden]`.

    chances `[N, V]`: the probabilities of the step before, at the N positions `where` of the flattened canvas; of all
    others, the pins, the decoder is told that they are certain. None before the first step, which is told nothing.
    positions `[1, T]`: those behind the cache, if they are at hand.
    """
    if positions is None:
        past = cache.get_seq_length()
        positions = torch.arange(past, past + tokens.shape[1], device=tokens.device).unsqueeze(0)
    decoder = model.model.decoder
    embedding = decoder.embed_tokens
    embedded = embedding(tokens)
    signal = torch.zeros_like(embedded)
    if chances is not None:
        soft = (chances.to(embedded.dtype) @ embedding.weight) * embedding.embed_scale.to(embedded.dtype)
        signal = embedded.flatten(0, 1).index_copy(0, where, soft).view_as(embedded)
    hidden = decoder.self_conditioning(embedded, signal)
    if isinstance(cache, RollbackCache):
        return through(decoder, hidden, cache, positions, {})
    return cache.through(decoder, hidden, positions)


def through(
    stack: Any,
    hidden: Tensor,
    cache: RollbackCache | SharedPrefix | Rows,
    positions: Tensor,
    masks: Mapping[str, Tensor | None],
) -> Tensor:
    """Run a stack's layers and its norm, as its own forward has them. masks: by the kind of layer; without one every position
    may look at all. What rows share is no cache for the layers: it stands in the mask's place, see `shared.py`."""
    ropes = {kind: stack.rotary_emb(hidden, positions, kind) for kind in stack.unique_layer_types}
    for layer in stack.layers:
        kind = layer.self_attn.layer_type
        if isinstance(cache, RollbackCache):
            hidden = run_layer(layer, hidden, ropes[kind], masks.get(kind), positions, cache)
        else:
            hidden = run_layer(layer, hidden, ropes[kind], cache, positions, None)
    normed: Tensor = stack.norm(hidden)
    return normed


def head(model: Any, hidden: Tensor) -> Tensor:
    """Soft-capped logits `[N, V]` in float32 of hidden states `[N, d]`, operation for operation as the model class."""
    cap: float = model.final_logit_softcapping
    logits: Tensor = model.lm_head(hidden).to(torch.float32)
    return logits.div_(cap).tanh_().mul_(cap)


def causal_mask(positions: Tensor, layer: RollbackLayer) -> Tensor | None:
    """`[1, 1, T, S]`, True where a new token at `positions [T]` may look among the keys that `layer.update` will return;
    None for a single token, which may look at all of them."""
    if len(positions) == 1:
        return None
    length, offset = layer.get_mask_sizes(len(positions))
    behind = positions[:, None] - torch.arange(offset, offset + length, device=positions.device)
    allowed = behind >= 0
    if layer.window is not None:
        allowed &= behind < layer.window
    return allowed[None, None]

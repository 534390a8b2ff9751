"""Run the passes of the model class: the causal encoder's, the bidirectional decoder's, and the head's. Knows tensors.

The class's own modules are called one by one: its `forward` makes masks that are never read, and needs the logits of a whole
canvas to tell the decoder the result of the step before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from palimpsest_engine.model.kv_cache import Reading, RollbackCache, RollbackLayer, kinds_of
from palimpsest_engine.model.layers import causal_stack, conditioned, conditioned_on, kind_of, ropes_of, run_layer


class Shared(Protocol):
    """An encoded context that all rows share, which a pass reads instead of a `RollbackCache`."""

    def get_seq_length(self) -> int:
        """Return the number of tokens in it."""
        ...

    def through(self, stack: Any, hidden: Tensor, positions: Tensor) -> Tensor:
        """Run a stack's layers and its norm over it, as `through` does."""
        ...


@torch.inference_mode()
def encode(model: Any, cache: RollbackCache | Shared, tokens: Tensor, block: int | None = None) -> Tensor:
    """Append `tokens [B, T]` to the cache through the causal encoder; return the last hidden states `[B, T, hidden]`.

    block: of so many positions each also sees those after it in its own block; these have to be whole blocks then.
    """
    past = cache.get_seq_length()
    positions = torch.arange(past, past + tokens.shape[1], device=tokens.device)
    encoder = causal_stack(model)
    embedded = encoder.embed_tokens(tokens)
    if not isinstance(cache, RollbackCache):
        return cache.through(encoder, embedded, positions.unsqueeze(0))
    masks = causal_masks(model.config.get_text_config(), cache, positions, block)
    return through(encoder, embedded, positions.unsqueeze(0), masks, cache)


@torch.inference_mode()
def decode(
    model: Any,
    cache: RollbackCache | Shared,
    tokens: Tensor,
    where: Tensor,
    chances: Tensor | None,
    positions: Tensor | None = None,
    used: Tensor | None = None,
) -> Tensor:
    """Run the decoder over a canvas `tokens [B, T]` and return the last hidden states `[B, T, hidden]`. The cache, of B rows,
    is read and not changed.

    used `[B, T]`: positions that others may look at, None for all; only in the stack that `give_canvas` makes.

    chances `[N, V]`: the probabilities of the step before, at the N positions `where` of the flattened canvas; the decoder is
    told that all other positions, the pins, are certain. None before the first step: the decoder is told nothing.
    positions `[1, T]`: those behind the cache, if they are at hand.
    """
    if positions is None:
        past = cache.get_seq_length()
        positions = torch.arange(past, past + tokens.shape[1], device=tokens.device).unsqueeze(0)
    decoder = model.model.decoder
    embedded = decoder.embed_tokens(tokens)
    if not conditioned(decoder):
        assert isinstance(cache, RollbackCache)
        return through(decoder, embedded, positions, canvas_masks(decoder, cache, used), Reading(cache))
    signal = torch.zeros_like(embedded)
    if chances is not None:
        soft = soft_embeddings(decoder.embed_tokens, chances)
        signal = embedded.flatten(0, 1).index_copy(0, where, soft).view_as(embedded)
    hidden = conditioned_on(decoder, embedded, signal)
    if not isinstance(cache, RollbackCache):
        return cache.through(decoder, hidden, positions)
    return through(decoder, hidden, positions, {}, cache)


def through(
    stack: Any,
    hidden: Tensor,
    positions: Tensor,
    masks: Mapping[str, Any],
    cache: RollbackCache | Reading | None = None,
) -> Tensor:
    """Run a stack's layers and its norm over `hidden [B, T, d]`, as the class does.

    masks: by the kind of layer; a position may look at everything where there is none. They may also be the objects that the
    registered attention reads instead of the keys and values of a cache.
    """
    ropes = ropes_of(stack, hidden, positions)
    for layer in stack.layers:
        kind = kind_of(layer)
        hidden = run_layer(layer, hidden, ropes[kind], masks.get(kind), positions, cache)
    normed: Tensor = stack.norm(hidden)
    return normed


@contextmanager
def first_layers(model: Any, count: int | None) -> Iterator[None]:
    """Have the passes run the first so many layers of both stacks, and then their norm; None for all of them."""
    stacks = [causal_stack(model), model.model.decoder]
    whole = [stack.layers for stack in stacks]
    try:
        for stack in stacks:
            stack.layers = stack.layers[:count]
        yield
    finally:
        for stack, layers in zip(stacks, whole, strict=True):
            stack.layers = layers


def soft_embeddings(embedding: Any, chances: Tensor) -> Tensor:
    """Return the mean embedding `[.., d]` under probabilities `[.., V]`: what a denoising step tells the next one."""
    dtype = embedding.weight.dtype
    soft: Tensor = (chances.to(dtype) @ embedding.weight).to(dtype)  # under autocast the product has another format
    scale: Tensor = embedding.embed_scale.to(dtype)
    return soft * scale


def head(model: Any, hidden: Tensor) -> Tensor:
    """Return the soft-capped logits `[.., V]` in float32 of hidden states `[.., d]`, operation for operation as the model
    class; in place where no gradients are wanted."""
    cap: float | None = model.final_logit_softcapping
    logits: Tensor = model.lm_head(hidden).to(torch.float32)
    if cap is None:
        return logits
    if torch.is_grad_enabled():
        return torch.tanh(logits / cap) * cap
    return logits.div_(cap).tanh_().mul_(cap)


def canvas_head(model: Any) -> Any:
    """Return the head that reads the canvas: the decoder's own, if it has one."""
    return getattr(model.model.decoder, "lm_head", model.lm_head)


def canvas_masks(decoder: Any, cache: RollbackCache, used: Tensor | None) -> dict[str, Tensor]:
    """Return the masks `[B, 1, 1, S + T]` under which a canvas sees what the cache shows and its own used positions."""
    if used is None:
        return {}
    masks = dict[str, Tensor]()
    for layer, kept in zip(decoder.layers, cache.layers, strict=True):
        if kind_of(layer) not in masks:
            seen = 0 if kept.keys is None else kept.keys.shape[2]
            masks[kind_of(layer)] = torch.cat((used.new_ones(len(used), seen), used), 1)[:, None, None]
    return masks


def causal_masks(
    text_config: Any, cache: RollbackCache, positions: Tensor, block: int | None = None
) -> dict[str, Tensor | None]:
    """Return the mask of new tokens at `positions [T]` behind the cache for each kind of layer. block: as for `encode`."""
    layers = dict(zip(kinds_of(text_config), cache.layers, strict=True))
    if block is None:
        return {kind: causal_mask(positions, layer) for kind, layer in layers.items()}
    of = torch.arange(int(positions[-1]) + 1, device=positions.device) // block
    assert all(layer.window is None for layer in layers.values())
    return dict.fromkeys(layers, (positions[:, None] // block >= of)[None, None])


def causal_mask(positions: Tensor, layer: RollbackLayer) -> Tensor | None:
    """Return `[1, 1, T, S]`, True where a new token at `positions [T]` may look among what `layer.update` returns; None
    for a single token, which may look at all of them."""
    if len(positions) == 1:
        return None
    length, offset = layer.get_mask_sizes(len(positions))
    behind = positions[:, None] - torch.arange(offset, offset + length, device=positions.device)
    allowed = behind >= 0
    if layer.window is not None:
        allowed &= behind < layer.window
    return allowed[None, None]

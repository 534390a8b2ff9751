"""Call the modules of the model class; this is the only file that knows how they want their arguments.

Between versions of transformers 5.17 and 5.24 the layers' argument for the cache was renamed from `past_key_values` to
`cache`. Every call here names its arguments, and a replaced forward or attention refuses arguments it does not know, so that
the next renaming is an error and not a wrong number.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cache
from inspect import signature
from typing import Any

from torch import Tensor
from transformers import AttentionInterface
from transformers.models.diffusion_gemma import modeling_diffusion_gemma as library

Rope = tuple[Tensor, Tensor]
Forward = Callable[[Any, Tensor, Rope, Any, Any], Tensor]
Attention = Callable[..., tuple[Tensor, Tensor | None]]  # of module, query, key, value, mask, and `scaling`
# The config of the smallest vision tower: the class always has one, even where no picture goes through it.
TOKEN_VISION = {
    "model_type": "gemma4_vision",
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "position_embedding_size": 8,
}


@cache
def cache_keyword(kind: Hashable) -> str:
    """Return the name of the argument for the cache of a class's forward. A class that has neither name is not known here."""
    (name,) = {"cache", "past_key_values"} & signature(kind.forward).parameters.keys()  # type: ignore[attr-defined]
    return name


CACHE = cache_keyword(library.DiffusionGemmaDecoderTextLayer)


def run_layer(layer: Any, hidden: Tensor, rope: Rope, mask: Any, positions: Tensor, cache: Any) -> Tensor:
    """Run a layer, `hidden [B, T, d]` to the same; its own forward, or the one that replaced it."""
    keyword = {cache_keyword(type(layer)): cache}  # type: ignore[arg-type]
    out: Tensor = layer(hidden, position_embeddings=rope, attention_mask=mask, position_ids=positions, **keyword)
    return out


def causal_stack(model: Any) -> Any:
    """Return the stack that reads causally: the encoder of a model that has one, or else its only stack."""
    encoder = getattr(model.model, "encoder", None)
    return model.model if encoder is None else encoder.language_model


def conditioned(decoder: Any) -> bool:
    """Return whether a decoder has a module that takes in the probabilities of the step before."""
    return getattr(decoder, "self_conditioning", None) is not None


def kind_of(layer: Any) -> str:
    """Return the kind of a layer's attention; classes that know one only do not name it."""
    return getattr(layer.self_attn, "layer_type", None) or "full_attention"


def ropes_of(stack: Any, hidden: Tensor, positions: Tensor) -> dict[str, Rope]:
    """Return the rotary embeddings of each kind of layer at `positions [1, T]`."""
    kinds = dict.fromkeys(map(kind_of, stack.layers))
    if "layer_type" in _arguments(type(stack.rotary_emb)):  # type: ignore[arg-type]
        return {kind: stack.rotary_emb(hidden, positions, layer_type=kind) for kind in kinds}
    rope: Rope = stack.rotary_emb(hidden, positions)
    return dict.fromkeys(kinds, rope)


@cache
def _arguments(kind: Hashable) -> frozenset[str]:
    return frozenset(signature(kind.forward).parameters)  # type: ignore[attr-defined]


def run_class_layer(layer: Any, hidden: Tensor, rope: Rope, mask: Any, positions: Tensor | None, cache: Any) -> Tensor:
    """Run the class's forward of a layer, whatever replaced it since."""
    out: Tensor = type(layer).forward(
        layer, hidden, position_embeddings=rope, attention_mask=mask, position_ids=positions, **{CACHE: cache}
    )
    return out


def replace_layer(layer: Any, forward: Forward) -> None:
    """Have a layer computed by `forward(layer, hidden, rope, mask, cache)` from now on."""

    def replaced(
        hidden_states: Tensor,
        position_embeddings: Rope,
        attention_mask: Any = None,
        position_ids: Tensor | None = None,
        **cache: Any,
    ) -> Tensor:
        return forward(layer, hidden_states, position_embeddings, attention_mask, only_cache(cache))

    layer.forward = replaced


def use_attention(model: Any, name: str, plain: Attention) -> None:
    """Have a model's layers attend by `plain`, except where something other than a tensor stands in the mask's place: that
    computes the attention itself, by `attended(index, query, key, value, scaling)`, to `[B, T, H, D]`. An argument that
    neither would heed is a TypeError: a soft cap, say, or the dropout of training."""

    def attention(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any,
        scaling: float,
        dropout: float = 0.0,
        sliding_window: int | None = None,  # this and what follows is in the mask or in the cache already
        is_causal: bool | None = None,
        position_ids: Tensor | None = None,
        use_cache: bool | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        if dropout:
            raise TypeError("the attention knows no dropout")
        if attention_mask is None or isinstance(attention_mask, Tensor):
            return plain(module, query, key, value, attention_mask, scaling=scaling)
        return attention_mask.attended(module.layer_idx, query, key, value, scaling), None

    AttentionInterface.register(name, attention)
    model.set_attn_implementation(name)


def only_cache(keywords: Mapping[str, Any]) -> Any:
    """Return the cache among keyword arguments, or None; raise TypeError if anything else is among them."""
    if unknown := keywords.keys() - {"cache", "past_key_values"}:
        raise TypeError(f"a layer got arguments it does not know: {', '.join(sorted(unknown))}")
    return next(iter(keywords.values()), None)


def conditioned_on(decoder: Any, embedded: Tensor, signal: Tensor) -> Tensor:
    """Return the embeddings of a canvas `[B, T, d]` with what the step before says of it, `signal [B, T, d]`, taken in."""
    out: Tensor = decoder.self_conditioning(inputs_embeds=embedded, self_conditioning_signal=signal)
    return out


def run_encoder(
    model: Any, tokens: Tensor, cache: Any, positions: Tensor, masks: Mapping[str, Tensor | None]
) -> Tensor:
    """Run the class's own causal encoder on `tokens [B, T]`; last hidden states `[B, T, d]`. masks: by kind of layer."""
    out: Tensor = model.model.encoder.language_model(
        input_ids=tokens, position_ids=positions, attention_mask=dict(masks), **{CACHE: cache}
    ).last_hidden_state
    return out


def run_decoder(model: Any, tokens: Tensor, cache: Any, positions: Tensor, conditioning: Tensor | None) -> Tensor:
    """Run the class's own decoder on canvases `tokens [B, T]`; last hidden states `[B, T, d]`.

    conditioning: the logits `[B, T, V]` of the step before, or None for none.
    """
    out: Tensor = model.model.decoder(
        decoder_input_ids=tokens,
        decoder_position_ids=positions,
        self_conditioning_logits=conditioning,
        **{CACHE: cache},
    ).last_hidden_state
    return out

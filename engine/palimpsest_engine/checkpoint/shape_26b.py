"""The shapes of google/diffusiongemma-26B-A4B-it, from its published config, to judge a machine without its files."""

from __future__ import annotations

from typing import Any

from palimpsest_engine.checkpoint.header import Shapes

NAME = "google/diffusiongemma-26B-A4B-it"
_HIDDEN, _HEADS, _DENSE, _EXPERTS, _EXPERT, _VOCABULARY = 2816, 16, 2112, 128, 704, 262_144
_DENSE_PATH: Shapes = {
    "gate_proj.weight": (_DENSE, _HIDDEN),
    "up_proj.weight": (_DENSE, _HIDDEN),
    "down_proj.weight": (_HIDDEN, _DENSE),
}
_KINDS = ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(30)]
CONFIG: dict[str, Any] = {"text_config": {"layer_types": _KINDS, "sliding_window": 1024}}
POSITIONS = 256  # of its canvas


def shapes() -> Shapes:
    """Return the shapes of the tensors of text by name; vectors, which take next to nothing, are left out."""
    found: Shapes = {"model.decoder.embed_tokens.weight": (_VOCABULARY, _HIDDEN)}
    found |= {f"model.decoder.self_conditioning.{name}": shape for name, shape in _DENSE_PATH.items()}
    for layer, kind in enumerate(_KINDS):
        for name, shape in _layer(kind).items():
            found[f"model.decoder.layers.{layer}.{name}"] = shape
    return found


def _layer(kind: str) -> Shapes:
    full = kind == "full_attention"
    head, groups = (512, 2) if full else (256, 8)
    queries, keys = (_HEADS * head, _HIDDEN), (groups * head, _HIDDEN)
    values = {} if full else {"self_attn.v_proj.weight": keys}  # elsewhere the keys are the values
    return {
        "self_attn.q_proj.weight": queries,
        "self_attn.k_proj.weight": keys,
        **values,
        "self_attn.o_proj.weight": queries[::-1],
        **{f"mlp.{name}": shape for name, shape in _DENSE_PATH.items()},
        "router.proj.weight": (_EXPERTS, _HIDDEN),
        "experts.gate_up_proj": (_EXPERTS, 2 * _EXPERT, _HIDDEN),
        "experts.down_proj": (_EXPERTS, _HIDDEN, _EXPERT),
    }

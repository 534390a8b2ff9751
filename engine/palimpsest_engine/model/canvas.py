"""Let a left-to-right model denoise: a second stack of its own layers, in which every position sees all others.

The stack shares the model's weights. What was trained for the canvas lies beside them, so the causal pass over the context
stays that of the model: two small matrices for each linear map (LoRA), and rows for ids that the model never used. Knows
tensors, no files.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from palimpsest_engine.model.causal import Lean, lean_layer
from palimpsest_engine.model.layers import replace_layer

Pair = tuple[Tensor, Tensor]  # (down `[rank, in]`, up `[out, rank]`): up @ down is added to a weight
JOINED = {"qkv": ("q_proj", "k_proj", "v_proj"), "gate_up": ("gate_proj", "up_proj")}
ALONE = {"out": "o_proj", "down": "down_proj"}
LEAN = {"qkv": "qkv", "out": "output", "gate_up": "gate_up", "down": "down"}


@dataclass(frozen=True, slots=True)
class CanvasAdapter:
    """The weights that were trained for the canvas alone.

    pairs: of each layer, by place: `qkv` and `gate_up`, whose maps read the same input and share `down`, `out` and `down`.
    rows_in, rows_out: by id, the embedding `[d]` and the row `[d]` of the head that stand in for the model's own.
    """

    pairs: tuple[Mapping[str, Pair], ...] = ()
    rows_in: Mapping[int, Tensor] = field(default_factory=dict)
    rows_out: Mapping[int, Tensor] = field(default_factory=dict)


def give_canvas(model: Any, adapter: CanvasAdapter | None = None) -> None:
    """Give a left-to-right model the stack `model.model.decoder` for canvases, which shares its weights.

    adapter: is on in that stack, and off in the model. Raises ValueError if it does not fit the model.
    """
    adapter = adapter or CanvasAdapter()
    stack = twin(model.model)
    stack._modules.pop("decoder", None)  # that of an earlier call
    if adapter.pairs and len(adapter.pairs) != len(stack.layers):
        raise ValueError(f"an adapter of {len(adapter.pairs)} layers for a model of {len(stack.layers)}")
    for number, layer in enumerate(stack.layers):
        layer.self_attn.is_causal = False  # the class asks this where it is given no mask
        pairs = adapter.pairs[number] if adapter.pairs else {}
        if isinstance(getattr(layer, "lean", None), Lean):
            layer.lean = copy.copy(layer.lean)
            replace_layer(layer, lean_layer)
            for place, pair in pairs.items():
                setattr(layer.lean, LEAN[place], Adapted(getattr(layer.lean, LEAN[place]), *pair))
        else:
            adapt_class_layer(layer, pairs)
    if adapter.rows_in:
        stack.embed_tokens = OtherRows(stack.embed_tokens, adapter.rows_in)
    stack.lm_head = OtherColumns(model.lm_head, adapter.rows_out) if adapter.rows_out else model.lm_head
    model.model.decoder = stack


def twin(module: Any) -> Any:
    """Return a module with the same parameters whose submodules can be exchanged without changing the first one's."""
    other = copy.copy(module)
    other.__dict__.pop("forward", None)  # one that replaced the class's would run the first module
    other._parameters, other._buffers = dict(module._parameters), dict(module._buffers)
    other._modules = {name: None if child is None else twin(child) for name, child in module._modules.items()}
    return other


def adapt_class_layer(layer: Any, pairs: Mapping[str, Pair]) -> None:
    """Put pairs beside the linear maps of a layer of the class's."""
    for place, (down, up) in pairs.items():
        block = layer.self_attn if place in ("qkv", "out") else layer.mlp
        at = 0
        for name in JOINED.get(place) or (ALONE[place],):
            plain = getattr(block, name)
            rows = up[at : at + plain.out_features]
            setattr(block, name, Adapted(plain, down, rows))
            at += len(rows)
        if at != len(up):
            raise ValueError(f"the matrices for {place} have {len(up)} rows, the model {at}")


class Adapted(nn.Module):
    """A linear map and what a pair adds to it, `[.., K]` to `[.., N]`. Raises ValueError if the pair does not fit."""

    def __init__(self, plain: Any, down: Tensor, up: Tensor) -> None:
        super().__init__()
        fits = (plain.out_features, plain.in_features, len(down)) == (len(up), down.shape[1], up.shape[1])
        if not fits:
            shapes = f"{[*up.shape]} and {[*down.shape]} for a map {[plain.out_features, plain.in_features]}"
            raise ValueError(f"matrices of the shapes {shapes}")
        self.plain, self.out_features, self.in_features = plain, plain.out_features, plain.in_features
        self.down, self.up = (nn.Parameter(each, requires_grad=False) for each in (down, up))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `hidden`."""
        rows = hidden.reshape(-1, self.in_features)
        low = rows.to(self.down.dtype) @ self.down.t()
        out: Tensor = self.plain(rows)
        if out.dtype == low.dtype:
            return torch.addmm(out, low, self.up.t()).view(*hidden.shape[:-1], -1)
        return (out + low @ self.up.t()).view(*hidden.shape[:-1], -1)


class OtherRows(nn.Module):
    """An embedding in which some ids have other rows."""

    def __init__(self, plain: Any, rows: Mapping[int, Tensor]) -> None:
        super().__init__()
        self.plain, self.ids = plain, tuple(rows)
        self.rows = nn.Parameter(torch.stack(list(rows.values())), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return `[.., d]` for ids `[..]`."""
        out: Tensor = self.plain(ids)
        for id_, row in zip(self.ids, self.rows, strict=True):
            out = torch.where((ids == id_).unsqueeze(-1), row.to(out.dtype), out)
        return out


class OtherColumns(nn.Module):
    """A head in which some ids have other rows."""

    def __init__(self, plain: Any, rows: Mapping[int, Tensor]) -> None:
        super().__init__()
        self.plain, self.ids = plain, tuple(rows)
        self.rows = nn.Parameter(torch.stack(list(rows.values())), requires_grad=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits `[.., V]` of `hidden [.., d]`."""
        out: Tensor = self.plain(hidden)
        for id_, row in zip(self.ids, self.rows, strict=True):
            out[..., id_] = hidden.to(out.dtype) @ row.to(out.dtype)
        return out

"""A shortcut for checkpoints with one expert: nothing to route, so the router and the gathering are skipped.

The class always routes; at the embedded size that bookkeeping is a tenth of a step. The result is the same.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import Tensor
from torch.nn import functional as F


def skip_routing(model: Any) -> None:
    """Bind direct forwards to every router and expert stack of a model with `num_experts == 1`; others are left alone."""
    if model.config.get_text_config().num_experts != 1:
        return
    for layers in (model.model.decoder.layers, model.model.encoder.language_model.layers):
        for layer in layers:
            layer.router.forward = MethodType(_sole_weight, layer.router)
            layer.experts.forward = MethodType(_sole_expert, layer.experts)


def _sole_weight(router: Any, hidden: Tensor) -> tuple[None, Tensor, None]:
    """A softmax over one score is 1; what is left of the weight is the expert's own scale."""
    return None, router.per_expert_scale[0], None


def _sole_expert(experts: Any, hidden: Tensor, index: None, weight: Tensor) -> Tensor:
    gate, up = F.linear(hidden, experts.gate_up_proj[0]).chunk(2, dim=-1)
    out: Tensor = F.linear(experts.act_fn(gate) * up, experts.down_proj[0]) * weight
    return out

"""The one module that calls the class's layers: its arguments are named, and unknown ones are errors, not wrong numbers."""

from __future__ import annotations

import ast
import copy
from pathlib import Path

import pytest
import torch

from palimpsest_engine.model.causal import FUSED
from palimpsest_engine.model.causal import attention as causal_attention
from palimpsest_engine.model.cpu_layers import GROUPED, grouped_attention
from palimpsest_engine.model.kv_cache import Reading, RollbackCache
from palimpsest_engine.model.layers import (
    CACHE,
    cache_keyword,
    conditioned_on,
    replace_layer,
    run_class_layer,
    use_attention,
)

ENGINE = Path(__file__).parents[3] / "engine"
STATES = torch.zeros(1, 2, 3, 4)


class Shared:
    """Stands in the mask's place."""

    def attended(self, index, query, key, value, scaling):
        return query * scaling


def registered(model, name, plain):
    """Return the attention that the layers of a model get."""
    from transformers import AttentionInterface

    changed = copy.deepcopy(model)
    use_attention(changed, name, plain)
    return AttentionInterface()[name], changed.model.decoder.layers[0].self_attn


@pytest.mark.parametrize(("name", "plain"), [(FUSED, causal_attention), (GROUPED, grouped_attention)])
@pytest.mark.parametrize("mask", [None, torch.ones(1, 1, 3, 3, dtype=torch.bool), Shared()])
def test_an_attention_refuses_what_it_would_not_heed(model, name, plain, mask):
    attention, module = registered(model, name, plain)
    known = {"scaling": 1.0, "dropout": 0.0, "sliding_window": 9, "is_causal": False, "use_cache": True}
    attention(module, STATES, STATES, STATES, mask, **known)
    for unknown in ({"softcap": 50.0}, {"s_aux": STATES}, {"dropout": 0.1}):
        with pytest.raises(TypeError, match=next(iter(unknown))):
            attention(module, STATES, STATES, STATES, mask, **known | unknown)
    with pytest.raises(TypeError, match="scaling"):
        attention(module, STATES, STATES, STATES, mask)


@pytest.mark.parametrize("unknown", [{"keys": None}, {"past_key_value": None}])
def test_a_replaced_layer_refuses_an_unknown_argument(model, unknown):
    layer = copy.deepcopy(model.model.decoder.layers[0])
    replace_layer(layer, lambda layer, hidden, rope, mask, cache: hidden)
    assert layer(STATES, None, None, None, **{CACHE: None}) is STATES
    with pytest.raises(TypeError, match=next(iter(unknown))):
        layer(STATES, None, **unknown)


def test_an_argument_that_the_class_renames_does_not_get_lost(model):
    """The class hands what it does not know to its attention, which refuses it."""
    changed = copy.deepcopy(model)
    use_attention(changed, GROUPED, grouped_attention)
    decoder, hidden = changed.model.decoder, torch.zeros(1, 3, 32)
    positions = torch.arange(3)[None]
    layer = decoder.layers[0]
    rope = decoder.rotary_emb(hidden, positions, layer_type=layer.self_attn.layer_type)
    cache = RollbackCache.for_config(model.config.text_config)
    cache.layers[layer.layer_idx].update(torch.zeros(1, 2, 1, 16), torch.zeros(1, 2, 1, 16))
    assert run_class_layer(layer, hidden, rope, None, positions, cache).shape == hidden.shape
    with pytest.raises(TypeError, match="mask_of_another_name"):
        layer(hidden, position_embeddings=rope, attention_mask=None, mask_of_another_name=None, **{CACHE: cache})


def test_caches_refuse_an_unknown_argument(model):
    cache = RollbackCache.for_config(model.config.text_config)
    cache.update(STATES, STATES, 0)
    cache.update(STATES, STATES, 0, kwargs={})  # from transformers 5.24 on
    with pytest.raises(TypeError, match="strange"):
        cache.update(STATES, STATES, 0, strange=1)
    with pytest.raises(TypeError, match="strange"):
        Reading(cache).update(STATES, STATES, 0, strange=1)


def test_a_class_without_a_known_name_for_its_cache_is_refused():
    class Renamed:
        def forward(self, hidden, memory):
            pass

    with pytest.raises(ValueError, match="not enough values"):
        cache_keyword(Renamed)


def test_the_step_before_is_told_by_names(model):
    hidden = torch.randn(1, 3, 32)
    assert conditioned_on(model.model.decoder, hidden, torch.zeros_like(hidden)).shape == hidden.shape


def _calls(path: Path) -> list[str]:
    """Return the calls of the class's modules in a file that have names of arguments which a version may change."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        names = {each.arg for each in node.keywords} & {"past_key_values", "cache_position", "position_embeddings"}
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if names or called in {"self_conditioning", "self_attn", "language_model"}:
            found.append(f"{path.relative_to(ENGINE)}:{node.lineno}")
    return found


def test_one_module_calls_the_layers_of_the_class():
    calls = [call for path in sorted(ENGINE.rglob("*.py")) for call in _calls(path)]
    assert {call.partition(":")[0] for call in calls} == {"palimpsest_engine/model/layers.py"}


def test_nothing_takes_arguments_that_it_does_not_use():
    swallowing = [
        f"{path.relative_to(ENGINE)}:{node.lineno}"
        for path in sorted((ENGINE / "palimpsest_engine" / "model").rglob("*.py"))
        + sorted((ENGINE / "palimpsest_engine" / "cuda").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.args.kwarg and not _used(node, node.args.kwarg.arg)
    ]
    assert swallowing == []


def _used(function: ast.FunctionDef, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(function))


def test_the_library_can_compile_the_attention_whole(model):
    """Its static path is compiled on a GPU, where the attention stays when our layers are taken out."""
    attention, module = registered(model, GROUPED, grouped_attention)
    query = torch.randn(1, 2, 3, 4)

    def one(states):
        return attention(module, states, states, states, None, scaling=1.0, dropout=0.0, sliding_window=9)[0]

    compiled = torch.compile(one, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(query), one(query))
    torch._dynamo.reset()

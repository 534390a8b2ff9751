"""The canvas stack of a left-to-right model: its class without a mask, with or without an adapter; the model is unchanged."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.engine.causal import model_of

from palimpsest_engine.model.canvas import CanvasAdapter, give_canvas
from palimpsest_engine.model.causal import in_eight_bits, linears
from palimpsest_engine.model.forward import canvas_head, decode, encode, head
from palimpsest_engine.model.int8 import Rounded, available
from palimpsest_engine.model.kv_cache import RollbackCache

KINDS = ("qwen2", "qwen3", "llama", "mistral", "starcoder2")
PLACES = ("qkv", "out", "gate_up", "down")
CONTEXT, CANVAS = torch.arange(9)[None] * 7 % 250, torch.arange(6)[None] * 13 % 250


def cached(model, rows=1):
    cache = RollbackCache.for_config(model.config)
    encode(model, cache, CONTEXT)
    return cache.branch(rows)


@torch.inference_mode()
def of_the_context(model):
    return head(model, encode(model, RollbackCache.for_config(model.config), CONTEXT))


def everywhere(model, kept, length):
    """The class over the context and a canvas, where the canvas sees all and the context what is before it."""
    total = kept + length
    allowed = torch.ones(total, total, dtype=torch.bool).tril()
    allowed[kept:] = True
    bias = torch.zeros(total, total).masked_fill(~allowed, torch.finfo(torch.float32).min)
    return bias[None, None]


@pytest.mark.parametrize("kind", KINDS)
def test_a_canvas_is_the_class_without_a_causal_mask(kind):
    model = model_of(kind)
    ids = torch.cat((CONTEXT, CANVAS), 1)
    with torch.no_grad():
        bias = everywhere(model, CONTEXT.shape[1], CANVAS.shape[1])
        theirs = model.model(input_ids=ids, attention_mask=bias).last_hidden_state[:, CONTEXT.shape[1] :]
    model.final_logit_softcapping = None
    give_canvas(model)
    torch.testing.assert_close(decode(model, cached(model), CANVAS, None, None), theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_canvas_without_a_context_is_the_class_both_ways(kind):
    model = model_of(kind)
    give_canvas(model)
    with torch.no_grad():
        bias = torch.zeros(1, 1, 6, 6)
        theirs = model.model(input_ids=CANVAS, attention_mask=bias).last_hidden_state
    mine = decode(model, RollbackCache.for_config(model.config), CANVAS, None, None)
    torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-4)


def adapter_for(model, rank=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    width = config.head_dim if hasattr(config, "head_dim") else config.hidden_size // config.num_attention_heads
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    shapes = {
        "qkv": ((heads + 2 * groups) * width, config.hidden_size),
        "out": (config.hidden_size, heads * width),
        "gate_up": (2 * config.intermediate_size, config.hidden_size),
        "down": (config.hidden_size, config.intermediate_size),
    }

    def pair(place):
        out, inside = shapes[place]
        return (torch.randn(rank, inside, generator=generator) / 8, torch.randn(out, rank, generator=generator) / 8)

    pairs = tuple({place: pair(place) for place in PLACES} for _ in range(config.num_hidden_layers))
    rows = {5: torch.randn(config.hidden_size, generator=generator)}
    return CanvasAdapter(pairs, rows, {7: torch.randn(config.hidden_size, generator=generator)})


def merged(model, adapter):
    """The same model with the adapter added to its weights, as a LoRA is merged."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for layer, pairs in zip(other.model.layers, adapter.pairs, strict=True):
            for place, (down, up) in pairs.items():
                added = up @ down
                names = {"qkv": "qkv", "out": "o", "gate_up": ("gate", "up"), "down": ("down",)}[place]
                block = layer.self_attn if place in ("qkv", "out") else layer.mlp
                at = 0
                for name in names:
                    weight = getattr(block, f"{name}_proj").weight
                    weight += added[at : at + len(weight)]
                    at += len(weight)
        for id_, row in adapter.rows_in.items():
            other.model.embed_tokens.weight[id_] = row
    return other


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama", "mistral"])
@pytest.mark.parametrize("lean", [False, True])
def test_an_adapter_is_on_for_the_canvas_and_off_for_the_context(kind, lean):
    model = model_of(kind)
    model.final_logit_softcapping = None
    if lean and not available():
        pytest.skip("this processor has no such kernel")
    adapter = adapter_for(model)
    with torch.no_grad():
        reference = merged(model, adapter)
        give_canvas(reference)
        theirs = decode(reference, cached(model), CANVAS, None, None)
        said = of_the_context(model)
    if lean:
        in_eight_bits(model, {name: Rounded.of(module.weight) for name, module in linears(model).items()})
    give_canvas(model, adapter)
    mine = decode(model, cached(model), CANVAS, None, None)
    close = {"atol": 0.15, "rtol": 0.1} if lean else {"atol": 2e-4, "rtol": 1e-3}
    torch.testing.assert_close(mine, theirs, **close)
    torch.testing.assert_close(
        of_the_context(model), said, **({"atol": 0.3, "rtol": 0.1} if lean else {"atol": 0, "rtol": 0})
    )
    with torch.inference_mode():
        logits, plain = canvas_head(model)(mine), model.lm_head(mine)
    torch.testing.assert_close(logits[..., 7], mine @ adapter.rows_out[7])
    assert torch.equal(logits[..., :7], plain[..., :7])
    assert torch.equal(logits[..., 8:], plain[..., 8:])


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_positions_that_fill_a_batch_up_are_not_seen(kind):
    model = model_of(kind)
    give_canvas(model)
    alone = decode(model, cached(model), CANVAS[:, :4], None, None)
    used = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    both = decode(model, cached(model, 2), CANVAS.expand(2, -1), None, None, None, used)
    torch.testing.assert_close(both[:1, :4], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both[1:], decode(model, cached(model), CANVAS, None, None), atol=1e-5, rtol=1e-4)


def test_a_pass_over_a_canvas_leaves_the_cache_as_it_is():
    model = model_of("qwen2")
    give_canvas(model)
    cache = cached(model)
    kept = [layer.keys.clone() for layer in cache.layers]
    decode(model, cache, CANVAS, None, None)
    assert cache.get_seq_length() == CONTEXT.shape[1]
    assert all(torch.equal(layer.keys, keys) for layer, keys in zip(cache.layers, kept, strict=True))


def test_the_canvas_has_no_weights_of_its_own_without_an_adapter():
    model = model_of("qwen2")
    own = {id(parameter) for parameter in model.parameters()}
    give_canvas(model)
    give_canvas(model)
    assert {id(parameter) for parameter in model.parameters()} == own


def test_an_adapter_that_does_not_fit_is_refused():
    model = model_of("qwen2")
    good = adapter_for(model)
    with pytest.raises(ValueError, match="2 layers for a model of 3"):
        give_canvas(model, CanvasAdapter(good.pairs[:2]))
    for place in PLACES:
        down, up = good.pairs[0][place]
        with pytest.raises(ValueError, match="matrices"):
            give_canvas(model, CanvasAdapter(({place: (down, up[:-2])}, *good.pairs[1:])))

"""The memory of a mixture: computed for the published 26B, and compared with what is allocated."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from palimpsest_bench.engine.random_models import config_of, random_model
from palimpsest_engine import EngineSettings, OutOfMemory
from palimpsest_engine.checkpoint import shape_26b
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.memory import CONTEXTS, fill_of, longest, needed, weights
from palimpsest_engine.checkpoint.weights import hollow
from palimpsest_engine.model.forward import encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.quantize import EXPERTS
from palimpsest_engine.runtime.cards import cards, subject

GIB = 2**30
SHAPES = shape_26b.shapes()
FILL = fill_of(SHAPES, shape_26b.CONFIG, "bfloat16", shape_26b.POSITIONS)


def shapes_in(model):
    once = {id(tensor): (name, tuple(tensor.shape)) for name, tensor in model.state_dict(keep_vars=True).items()}
    return dict(once.values())


def test_the_written_shapes_are_those_of_the_class():
    found = shapes_in(hollow(config_of("26b"), torch.bfloat16))
    large = {name: shape for name, shape in found.items() if len(shape) > 1 and ".encoder." not in name}
    assert large == {name: shape for name, shape in SHAPES.items() if "embed_tokens" not in name} | {
        name: shape for name, shape in large.items() if "embed" in name or "head" in name
    }
    kinds = config_of("26b").get_text_config()
    assert shape_26b.CONFIG["text_config"] == {
        "layer_types": kinds.layer_types,
        "sliding_window": kinds.sliding_window,
    }


@pytest.mark.parametrize("quantization", ["none", *EXPERTS])
def test_the_predicted_weights_are_allocated(quantization):
    shapes = shapes_in(hollow(config_of("26b-narrow"), torch.bfloat16))
    model = random_model("26b-narrow", "cpu", "bfloat16", quantization)
    held = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}
    there = sum(tensor.nbytes for tensor in held.values())
    assert weights(shapes, "bfloat16", quantization) == pytest.approx(there, rel=0.02)  # the vision tower of the test


@pytest.mark.parametrize("length", [40, 300])
def test_a_cache_takes_what_is_predicted(length):
    model = random_model("26b-narrow", "cpu", "float32")
    text = model.config.get_text_config()
    fill = fill_of(shapes_in(model), model.config.to_dict(), "float32", 0)
    cache = RollbackCache.for_config(text)
    encode(model, cache, torch.arange(length).unsqueeze(0))
    kept = sum(layer.kept_keys.nbytes + layer.kept_values.nbytes for layer in cache.layers)
    assert (fill.sliding + fill.full) * length == kept
    seen = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    beside = min(length, text.sliding_window) * fill.sliding + length * fill.full
    assert seen == pytest.approx(beside, rel=0.02)  # a window without the token that looks


def test_logits_of_a_step_are_counted():
    assert FILL.logits == 256 * 262_144 * 2
    assert FILL.bytes(1024) > 3 * FILL.logits
    assert replace(FILL, logits=0).bytes(1024) == FILL.bytes(1024) - 3 * FILL.logits


def test_a_longer_context_needs_more_and_a_smaller_format_less():
    by_context = [needed(SHAPES, "bfloat16", "int4", FILL, context) for context in CONTEXTS]
    assert by_context == sorted(by_context, reverse=True)
    by_format = [needed(SHAPES, "bfloat16", each, FILL) for each in ("none", "int8", "int4-fine", "int4", "int4-small")]
    assert by_format == sorted(by_format, reverse=True)


CARDS = {
    12: (None, 0),
    16: ("int4-small", 1024),
    24: ("int4-fine", 8192),
    32: ("int8", 8192),
    48: ("int8", 8192),
    80: ("none", 8192),
}


def test_each_card_has_its_way():
    found = cards(SHAPES, FILL)
    assert {each.gigabytes: (each.quantization, each.context) for each in found} == CARDS
    for each in found:
        assert each.needed <= (each.gigabytes - 0.4) * GIB
        if each.quantization and each.context < 8192:
            assert longest(SHAPES, "bfloat16", each.quantization, FILL, (each.gigabytes - 0.4) * GIB) == each.context


def test_a_mixture_of_one_s_own_has_cards_of_its_own(checkpoint_folder):
    name, shapes, fill = subject(EngineSettings(str(checkpoint_folder)))
    assert name == str(checkpoint_folder)
    assert {(each.quantization, each.context) for each in cards(shapes, fill)} == {("none", 8192)}
    assert subject(EngineSettings("embedded"))[0] == shape_26b.NAME  # it is no mixture


def test_out_of_memory_while_loading_names_the_next_smaller_format(checkpoint_folder, monkeypatch):
    def fails(*args):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("palimpsest_engine.checkpoint.load.read_model", fails)
    for quantization, less in (("none", "int8"), ("int8", "int4-fine|int4"), ("int4-small", "close what else uses it")):
        with pytest.raises(OutOfMemory, match=f"ran out of memory while .*({less})"):
            load(EngineSettings(str(checkpoint_folder), device="cpu", quantization=quantization))


def test_a_small_card_gets_a_shorter_context(checkpoint_folder, monkeypatch):
    from palimpsest_engine.checkpoint.load import shortened
    from palimpsest_engine.checkpoint.spec import Spec

    free = needed(SHAPES, "bfloat16", "int4", FILL, 2048) + 1
    monkeypatch.setattr("palimpsest_engine.checkpoint.load.room_on", lambda device: ("on it", free))
    spec = Spec("x")
    found = shortened(spec, SHAPES, "cuda:0", "bfloat16", "int4", FILL)
    assert (found.context, found.suffix) == (2048, 512)
    assert shortened(spec, SHAPES, "cpu", "bfloat16", "int4", FILL) is spec
    assert shortened(replace(spec, context=1024), SHAPES, "cuda", "bfloat16", "int4", FILL).context == 1024

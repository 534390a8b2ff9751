"""Published models: told apart by their files, and of exactly the tensors of the stock class that is to run them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from palimpsest_engine.checkpoint.published import PUBLISHED, published, spec_of_published, stock_config
from palimpsest_engine.checkpoint.spec import Denoising
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint
from palimpsest_engine.model import causal
from palimpsest_engine.model.families import CAUSAL

CONFIGS = Path(__file__).parent / "configs"
MADE = {"dream-7b": "Dream", "open-dcoder-0.5b": "Open-dCoder", "sdar-4b": "SDAR", "sdar-8b": "SDAR"}
DREAMON = {"expand_token_id": 151667}  # the id that its authors' code has; its own files were not at hand
BOTH = Denoising("mask", shift=True, context="both", conditioned=False, revises=False)


def files(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text("utf-8"))
    return found


def hollow(name: str) -> Any:
    facts = files(name)
    model = published(facts["config"], facts["named"], facts["generation"])
    assert model is not None
    return causal.hollow(stock_config(model, facts["config"], CAUSAL), torch.bfloat16)


def spec(facts, **changed):
    facts = {**facts, **changed}
    model = published(facts["config"], facts["named"], facts["generation"])
    assert model is not None
    arguments = facts["config"], facts["named"], facts["added"].get, facts["generation"]
    return model.name, spec_of_published(model, "it", *arguments)


@pytest.mark.parametrize(("name", "model"), MADE.items())
def test_it_is_known_by_its_files(name, model):
    facts = files(name)
    found = published(facts["config"], facts["named"], facts["generation"])
    assert found is not None
    assert found.name == model


def test_others_are_not_taken_for_one():
    facts = files("open-dcoder-0.5b")
    assert published(facts["config"], {"eos_token": "<|endoftext|>"}) is None  # a stock Qwen2
    assert published({}, {}) is None
    assert published({"model_type": "sdar", "architectures": None}, {}) is None
    assert published({**files("sdar-4b")["config"], "architectures": ["SDARMoeForCausalLM"]}, {}) is None


@pytest.mark.parametrize("name", [name for name in MADE if files(name)["tensors"]])
def test_a_stock_model_of_its_shape_has_its_tensors(name):
    model, listed = hollow(name), files(name)["tensors"]
    names = {f"model.layers.{i}.{each}" for i in range(listed["layers"]) for each in listed["in_each"]}
    state = model.state_dict()
    assert state.keys() == names | set(listed["others"])
    assert sum(2 * each.numel() for each in state.values()) == listed["bytes"]
    assert not model.config.tie_word_embeddings


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "dream-7b",
            {
                "model.embed_tokens": (152064, 3584),
                "lm_head": (152064, 3584),
                "model.layers.27.self_attn.q_proj": (3584, 3584),
                "model.layers.27.self_attn.k_proj": (512, 3584),
                "model.layers.27.mlp.down_proj": (3584, 18944),
            },
        ),
        (
            "sdar-4b",
            {
                "model.embed_tokens": (151936, 2560),
                "model.layers.35.self_attn.q_proj": (4096, 2560),
                "model.layers.35.self_attn.v_proj": (1024, 2560),
                "model.layers.35.self_attn.q_norm": (128,),
                "model.layers.35.mlp.gate_proj": (9728, 2560),
            },
        ),
        (
            "open-dcoder-0.5b",
            {
                "model.embed_tokens": (151936, 896),
                "lm_head": (151936, 896),
                "model.layers.23.self_attn.q_proj": (896, 896),
                "model.layers.23.self_attn.k_proj": (128, 896),
                "model.layers.23.mlp.up_proj": (4864, 896),
            },
        ),
    ],
)
def test_its_shapes_are_those_of_the_config(name, shapes):
    model = hollow(name)
    state = model.state_dict()
    assert {key: tuple(state[f"{key}.weight"].shape) for key in shapes} == shapes
    assert model.config.rope_parameters["rope_theta"] == 1e6
    assert model.config.rms_norm_eps == 1e-6
    assert model.config.tie_word_embeddings == (name == "open-dcoder-0.5b")
    assert set(model.config.layer_types) == {"full_attention"}


def test_its_description_is_the_published_one():
    made = {name: spec(files(name)) for name in MADE}
    assert {name: (model, each.denoising.mask_id, each.bos_id) for name, (model, each) in made.items()} == {
        "dream-7b": ("Dream", 151666, 151665),
        "open-dcoder-0.5b": ("Open-dCoder", 151665, None),
        "sdar-4b": ("SDAR", 151669, None),
        "sdar-8b": ("SDAR", 151669, None),
    }
    for model, each in made.values():
        one = next(known for known in PUBLISHED if known.name == model)
        assert each.denoises == (model != "SDAR")
        assert each.sampling == one.spec.sampling
        assert each.sampling.t_min == each.sampling.t_max
        assert not each.denoising.conditioned
        assert each.denoising.shift == (model != "SDAR")
    dream = made["dream-7b"][1]
    assert [dream.steps(size) for size in dream.hole_sizes] == [4, 8, 16, 32, 64]


@pytest.mark.parametrize(("more", "shrink"), [({}, 151643), ({"delete_token_id": 151668}, 151668)])
@pytest.mark.parametrize("where", ["config", "generation"])
def test_dreamon_is_dream_that_grows(more, shrink, where):
    facts = files("dream-7b")
    name, it = spec(facts, **{where: {**facts[where], **DREAMON, **more}})
    assert (name, it.hole_sizes, it.bos_id) == ("DreamOn", (4,), 151665)
    assert it.denoising == replace(
        BOTH, mask_id=151666, grow_id=151667, shrink_id=shrink, shrinks_rest=True, longest=64
    )


@pytest.mark.parametrize("key", ["rope_scaling", "use_sliding_window", "use_mrope", "quantization_config"])
def test_configs_beyond_the_stock_class_are_refused(key):
    config = {**files("dream-7b")["config"], key: {"rope_type": "yarn"}}
    model = published(config, {})
    assert model is not None
    with pytest.raises(UnsupportedCheckpoint, match=f"sets {key}"):
        stock_config(model, config, CAUSAL)


def test_no_code_is_named_in_what_is_run():
    for name in MADE:
        facts = files(name)
        model = published(facts["config"], facts["named"], facts["generation"])
        assert model is not None
        assert "auto_map" in facts["config"]
        assert (
            not {"auto_map", "attn_implementation", "trust_remote_code"}
            & stock_config(model, facts["config"], CAUSAL).keys()
        )


@pytest.mark.parametrize(
    "changed",
    [
        {"added": {}},
        {"added": {"<M>": 151936}},
        {"config": {**files("open-dcoder-0.5b")["config"], "mask_token_id": -1}},
        {"config": {**files("open-dcoder-0.5b")["config"], "vocab_size": None}},
        {"named": {"mask_token": ["<M>"]}},
    ],
)
def test_a_model_without_a_mask_id_is_refused(changed):
    with pytest.raises(CheckpointBroken, match="no id for the masks"):
        spec(files("open-dcoder-0.5b"), **changed)

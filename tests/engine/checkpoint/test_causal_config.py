"""A config that describes no model costs a sentence, whatever it makes the library raise, and runs no code of its own."""

from __future__ import annotations

import json

import pytest

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.errors import CheckpointBroken

from ..causal import write_model


@pytest.fixture(scope="module", params=["qwen2", "gemma3_text"])
def good(request, tmp_path_factory):
    folder = write_model(tmp_path_factory.mktemp(request.param) / "model", request.param)
    return folder, (folder / "config.json").read_text("utf-8")


@pytest.fixture
def folder(good):
    path, config = good
    yield path
    (path / "config.json").write_text(config, "utf-8")


def configure(folder, changes):
    config = json.loads((folder / "config.json").read_text("utf-8")) | changes
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": "4"},
        {"num_attention_heads": None},
        {"num_attention_heads": 0},
        {"hidden_size": -64},
        {"hidden_size": 10**18},
        {"head_dim": 10**10},
        {"head_dim": 0},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": -1},
        {"vocab_size": None},
        {"pad_token_id": 10**9},
        {"text_config": {"hidden_size": 64}},
        {"text_config": [1]},
        {"layer_types": ["strange"] * 3},
        {"rope_parameters": [1]},
        {"dtype": "strange"},
        {"to_dict": 3},
        {"self": 3},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_config_that_describes_no_model_is_refused_in_a_sentence(folder, changes):
    configure(folder, changes)
    for dtype in ("float32", "auto"):
        with pytest.raises(CheckpointBroken) as told:
            load(EngineSettings(str(folder), device="cpu", dtype=dtype))
        assert "\n" not in str(told.value)
        assert str(folder) in str(told.value)
        assert len(str(told.value)) < 300 + len(str(folder))


def test_a_config_that_is_a_list_is_refused(folder):
    (folder / "config.json").write_text('["qwen2"]', "utf-8")
    with pytest.raises(CheckpointBroken, match="not a JSON object"):
        load(EngineSettings(str(folder), device="cpu"))


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_a_config_fetches_no_kernel(folder, key):
    """The library would look at a hub for a kernel of that name, and run it."""
    configure(folder, {key: "somebody/kernel"})
    model = load(EngineSettings(str(folder), device="cpu", dtype="float32")).model
    assert model.config._attn_implementation != "somebody/kernel"

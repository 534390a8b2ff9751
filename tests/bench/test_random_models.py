"""Models of a published shape: their sizes are those that were published."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from transformers import DiffusionGemmaForBlockDiffusion

from palimpsest_bench.engine.random_models import bytes_of, config_of, parameters, random_model
from palimpsest_engine import OutOfMemory
from palimpsest_engine.engine import Quantization
from palimpsest_engine.model.moe import quantised_experts
from palimpsest_engine.model.quantize import FORMATS, dequantised


def test_the_large_shape_has_the_published_number_of_parameters():
    config = config_of("26b")
    assert round(parameters(config) / 1e9, 1) in (25.2, 25.3)
    text = config.get_text_config()
    assert text.layer_types.count("full_attention") == 5
    assert [text.per_layer_config[i].head_dim for i in (0, 5)] == [256, 512]
    assert [text.per_layer_config[i].num_key_value_heads for i in (0, 5)] == [8, 2]


def test_the_count_is_that_of_a_real_model_but_for_its_norms():
    model = random_model("26b-narrow", "cpu", "float32")
    counted = sum(each.numel() for name, each in model.named_parameters() if "vision" not in name)
    small = sum(each.numel() for name, each in model.named_parameters() if "vision" not in name and each.dim() == 1)
    assert counted - small == parameters(model.config)


def test_weights_are_in_the_format_and_rotary_frequencies_are_not():
    model = random_model("26b-narrow", "cpu", "bfloat16")
    assert next(model.parameters()).dtype == torch.bfloat16
    assert model.model.decoder.rotary_emb.full_attention_inv_freq.dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32


def test_a_model_that_does_not_fit_is_an_error_that_says_how_much_is_missing(monkeypatch):
    class Memory:
        available = 2**30

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    with pytest.raises(OutOfMemory, match=r"26b takes 47\.0 GiB in bfloat16; 1\.0 GiB is free on cpu"):
        random_model("26b", "cpu")


def as_usual(dtype):
    """A model built as the class builds it, without the detour over the meta device."""
    torch.set_default_dtype(dtype)
    try:
        return DiffusionGemmaForBlockDiffusion(config_of("26b-narrow")).eval()
    finally:
        torch.set_default_dtype(torch.float32)


def tied(model):
    """Return the groups of names that share one weight."""
    groups = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return sorted(groups.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_drawn_on_the_device_equals_one_built_by_the_class(dtype):
    theirs, ours = as_usual(dtype), random_model("26b-narrow", "cpu", str(dtype).removeprefix("torch."))
    assert tied(ours) == tied(theirs)
    mine = dict(ours.named_buffers())
    for name, buffer in theirs.named_buffers():
        assert mine.pop(name).dtype == buffer.dtype
        assert torch.equal(ours.get_buffer(name), buffer), name
    assert not mine
    for name, parameter in theirs.named_parameters():
        parameter, other = parameter.detach(), ours.get_parameter(name).detach()
        assert (other.shape, other.dtype, other.device) == (parameter.shape, parameter.dtype, parameter.device)
        if parameter.numel() >= 512:
            assert float(other.float().mean()) == pytest.approx(float(parameter.float().mean()), abs=0.01), name
            assert float(other.float().std()) == pytest.approx(float(parameter.float().std()), rel=0.2, abs=1e-9), name
    ours.load_state_dict(theirs.state_dict())
    tokens = torch.arange(40).view(1, -1)
    with torch.no_grad():
        found, wanted = (each(input_ids=tokens, decoder_input_ids=tokens[:, :32]).logits for each in (ours, theirs))
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("format", FORMATS)
def test_a_quantised_one_has_experts_like_those_of_the_class(format):
    model = random_model("26b-narrow", "cpu", "float32", format)
    layers = quantised_experts(model)
    assert len(layers) == 6
    assert all(
        layer.experts is mine for layer, mine in zip(model.model.encoder.language_model.layers, layers, strict=True)
    )
    for experts in layers:
        for name in ("gate_up_proj", "down_proj"):
            spread = dequantised(experts.weights(name)).std()
            assert float(spread) == pytest.approx(0.02, rel=0.1)
    tokens = torch.arange(40).view(1, -1)
    with torch.no_grad():
        assert model(input_ids=tokens, decoder_input_ids=tokens[:, :32]).logits.isfinite().all()


@pytest.mark.parametrize(("quantization", "most"), [("none", 64), ("int8", 32), ("fp8", 32), ("int4", 18)])
def test_the_large_shape_fits_the_documented_cards(quantization: Quantization, most: int):
    """GB of 10^9 bytes, scales included, with 5 % left for what a fill takes."""
    assert 1.05 * bytes_of(config_of("26b"), "bfloat16", quantization) < most * 1e9


def test_the_predicted_bytes_are_allocated():
    for quantization in get_args(Quantization):
        model = random_model("26b-narrow", "cpu", "bfloat16", quantization)
        held = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}
        named = {id(t): n for n, t in model.state_dict(keep_vars=True).items()}
        held = {
            i: t
            for i, t in held.items()
            if "vision" not in named[i] and (t.dim() > 1 or "experts" in named[i] or named[i].endswith(".scales"))
        }
        assert sum(tensor.nbytes for tensor in held.values()) == bytes_of(model.config, "bfloat16", quantization)

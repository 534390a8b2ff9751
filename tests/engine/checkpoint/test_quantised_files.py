"""Checkpoints that others have quantised: our codes are theirs, our weights what theirs stand for; nothing is passed over."""

from __future__ import annotations

import json
import shutil

import psutil
import pytest
import torch
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.entrypoints.convert import ModelOptNvfp4Converter
from compressed_tensors.quantization.lifecycle.forward import dequantize
from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
from safetensors.torch import load_file

from palimpsest_engine import CheckpointBroken, EngineSettings, OutOfMemory, UnsupportedCheckpoint
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.memory import needed
from palimpsest_engine.checkpoint.source import coarsest_in, layout_in, shapes_in, source_in
from palimpsest_engine.model.moe import MATRICES, QuantisedExperts, quantised_experts
from palimpsest_engine.model.quantize import FORMATS, dequantised, quantise

from ..quantised import (
    WEIGHTS,
    edit_config,
    edit_weights,
    plain_copy,
    write_auto_round,
    write_compressed,
    write_modelopt,
)

PRESETS = {"W8A8": "int8", "FP8_DYNAMIC": "fp8", "FP8": "fp8"}
MADE_OF = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}
DECODER = "model.decoder.layers"
QUERY = f"{DECODER}.0.self_attn.q_proj"
EXPERT = f"{DECODER}.1.experts.2.up_proj"


@pytest.fixture(scope="session", params=PRESETS)
def preset(request):
    return request.param


@pytest.fixture(scope="session")
def published(checkpoint_folder, preset, tmp_path_factory):
    return write_compressed(checkpoint_folder, tmp_path_factory.mktemp("published") / preset, preset)


@pytest.fixture(scope="session")
def int8_folder(checkpoint_folder, tmp_path_factory):
    return write_compressed(checkpoint_folder, tmp_path_factory.mktemp("published") / "int8", "W8A8")


@pytest.fixture
def folder(int8_folder, tmp_path):
    return shutil.copytree(int8_folder, tmp_path / "copy")


def settings_for(folder, **changes):
    return EngineSettings(str(folder), device="cpu", **{"dtype": "float32", **changes})


def stands_for(tensors, module):
    """The weights that a map of a file stands for, as the format's description says."""
    return tensors[f"{module}.weight"].float() * tensors[f"{module}.weight_scale"].float()


def class_weights(folder):
    """All tensors of a file by the class's names, brought back by nothing that is tested."""
    tensors = load_file(folder / WEIGHTS)
    maps = [name.removesuffix(".weight_scale") for name in tensors if name.endswith(".weight_scale")]
    found = {f"{module}.weight": stands_for(tensors, module) for module in maps if ".experts." not in module}
    for layer in range(4):
        for matrix, made_of in MADE_OF.items():
            rows = [
                torch.cat([stands_for(tensors, f"{DECODER}.{layer}.experts.{number}.{part}") for part in made_of])
                for number in range(4)
            ]
            found[f"{DECODER}.{layer}.experts.{matrix}"] = torch.stack(rows)
    rest = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[0] not in maps}
    return rest | found


def logits(model):
    model.set_attn_implementation("eager")  # with the engine's own the masks are the caller's
    tokens = torch.arange(1, 40).view(1, -1)
    with torch.inference_mode():
        return model(input_ids=tokens, decoder_input_ids=tokens[:, :24]).logits


def test_maps_of_eight_bits_go_over_as_they_are_where_they_are_kept_so(int8_folder):
    found = load(settings_for(int8_folder, quantization="int4-small")).model
    tensors = load_file(int8_folder / WEIGHTS)
    query = found.get_submodule(QUERY)
    assert torch.equal(query.codes, tensors[f"{QUERY}.weight"])
    assert torch.equal(query.scales, tensors[f"{QUERY}.weight_scale"].float().flatten())


def test_codes_and_scales_of_experts_go_over_as_they_are(published, preset):
    found = load(settings_for(published))
    assert found.quantization == PRESETS[preset]
    assert found.number_format == f"float32, experts in {PRESETS[preset]}"
    tensors = load_file(published / WEIGHTS)
    for layer, experts in enumerate(quantised_experts(found.model)):
        for matrix in MATRICES:
            for number in range(experts.num_experts):
                made = experts.weights(matrix, number)
                maps = [f"{DECODER}.{layer}.experts.{number}.{part}" for part in MADE_OF[matrix]]
                codes = torch.cat([tensors[f"{each}.weight"] for each in maps])
                rows = [tensors[f"{each}.weight"].shape[0] for each in maps]
                scales = [
                    tensors[f"{each}.weight_scale"].float().flatten().expand(n)
                    for each, n in zip(maps, rows, strict=True)
                ]
                assert made.codes.dtype == codes.dtype
                assert torch.equal(made.codes.view(torch.uint8), codes.view(torch.uint8))
                assert torch.equal(made.scales, torch.cat(scales))
    assert layer == 3


def test_every_tensor_is_what_the_file_stands_for_and_near_the_original(published, checkpoint):
    theirs, found = class_weights(published), load(settings_for(published)).model
    original = dict(checkpoint.model.state_dict())
    compared = set()
    for name, tensor in found.state_dict().items():
        if name in theirs:
            assert torch.equal(tensor, theirs[name].float()), name
            compared.add(name)
    for layer, experts in enumerate(quantised_experts(found)):
        for matrix in MATRICES:
            name = f"{DECODER}.{layer}.experts.{matrix}"
            assert torch.equal(dequantised(experts.weights(matrix)), theirs[name])
            compared.add(name)
    assert compared == {name for name in theirs if "vision" not in name}
    for name in compared:
        off = (theirs[name].float() - original[name]).norm() / original[name].norm()
        assert off < 0.05, name  # a hundredth in int8, three in fp8; another tensor would be off by more than 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_are_those_of_the_class_on_the_weights_that_the_file_stands_for(
    published, checkpoint_folder, tmp_path, dtype
):
    rounded = {name: tensor.to(getattr(torch, dtype)) for name, tensor in class_weights(published).items()}
    plain = plain_copy(checkpoint_folder, tmp_path / "plain", rounded)
    one = logits(load(settings_for(published, dtype=dtype)).model)
    other = logits(load(settings_for(plain, dtype=dtype)).model)
    torch.testing.assert_close(one, other, **({} if dtype == "float32" else {"rtol": 0.1, "atol": 0.1}))


@pytest.mark.parametrize("format", FORMATS)
def test_another_quantization_rounds_what_the_file_stands_for(published, preset, format):
    found = load(settings_for(published, quantization=format))
    assert found.quantization == format
    theirs = class_weights(published)
    for layer, experts in enumerate(quantised_experts(found.model)):
        for matrix in MATRICES:
            whole = theirs[f"{DECODER}.{layer}.experts.{matrix}"]
            if format == PRESETS[preset]:
                assert torch.equal(dequantised(experts.weights(matrix)), whole)
            else:
                assert torch.equal(
                    experts.weights(matrix).codes.view(torch.uint8), quantise(whole, format).codes.view(torch.uint8)
                )


def test_a_source_gives_quantised_maps_and_plain_tensors_as_the_file_has_them(published, preset):
    source, tensors = source_in(published), load_file(published / WEIGHTS)
    query = source.stored(f"{QUERY}.weight")
    assert query.format == PRESETS[preset]
    assert torch.equal(query.codes.float(), tensors[f"{QUERY}.weight"].float())
    assert source.stored(f"{DECODER}.0.router.proj.weight").format == "none"
    assert torch.equal(
        source.whole(f"{DECODER}.0.experts.down_proj")[3], source.part(f"{DECODER}.0.experts.down_proj", 3)
    )
    assert source.shape(f"{DECODER}.0.experts.gate_up_proj") == (4, 32, 32)


def test_only_the_first_layers_are_read_if_only_those_are_wanted(int8_folder):
    found = load(settings_for(int8_folder), layers=2).model
    assert len(quantised_experts(found)) == 2


def test_the_memory_needed_is_that_of_the_files_own_format(int8_folder, checkpoint_folder, monkeypatch):
    shapes, plain = shapes_in(int8_folder), shapes_in(checkpoint_folder)
    assert needed(shapes, "bfloat16", "none") == needed(plain, "bfloat16", "int8")
    assert needed(shapes, "bfloat16", "int4") == needed(plain, "bfloat16", "int4")

    class Little:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(OutOfMemory, match="in bfloat16 with its experts in int8"):
        load(settings_for(int8_folder, dtype="bfloat16"))


def test_quantised_files_are_refused_for_training(int8_folder):
    with pytest.raises(UnsupportedCheckpoint, match="choose weights that are not quantised"):
        load(settings_for(int8_folder), trainable=True)


def test_only_the_vision_tower_and_scales_of_inputs_and_of_the_cache_are_left_out(folder):
    def give(tensors):
        tensors[f"{QUERY}.input_scale"] = torch.ones(1)
        tensors[f"{DECODER}.0.self_attn.k_proj.k_scale"] = torch.ones(1)

    edit_weights(folder, give)
    layout = layout_in(folder)
    names = load_file(folder / WEIGHTS).keys()
    left_out = {name for name in layout.left_out if "vision" not in name}
    assert left_out == {f"{QUERY}.input_scale", f"{DECODER}.0.self_attn.k_proj.k_scale"}
    used = {each for found in layout.maps.values() for each in found.names.values()} | set(layout.plain)
    used |= {name for rows in layout.experts.values() for row in rows for each in row for name in each.names.values()}
    assert used | set(layout.left_out) == names
    assert not used & set(layout.left_out)
    load(settings_for(folder))


def renamed(old, new):
    def change(tensors):
        for name in [name for name in tensors if name.startswith(old)]:
            tensors[name.replace(old, new)] = tensors.pop(name)

    return change


def changed(name, make):
    def change(tensors):
        tensors[name] = make(tensors[name])

    return change


def without(name):
    return lambda tensors: tensors.pop(name)


def with_one(value):
    def make(tensor):
        tensor = tensor.clone()
        tensor.flatten()[1] = value
        return tensor

    return make


def zero(tensor):
    return torch.zeros_like(tensor)


def no_number(tensor):
    return torch.full_like(tensor.float(), torch.nan).to(tensor.dtype)


DAMAGE = {
    "an expert under another name": (
        renamed(f"{DECODER}.1.experts.3.", f"{DECODER}.1.expert.3."),
        "unexpected keys, first .*expert.3",
    ),
    "an expert with another number": (renamed(f"{DECODER}.1.experts.1.", f"{DECODER}.1.experts.7."), "missing"),
    "an expert with a number beyond all": (
        renamed(f"{DECODER}.1.experts.1.", f"{DECODER}.1.experts.999999."),
        "missing",
    ),
    "an expert with a number of many digits": (
        renamed(f"{DECODER}.1.experts.1.", f"{DECODER}.1.experts.{'9' * 30}."),
        "unexpected|missing",
    ),
    "a map of an expert under another name": (renamed(EXPERT, f"{EXPERT}x"), "missing keys, first .*experts.2.up_proj"),
    "the last expert missing": (
        lambda tensors: [tensors.pop(name) for name in list(tensors) if f"{DECODER}.1.experts.3." in name],
        "mismatched keys, first .*layers.1.experts",
    ),
    "all experts of a layer missing": (
        lambda tensors: [tensors.pop(name) for name in list(tensors) if f"{DECODER}.1.experts." in name],
        "missing keys, first .*layers.1.experts",
    ),
    "another program's names for experts": (
        renamed(f"{DECODER}.2.experts.", f"{DECODER}.2.moe.experts."),
        "unexpected",
    ),
    "the scale of an expert missing": (without(f"{EXPERT}.weight_scale"), "lack .*experts.2.up_proj.weight_scale"),
    "the scale of a map missing": (without(f"{QUERY}.weight_scale"), "lack .*q_proj.weight_scale"),
    "a scale without weights": (without(f"{QUERY}.weight"), "q_proj as weight_scale"),
    "a norm missing": (without("model.decoder.norm.weight"), "missing keys, first model.decoder.norm"),
    "a tensor too many": (
        lambda tensors: tensors.update({f"{QUERY}.weight_zero_point": torch.ones(1)}),
        "unexpected keys, first .*weight_zero_point",
    ),
    "the scale of inputs of nothing": (
        lambda tensors: tensors.update({"model.decoder.nothing.input_scale": torch.ones(1)}),
        "unexpected keys, first model.decoder.nothing",
    ),
    "codes of another shape": (changed(f"{QUERY}.weight", lambda each: each[:, :-1].contiguous()), "mismatched"),
    "codes of an expert of another shape": (
        changed(f"{EXPERT}.weight", lambda each: each[:, :-1].contiguous()),
        "different shapes",
    ),
    "codes transposed": (changed(f"{DECODER}.0.mlp.up_proj.weight", lambda each: each.T.contiguous()), "does not fit"),
    "scales of another shape": (changed(f"{QUERY}.weight_scale", lambda each: each[:-1].clone()), r"shape \[31, 1\]"),
    "scales for blocks": (
        changed(f"{QUERY}.weight_scale", lambda each: each.expand(-1, 2).clone()),
        r"shape \[32, 2\]",
    ),
    "a scale that is no number": (changed(f"{EXPERT}.weight_scale", with_one(torch.nan)), "not finite"),
    "an infinite scale": (changed(f"{QUERY}.weight_scale", with_one(torch.inf)), "not finite"),
    "a scale too large": (changed(f"{EXPERT}.weight_scale", with_one(3e38)), "makes weights that are not finite"),
    "a scale that is zero": (changed(f"{EXPERT}.weight_scale", with_one(0.0)), "zero for weights that are not"),
    "codes as floats with a scale": (changed(f"{QUERY}.weight", lambda each: each.bfloat16()), "does not explain"),
    "codes of another format": (
        changed(f"{QUERY}.weight", lambda each: each.float().to(torch.float8_e4m3fn)),
        "does not explain",
    ),
    "scales as whole numbers": (changed(f"{QUERY}.weight_scale", lambda each: each.int()), "does not belong to int8"),
    "whole numbers where nothing is quantised": (
        changed("model.decoder.norm.weight", lambda each: each.to(torch.int8)),
        "norm",
    ),
}


@pytest.mark.parametrize("quantization", ["none", "int4"])
@pytest.mark.parametrize(("change", "says"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_refused_in_a_sentence(folder, change, says, quantization):
    edit_weights(folder, change)
    with pytest.raises((CheckpointBroken, UnsupportedCheckpoint), match=says) as caught:
        load(settings_for(folder, quantization=quantization))
    assert "\n" not in str(caught.value)


def test_fp8_codes_that_are_no_numbers_are_refused(checkpoint_folder, tmp_path):
    folder = write_compressed(checkpoint_folder, tmp_path / "fp8", "FP8_DYNAMIC")
    edit_weights(folder, changed(f"{EXPERT}.weight", with_one(torch.nan)))
    with pytest.raises(CheckpointBroken, match=r"experts\.2\.up_proj\.weight in .* not finite"):
        load(settings_for(folder))


def test_experts_mixed_up_while_they_are_read_are_an_error(int8_folder, monkeypatch):
    take = QuantisedExperts.take
    monkeypatch.setattr(QuantisedExperts, "take", lambda self, name, index, made: take(self, name, 3 - index, made))
    with pytest.raises(CheckpointBroken, match="is not what was read"):
        load(settings_for(int8_folder))


def weights_of(**changes):
    return lambda found: found["config_groups"]["group_0"]["weights"].update(changes)


UNKNOWN = {
    "another method": (lambda found: found.update(quant_method="awq"), r"\(awq\)"),
    "a method that is no name": (lambda found: found.update(quant_method=["x"]), r'\["x"\]'),
    "a method with a line end": (lambda found: found.update(quant_method="a\nb"), r'"a\\nb"'),
    "bits in words": (weights_of(num_bits=["eight"]), "eight"),
    "no method": (lambda found: found.pop("quant_method"), r"\(unknown\)"),
    "another format": (lambda found: found.update(format="marlin-24"), "marlin-24"),
    "no format": (lambda found: found.pop("format"), "compressed-tensors, None"),
    "not symmetric": (weights_of(symmetric=False), "not symmetric"),
    "scales for groups": (weights_of(strategy="group", group_size=128), 'a scale for each "group"'),
    "scales for blocks": (weights_of(strategy="block"), 'a scale for each "block"'),
    "six bits": (weights_of(num_bits=6), "6 bits"),
    "a transform of weights": (lambda found: found.update(transform_config={"config_groups": {}}), "transform_config"),
    "sparse weights": (lambda found: found.update(sparsity_config={"format": "x"}), "sparsity_config"),
    "no groups": (lambda found: found.update(config_groups={}), "without config_groups"),
    "groups that are a list": (lambda found: found.update(config_groups=[1]), "without config_groups"),
    "a group that is nothing": (lambda found: found["config_groups"].update(group_0=None), "does not say how"),
}


@pytest.mark.parametrize(("change", "says"), UNKNOWN.values(), ids=UNKNOWN)
def test_another_format_is_refused_with_its_name_and_with_those_that_load(folder, change, says):
    edit_config(folder, change)
    with pytest.raises(UnsupportedCheckpoint, match=says) as caught:
        load(settings_for(folder))
    assert "It loads compressed-tensors with INT8 or FP8" in str(caught.value)
    assert "\n" not in str(caught.value)


WRITERS = {
    "nvfp4": lambda base, folder: write_compressed(base, folder, "NVFP4"),
    "modelopt": write_modelopt,
    "auto-round": write_auto_round,
}


@pytest.fixture(scope="session", params=WRITERS)
def in_four_bits(request, checkpoint_folder, tmp_path_factory):
    return request.param, WRITERS[request.param](checkpoint_folder, tmp_path_factory.mktemp("four") / request.param)


def by_the_library(folder):
    """The weights of the maps of a file with NVFP4, as the library that describes the format brings them back."""
    tensors = load_file(folder / WEIGHTS)
    if "modelopt" in folder.name:
        tensors = ModelOptNvfp4Converter(targets=["re:.*"]).process(tensors)
    scheme, found = preset_name_to_scheme("NVFP4", ["Linear"]), {}
    for module in [name.removesuffix(".weight_packed") for name in tensors if name.endswith(".weight_packed")]:
        parts = {part: tensors[f"{module}.{part}"] for part in ("weight_packed", "weight_scale", "weight_global_scale")}
        packed = parts.pop("weight_packed")
        codes = unpack_fp4_from_uint8(packed, packed.shape[0], packed.shape[1] * 2, dtype=torch.float32)
        scale, whole = parts["weight_scale"].float(), parts["weight_global_scale"]
        found[module] = dequantize(codes, scale, args=scheme.weights, global_scale=whole, dtype=torch.float32)
    return found


def by_the_description(folder):
    """The weights of the maps of a file with GPTQ's words, one by one."""
    tensors, found = load_file(folder / WEIGHTS), {}
    for module in [name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")]:
        words, scales = tensors[f"{module}.qweight"].tolist(), tensors[f"{module}.scales"].float()
        inputs = [[(word >> shift) & 15 for word in row] for row in words for shift in range(0, 32, 4)]
        levels = torch.tensor(inputs) - 8.0  # [inputs, outputs]
        found[module] = (levels * scales.repeat_interleave(64, 0)[: len(levels)]).T
    return found


def test_four_bits_are_brought_back_as_their_format_says_and_near_the_original(in_four_bits, checkpoint):
    name, folder = in_four_bits
    maps = by_the_description(folder) if name == "auto-round" else by_the_library(folder)
    source, original = source_in(folder), dict(checkpoint.model.state_dict())
    for module, weights in maps.items():
        if ".experts." not in module:
            torch.testing.assert_close(source.whole(f"{module}.weight"), weights, rtol=1e-6, atol=1e-9)
    for layer in range(4):
        for matrix, made_of in MADE_OF.items():
            whole = f"{DECODER}.{layer}.experts.{matrix}"
            for number in range(4):
                theirs = torch.cat([maps[f"{DECODER}.{layer}.experts.{number}.{part}"] for part in made_of])
                ours = source.part(whole, number)
                torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
                assert (ours - original[whole][number]).norm() < 0.2 * original[whole][number].norm()


def test_a_model_of_four_bits_is_the_class_on_the_weights_that_they_stand_for(
    in_four_bits, checkpoint_folder, tmp_path
):
    _, folder = in_four_bits
    source = source_in(folder)
    weights = {name: source.whole(name) for name in source.names if "vision" not in name}
    vision = {name: each for name, each in load_file(checkpoint_folder / WEIGHTS).items() if "vision" in name}
    plain = plain_copy(checkpoint_folder, tmp_path / "plain", weights | vision)
    found = load(settings_for(folder))
    assert found.quantization == "none"
    torch.testing.assert_close(logits(found.model), logits(load(settings_for(plain)).model))
    one, other = (load(settings_for(each, quantization="int4")).model for each in (folder, plain))
    torch.testing.assert_close(logits(one), logits(other))


def test_the_memory_needed_for_a_format_that_is_not_ours_is_that_of_what_it_becomes(in_four_bits, checkpoint_folder):
    shapes, plain = (shapes_in(each) for each in (in_four_bits[1], checkpoint_folder))
    for quantization in ("none", *FORMATS):
        assert needed(shapes, "bfloat16", quantization) == needed(plain, "bfloat16", quantization)


FP4_EXPERT = f"{DECODER}.1.experts.2.up_proj"
FOUR_DAMAGE = {
    "a scale of nvfp4 missing": ("nvfp4", without(f"{FP4_EXPERT}.weight_scale"), "lack .*weight_scale"),
    "the whole scale of nvfp4 missing": ("nvfp4", without(f"{FP4_EXPERT}.weight_global_scale"), "lack .*global_scale"),
    "the whole scale of nvfp4 zero": (
        "nvfp4",
        changed(f"{FP4_EXPERT}.weight_global_scale", zero),
        "not finite, or zero",
    ),
    "the whole scale of modelopt zero": ("modelopt", changed(f"{FP4_EXPERT}.weight_scale_2", zero), "all zero"),
    "the whole scale of modelopt no number": (
        "modelopt",
        changed(f"{FP4_EXPERT}.weight_scale_2", no_number),
        "not finite",
    ),
    "all scales of modelopt zero": ("modelopt", changed(f"{FP4_EXPERT}.weight_scale", zero), "all zero"),
    "a scale of nvfp4 no number": ("nvfp4", changed(f"{FP4_EXPERT}.weight_scale", no_number), "not finite"),
    "scales of nvfp4 of another shape": (
        "nvfp4",
        changed(f"{FP4_EXPERT}.weight_scale", lambda each: each[:, :1].contiguous()),
        r"shape \[16, 1\]",
    ),
    "codes of nvfp4 of another shape": (
        "nvfp4",
        changed(f"{FP4_EXPERT}.weight_packed", lambda each: each[:, :-1].contiguous()),
        r"codes of the shape \[16, 15\]",
    ),
    "the names of the other program": (
        "nvfp4",
        renamed(f"{FP4_EXPERT}.weight_packed", f"{FP4_EXPERT}.weight"),
        "explain",
    ),
    "an expert of modelopt renamed": ("modelopt", renamed(FP4_EXPERT, f"{FP4_EXPERT}s"), "missing keys"),
    "zero points of gptq missing": ("auto-round", without(f"{FP4_EXPERT}.qzeros"), "lack .*qzeros"),
    "zero points of gptq that are others": (
        "auto-round",
        changed(f"{FP4_EXPERT}.qzeros", lambda each: each + 1),
        "not that of symmetric",
    ),
    "scales of gptq for other groups": (
        "auto-round",
        changed(f"{FP4_EXPERT}.scales", lambda each: each.repeat(2, 1)),
        r"shape \[2, 16\]",
    ),
    "a scale of gptq no number": ("auto-round", changed(f"{FP4_EXPERT}.scales", no_number), "not finite"),
    "the order of inputs of gptq": (
        "auto-round",
        lambda tensors: tensors.update({f"{FP4_EXPERT}.g_idx": torch.zeros(32, dtype=torch.int32)}),
        "does not explain",
    ),
}


@pytest.mark.parametrize(("writer", "change", "says"), FOUR_DAMAGE.values(), ids=FOUR_DAMAGE)
def test_damage_to_four_bits_is_refused_in_a_sentence(checkpoint_folder, tmp_path, writer, change, says):
    folder = WRITERS[writer](checkpoint_folder, tmp_path / writer)
    edit_weights(folder, change)
    with pytest.raises((CheckpointBroken, UnsupportedCheckpoint), match=says) as caught:
        load(settings_for(folder))
    assert "\n" not in str(caught.value)


OTHERS = {
    "another algorithm": ("modelopt", lambda found: found.update(quant_algo="W4A8_AWQ"), "W4A8_AWQ"),
    "mixed algorithms": ("modelopt", lambda found: found.update(quant_algo="MIXED_PRECISION"), "MIXED_PRECISION"),
    "other groups of nvfp4": ("modelopt", lambda found: found.update(group_size=32), "NVFP4"),
    "groups of nvfp4 of compressed-tensors": ("nvfp4", weights_of(group_size=32), "4 bits"),
    "another packing": ("auto-round", lambda found: found.update(packing_format="auto_round:auto_awq"), "auto_awq"),
    "two bits": ("auto-round", lambda found: found.update(bits=2), "2 bits"),
    "zero points": ("auto-round", lambda found: found.update(sym=False), "not symmetric"),
    "no groups": ("auto-round", lambda found: found.update(group_size=-1), "groups of -1"),
    "a module of other bits": (
        "auto-round",
        lambda found: found.update(extra_config={"x": {"bits": 8}}),
        '"x" otherwise',
    ),
    "a module of bits in words": (
        "auto-round",
        lambda found: found.update(extra_config={"x": {"bits": "many"}}),
        '"x" otherwise',
    ),
    "modules in a list": ("auto-round", lambda found: found.update(extra_config=["x"]), "otherwise"),
}


@pytest.mark.parametrize(("writer", "change", "says"), OTHERS.values(), ids=OTHERS)
def test_another_way_of_four_bits_is_refused_with_its_name(checkpoint_folder, tmp_path, writer, change, says):
    folder = WRITERS[writer](checkpoint_folder, tmp_path / writer)
    edit_config(folder, change)
    with pytest.raises(UnsupportedCheckpoint, match=says):
        load(settings_for(folder))


def twice(tensors):
    """Give the encoder a rounding of its own of every quantised map, as programs do that do not know that there is one."""
    for name in [name for name in tensors if ".decoder.layers." in name]:
        tensors[name.replace(".decoder.", ".encoder.language_model.")] = tensors[name].clone()
    for name, tensor in tensors.items():
        if ".encoder.language_model." in name and tensor.dtype in (torch.int8, torch.int32):
            tensors[name] = tensor.flip(0)


@pytest.mark.parametrize("writer", [lambda base, folder: write_compressed(base, folder, "W8A8"), write_auto_round])
def test_a_second_rounding_for_the_encoder_is_left_out(checkpoint_folder, tmp_path, writer):
    folder = writer(checkpoint_folder, tmp_path / "copy")
    before = logits(load(settings_for(folder)).model)
    scalars = {name: tensor for name, tensor in load_file(folder / WEIGHTS).items() if "layer_scalar" in name}
    edit_weights(folder, lambda tensors: (twice(tensors), tensors.update(scalars)))
    assert torch.equal(logits(load(settings_for(folder)).model), before)
    left_out = [name for name in layout_in(folder).left_out if "language_model" in name]
    assert left_out
    assert all("norm" not in name and "router" not in name for name in left_out)
    other = next(name for name in left_out if name.endswith(("weight", "qweight")))
    edit_weights(folder, changed(other, lambda each: each[:, :-8].contiguous()))
    with pytest.raises(CheckpointBroken):
        load(settings_for(folder))


@pytest.mark.parametrize(
    "found", ["modelopt", ["compressed-tensors"], 8, {"quant_method": "modelopt"}, {"quant_method": None}]
)
def test_a_config_of_another_kind_is_refused_in_a_sentence(folder, found):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"quantization_config": found}), "utf-8")
    with pytest.raises(UnsupportedCheckpoint, match="which this version does not load") as caught:
        load(settings_for(folder))
    assert "\n" not in str(caught.value)


def test_quantised_weights_that_the_config_does_not_name_are_refused(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    del config["quantization_config"]
    path.write_text(json.dumps(config), "utf-8")
    with pytest.raises(UnsupportedCheckpoint, match='as "I8"'):
        load(settings_for(folder))


def test_the_coarsest_format_of_the_files_is_known(in_four_bits, int8_folder, checkpoint_folder):
    found = [coarsest_in(each) for each in (checkpoint_folder, int8_folder, in_four_bits[1])]
    assert found == ["none", "int8", "int4"]

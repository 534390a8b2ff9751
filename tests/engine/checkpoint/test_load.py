"""Each fault of a checkpoint has its own error, in one sentence; a good checkpoint loads."""

from __future__ import annotations

import json
import pickle
import shutil

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import DiffusionGemmaForBlockDiffusion

from palimpsest_engine import (
    CheckpointBroken,
    CheckpointMissing,
    DeviceUnsupported,
    EngineSettings,
    OutOfMemory,
    UnsupportedCheckpoint,
)
from palimpsest_engine.checkpoint import shape_26b
from palimpsest_engine.checkpoint.header import for_pictures, is_map
from palimpsest_engine.checkpoint.load import load, read_onto
from palimpsest_engine.checkpoint.memory import check_memory, needed, that_fit
from palimpsest_engine.checkpoint.weights import Files
from palimpsest_engine.model.moe import MATRICES, QuantisedExperts, quantised_experts
from palimpsest_engine.model.quantised_linear import QuantisedLinear
from palimpsest_engine.model.quantize import EXPERTS, FORMATS, MAPS, dequantised, quantise


@pytest.fixture
def folder(checkpoint_folder, tmp_path):
    return shutil.copytree(checkpoint_folder, tmp_path / "copy")


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def appended(folder):
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"x")


def header_damaged(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[8:40] = b"?" * 32
    path.write_bytes(bytes(data))


def emptied(folder):
    (folder / "model.safetensors").write_bytes(b"")


def tampered(folder):
    edit_json(folder / "palimpsest.json", sha256={"model.safetensors": "0" * 64})


def tensor_missing(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(next(name for name in sorted(tensors) if "q_proj" in name))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def tensor_of_another_shape(folder):
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(tensors) if "q_proj" in name)
    tensors[name] = tensors[name][:-2].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def tensor_too_many(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {**tensors, "model.decoder.surprise": torch.ones(2)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def experts_missing(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(next(name for name in sorted(tensors) if "down_proj" in name and "experts" in name))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def experts_transposed(folder):
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(tensors) if "down_proj" in name and "experts" in name)
    tensors[name] = tensors[name].transpose(1, 2).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def weights_gone(folder):
    (folder / "model.safetensors").unlink()


def shard_gone(folder):
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def pickle_beside(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": 1}))


def pickle_in_its_place(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps({"a": list(range(1000))}))


def torch_save_in_its_place(folder):
    torch.save({"a": torch.ones(9)}, folder / "model.safetensors")


def config_gone(folder):
    (folder / "config.json").unlink()


def config_garbled(folder):
    (folder / "config.json").write_text("{")


def other_architecture(folder):
    edit_json(folder / "config.json", model_type="gpt_neox", architectures=["GPTNeoXForCausalLM"])


def own_code(folder):
    edit_json(folder / "config.json", auto_map={"AutoModel": "evil.Model"})


def kernels(folder):
    edit_json(folder / "config.json", text_config={"attn_implementation": "somebody/kernels"})


def a_list_of_kinds(folder):
    edit_json(folder / "config.json", model_type=["llama"], architectures=["X"])


def quantised(folder):
    edit_json(folder / "config.json", quantization_config={"quant_method": "nvfp4"})


def tokenizer_gone(folder):
    (folder / "tokenizer.json").unlink()


def tokenizer_garbled(folder):
    (folder / "tokenizer.json").write_text("[]")


def description_from_the_future(folder):
    edit_json(folder / "palimpsest.json", wings=2)


def steps_without_end(folder):
    edit_json(folder / "palimpsest.json", sampling={"max_steps": 10**9, "stability": 10**9})


def an_id_beyond_the_vocabulary(folder):
    edit_json(folder / "palimpsest.json", filler=1_000_000)


def a_list_of_digests(folder):
    edit_json(folder / "palimpsest.json", sha256=["0" * 64])


DAMAGE = [
    (truncated, CheckpointBroken, "truncated"),
    (appended, CheckpointBroken, "added to"),
    (header_damaged, CheckpointBroken, "damaged"),
    (emptied, CheckpointBroken, "truncated"),
    (tampered, CheckpointBroken, "SHA-256"),
    (tensor_missing, CheckpointBroken, "missing"),
    (tensor_of_another_shape, CheckpointBroken, "do not fit|cannot be loaded"),
    (tensor_too_many, CheckpointBroken, "unexpected"),
    (experts_missing, CheckpointBroken, "missing|cannot be loaded"),
    (experts_transposed, CheckpointBroken, "do not fit|cannot be loaded"),
    (weights_gone, CheckpointMissing, "no weights"),
    (shard_gone, CheckpointBroken, "lacks 1 of its 1"),
    (pickle_beside, UnsupportedCheckpoint, "pickle"),
    (pickle_in_its_place, UnsupportedCheckpoint, "pickle"),
    (torch_save_in_its_place, UnsupportedCheckpoint, "pickle"),
    (config_gone, CheckpointBroken, "lacks config.json"),
    (config_garbled, CheckpointBroken, "not valid JSON"),
    (other_architecture, UnsupportedCheckpoint, "gpt_neox"),
    (own_code, UnsupportedCheckpoint, "never done"),
    (kernels, UnsupportedCheckpoint, r"attn_implementation\); that is never done"),
    (a_list_of_kinds, UnsupportedCheckpoint, "this engine runs"),
    (quantised, UnsupportedCheckpoint, r"nvfp4.*with the setting quantization \(int8, fp8 or int4\)"),
    (tokenizer_gone, CheckpointBroken, "lacks tokenizer.json"),
    (tokenizer_garbled, CheckpointBroken, "cannot be loaded"),
    (description_from_the_future, CheckpointBroken, "wings"),
    (steps_without_end, CheckpointBroken, "max_steps: 1000000000 has to be a whole number from 1 to 8,192"),
    (an_id_beyond_the_vocabulary, CheckpointBroken, "has 1000000 for filler, and the model has"),
    (a_list_of_digests, CheckpointBroken, "sha256: .* has to be an object"),
]


@pytest.mark.parametrize("quantization", ["none", "int8"])
@pytest.mark.parametrize(("damage", "error", "says"), DAMAGE, ids=[row[0].__name__ for row in DAMAGE])
def test_a_damaged_checkpoint_is_refused_in_a_sentence(folder, damage, error, says, quantization):
    damage(folder)
    with pytest.raises(error, match=says) as caught:
        load(EngineSettings(str(folder), device="cpu", dtype="float32", quantization=quantization))
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message


@pytest.mark.parametrize("name", ["/no/such/folder", "nobody/has-this-model", "word", "./x/y"])
def test_an_unknown_checkpoint_is_named(name):
    with pytest.raises(CheckpointMissing, match=name.rsplit("/", maxsplit=1)[-1]):
        load(EngineSettings(name))


def test_a_file_is_refused_as_a_checkpoint(folder):
    with pytest.raises(CheckpointMissing, match="is a file"):
        load(EngineSettings(str(folder / "config.json")))


def test_too_little_memory_says_what_is_needed_and_what_is_free(folder, monkeypatch):
    class Little:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(OutOfMemory, match=r"needs .* is free"):
        load(EngineSettings(str(folder), device="cpu"))


def test_a_missing_device_is_named(folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(DeviceUnsupported, match="cuda"):
        load(EngineSettings(str(folder), device="cuda"))


def test_a_good_checkpoint_loads_with_its_rotary_frequencies_in_float32(folder):
    loaded = load(EngineSettings(str(folder), device="cpu", dtype="bfloat16"))
    assert loaded.spec.name == "tiny"
    assert loaded.model.lm_head.weight.dtype == torch.bfloat16
    assert loaded.model.model.decoder.rotary_emb.full_attention_inv_freq.dtype == torch.float32


def same(one, other):
    return one.dtype == other.dtype and torch.equal(
        *(each.detach().flatten().view(torch.uint8) for each in (one, other))
    )


@pytest.mark.parametrize("format", FORMATS)
def test_quantising_changes_only_the_experts_and_as_the_format_says(checkpoint_folder, checkpoint, format):
    found = load(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", quantization=format)).model
    theirs = dict(checkpoint.model.state_dict())
    for name, tensor in found.state_dict().items():
        if not name.endswith(("_codes", "_scales")):
            assert same(tensor, theirs[name]), name
    for name, buffer in checkpoint.model.named_buffers():
        assert same(found.get_buffer(name), buffer), name
    for index, experts in enumerate(quantised_experts(found)):
        for matrix in MATRICES:
            wanted = quantise(theirs[f"model.decoder.layers.{index}.experts.{matrix}"], format)
            assert same(experts.weights(matrix).codes, wanted.codes)
            assert same(experts.weights(matrix).scales, wanted.scales)
    assert index == 3
    assert found.generation_config.to_diff_dict() == checkpoint.model.generation_config.to_diff_dict()
    assert found.model.encoder.language_model.layers[1].experts is found.model.decoder.layers[1].experts
    assert not any(parameter.is_meta for parameter in found.parameters())


@pytest.mark.parametrize("quantization", EXPERTS)
def test_a_quantised_model_equals_the_class_on_dequantised_weights(checkpoint_folder, folder, quantization):
    settings = EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", quantization=quantization)
    found = load(settings).model
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        if name.endswith(MATRICES):
            tensors[name] = dequantised(quantise(tensors[name], EXPERTS[quantization])).contiguous()
        elif is_map(name) and quantization in MAPS:
            tensors[name] = dequantised(quantise(tensors[name], MAPS[quantization])).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    wanted = load(EngineSettings(str(folder), device="cpu", dtype="float32")).model
    tokens = torch.arange(1, 40).view(1, -1)
    with torch.inference_mode():
        one, other = (each(input_ids=tokens, decoder_input_ids=tokens[:, :24]).logits for each in (found, wanted))
    torch.testing.assert_close(one, other)


def test_quantising_never_holds_a_layers_experts_whole(checkpoint_folder, monkeypatch):
    asked = []
    whole, part = Files.whole, Files.part
    monkeypatch.setattr(Files, "whole", lambda self, name: asked.append(name) or whole(self, name))
    monkeypatch.setattr(Files, "part", lambda self, name, index: asked.append((name, index)) or part(self, name, index))
    load(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", quantization="int4"))
    assert not any("experts" in name for name in asked if isinstance(name, str))
    parts = [name for name in asked if not isinstance(name, str)]
    assert len(set(parts)) == 4 * 2 * 4  # layers, matrices, experts
    assert len(parts) == len(set(parts)) + 4 * 2  # each layer's are looked at once more


@pytest.mark.parametrize("format", FORMATS)
def test_experts_that_differ_from_the_file_are_an_error(checkpoint_folder, monkeypatch, format):
    put = QuantisedExperts.put
    monkeypatch.setattr(
        QuantisedExperts, "put", lambda self, name, index, weight: put(self, name, index, weight.flip(0))
    )
    with pytest.raises(CheckpointBroken, match=r"Expert \d of .*experts.* is not what was read"):
        load(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", quantization=format))


def test_maps_that_differ_from_the_file_are_an_error(checkpoint_folder, monkeypatch):
    put = QuantisedLinear.put
    monkeypatch.setattr(QuantisedLinear, "put", lambda self, weight: put(self, weight.flip(0)))
    with pytest.raises(CheckpointBroken, match=r"_proj\.weight in .* is not what was read"):
        load(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", quantization="int4-small"))


def test_maps_in_eight_bits_are_one_module_for_both_stacks(checkpoint_folder):
    settings = EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", quantization="int4-small")
    model = load(settings).model
    for writer, reader in zip(model.model.encoder.language_model.layers, model.model.decoder.layers, strict=True):
        for path in ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"):
            assert reader.get_submodule(path) is writer.get_submodule(path)
            assert reader.get_submodule(path).format == "int8"
    assert not isinstance(model.model.decoder.layers[0].router.proj, QuantisedLinear)
    assert model.lm_head.weight is model.model.decoder.embed_tokens.weight


def test_an_adapter_is_refused_where_its_weights_are_quantised(checkpoint_folder, monkeypatch):
    monkeypatch.setattr("palimpsest_engine.checkpoint.load.read_adapter", lambda *args: object())
    settings = EngineSettings(str(checkpoint_folder), device="cpu", adapter="/a", quantization="int4-small")
    with pytest.raises(UnsupportedCheckpoint, match="set quantization to int4"):
        load(settings)


def test_experts_in_another_order_are_an_error(checkpoint_folder, monkeypatch):
    put = QuantisedExperts.put
    monkeypatch.setattr(QuantisedExperts, "put", lambda self, name, index, weight: put(self, name, 3 - index, weight))
    with pytest.raises(CheckpointBroken, match="is not what was read"):
        load(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", quantization="int4"))


def test_a_tied_weight_may_be_there_twice_if_it_is_the_same(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.decoder.embed_tokens.weight"].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    settings = EngineSettings(str(folder), device="cpu", dtype="float32", quantization="int8")
    assert same(load(settings).model.lm_head.weight.detach(), tensors["lm_head.weight"])
    tensors["lm_head.weight"][5, 5] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointBroken, match="differ in"):
        load(settings)


def test_experts_that_are_not_numbers_are_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors[next(name for name in tensors if name.endswith("experts.down_proj"))][2, 1, 1] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointBroken, match=r"experts.down_proj in .* not finite"):
        load(EngineSettings(str(folder), device="cpu", dtype="float32", quantization="fp8"))


def test_a_quantised_model_is_refused_for_training(folder):
    with pytest.raises(UnsupportedCheckpoint, match="set quantization to none"):
        load(EngineSettings(str(folder), device="cpu", quantization="int8"), trainable=True)


SHAPES_26B = shape_26b.shapes()
CARDS = [(64, "none"), (32, "int8"), (24, "int4-fine"), (18, "int4"), (16.2, "int4-small"), (12, None)]


@pytest.mark.parametrize(("gigabytes", "first"), CARDS)
def test_too_little_memory_says_which_format_would_fit(monkeypatch, gigabytes, first):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (gigabytes * 10**9, gigabytes * 10**9))

    class Main:
        available = 10**12

    monkeypatch.setattr(psutil, "virtual_memory", Main)
    assert next(iter(that_fit(SHAPES_26B, "cuda", "bfloat16")), None) == first
    if first == "none":
        check_memory(SHAPES_26B, "cuda", "bfloat16")
        return
    advice = rf"set quantization \({first} would need \d\d\.\d GiB" if first else "choose another device"
    with pytest.raises(
        OutOfMemory, match=rf"needs \d\d\.\d GiB in bfloat16 and \d\d\.\d GiB on cuda is free; .*{advice}"
    ):
        check_memory(SHAPES_26B, "cuda", "bfloat16")


@pytest.mark.parametrize("quantization", ["none", "int4"])
def test_on_the_way_to_a_gpu_nothing_is_in_main_memory_whole(monkeypatch, quantization):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**12, 10**12))

    class Main:
        available = 10**9

    monkeypatch.setattr(psutil, "virtual_memory", Main)
    check_memory(SHAPES_26B, "cuda", "bfloat16", quantization)
    with pytest.raises(OutOfMemory, match="of main memory is free"):
        check_memory(SHAPES_26B, "cpu", "bfloat16", quantization)


def test_the_one_expert_of_the_embedded_checkpoint_can_be_quantised_too():
    exact = load(EngineSettings(device="cpu", dtype="float32"))
    tokens = torch.arange(10, 50).view(1, -1)
    off = {}
    for format in FORMATS:
        found = load(EngineSettings(device="cpu", dtype="float32", quantization=format))
        assert len(quantised_experts(found.model)) == 6
        assert found.number_format == f"float32, experts in {format}"
        with torch.inference_mode():
            one, other = (
                each.model(input_ids=tokens, decoder_input_ids=tokens).logits.log_softmax(-1) for each in (exact, found)
            )
        off[format] = float((one - other).norm() / one.norm())
    assert 0 < off["int8"] < off["fp8"] < off["int4-fine"] < off["int4"] < 0.05


@pytest.mark.parametrize("quantization", ["none", "int8"])
def test_tensors_for_pictures_are_not_kept_and_take_no_room(folder, quantization):
    found = load(EngineSettings(str(folder), device="cpu", dtype="float32", quantization=quantization)).model
    names = set(load_file(folder / "model.safetensors"))
    assert any("vision_tower" in name for name in names)
    assert any("embed_vision" in name for name in names)
    assert not [name for name in found.state_dict() if "vision" in name]
    text = {"lm_head.weight": (97, 32)}
    more = text | {"model.encoder.vision_tower.a": (4, 4), "model.encoder.embed_vision.b": (4, 4)}
    assert needed(more, "float32", quantization) == needed(text, "float32", quantization)


def test_a_model_read_straight_onto_a_device_is_the_same(checkpoint_folder):
    """As a model gets onto a GPU; here the device is the CPU."""
    found = read_onto("cpu", checkpoint_folder, "float32", "none")
    theirs = DiffusionGemmaForBlockDiffusion.from_pretrained(checkpoint_folder, dtype=torch.float32).eval()
    ours, expected = dict(found.named_parameters()), dict(theirs.named_parameters())
    assert ours.keys() == {name for name in expected if not for_pictures(name)}
    assert all(torch.equal(ours[name], expected[name]) for name in ours)
    buffers = dict(theirs.named_buffers())
    assert all(torch.equal(each, buffers[name]) for name, each in found.named_buffers())
    ids = torch.arange(5, 25)[None]
    canvas = torch.arange(30, 40)[None]
    with torch.no_grad():
        assert torch.equal(
            found(input_ids=ids, decoder_input_ids=canvas).logits,
            theirs(input_ids=ids, decoder_input_ids=canvas).logits,
        )
    assert found.generation_config.to_diff_dict() == theirs.generation_config.to_diff_dict()

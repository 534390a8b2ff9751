"""What can be wrong with a checkpoint, each said in one sentence with its own error; and that a good one loads."""

from __future__ import annotations

import json
import pickle
import shutil

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from palimpsest_engine import (
    CheckpointBroken,
    CheckpointMissing,
    EngineSettings,
    OutOfMemory,
    UnsupportedCheckpoint,
)
from palimpsest_engine.checkpoint import load


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
    edit_json(folder / "config.json", model_type="llama", architectures=["LlamaForCausalLM"])


def own_code(folder):
    edit_json(folder / "config.json", auto_map={"AutoModel": "evil.Model"})


def quantised(folder):
    edit_json(folder / "config.json", quantization_config={"quant_method": "nvfp4"})


def tokenizer_gone(folder):
    (folder / "tokenizer.json").unlink()


def tokenizer_garbled(folder):
    (folder / "tokenizer.json").write_text("[]")


def description_from_the_future(folder):
    edit_json(folder / "palimpsest.json", wings=2)


DAMAGE = [
    (truncated, CheckpointBroken, "truncated"),
    (appended, CheckpointBroken, "added to"),
    (header_damaged, CheckpointBroken, "damaged"),
    (emptied, CheckpointBroken, "truncated"),
    (tampered, CheckpointBroken, "SHA-256"),
    (tensor_missing, CheckpointBroken, "missing"),
    (tensor_of_another_shape, CheckpointBroken, "do not fit|cannot be loaded"),
    (tensor_too_many, CheckpointBroken, "unexpected"),
    (weights_gone, CheckpointMissing, "no weights"),
    (shard_gone, CheckpointBroken, "lacks 1 of its 1"),
    (pickle_beside, UnsupportedCheckpoint, "pickle"),
    (pickle_in_its_place, UnsupportedCheckpoint, "pickle"),
    (torch_save_in_its_place, UnsupportedCheckpoint, "pickle"),
    (config_gone, CheckpointBroken, "lacks config.json"),
    (config_garbled, CheckpointBroken, "not valid JSON"),
    (other_architecture, UnsupportedCheckpoint, "llama"),
    (own_code, UnsupportedCheckpoint, "never done"),
    (quantised, UnsupportedCheckpoint, "nvfp4"),
    (tokenizer_gone, CheckpointBroken, "lacks tokenizer.json"),
    (tokenizer_garbled, CheckpointBroken, "cannot be loaded"),
    (description_from_the_future, CheckpointBroken, "wings"),
]


@pytest.mark.parametrize(("damage", "error", "says"), DAMAGE, ids=[row[0].__name__ for row in DAMAGE])
def test_a_damaged_checkpoint_is_refused_in_a_sentence(folder, damage, error, says):
    damage(folder)
    with pytest.raises(error, match=says) as caught:
        load(EngineSettings(str(folder), device="cpu", dtype="float32"))
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message


@pytest.mark.parametrize("name", ["/no/such/folder", "nobody/has-this-model", "word", "./x/y"])
def test_an_unknown_checkpoint_is_named(name):
    with pytest.raises(CheckpointMissing, match=name.rsplit("/", maxsplit=1)[-1]):
        load(EngineSettings(name))


def test_a_file_is_no_checkpoint(folder):
    with pytest.raises(CheckpointMissing, match="is a file"):
        load(EngineSettings(str(folder / "config.json")))


def test_too_little_memory_says_what_is_needed_and_what_is_free(folder, monkeypatch):
    class Little:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(OutOfMemory, match=r"needs .* is free"):
        load(EngineSettings(str(folder), device="cpu"))


def test_a_device_that_is_not_there(folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    with pytest.raises(UnsupportedCheckpoint, match="cuda"):
        load(EngineSettings(str(folder), device="cuda"))


def test_a_good_one_loads_with_its_rotary_frequencies_in_float32(folder):
    loaded = load(EngineSettings(str(folder), device="cpu", dtype="bfloat16"))
    assert loaded.spec.name == "tiny"
    assert loaded.model.lm_head.weight.dtype == torch.bfloat16
    assert loaded.model.model.decoder.rotary_emb.full_attention_inv_freq.dtype == torch.float32

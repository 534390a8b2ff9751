"""Quantised weights are kept, and a later start reads them and nothing else."""

from __future__ import annotations

import logging
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint import kept, quantised_copy
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.locate import weight_files
from palimpsest_engine.checkpoint.weights import Files
from palimpsest_engine.model.quantize import EXPERTS
from palimpsest_engine.runtime.doctor import check_room

TOKENS = torch.arange(1, 40).view(1, -1)


@pytest.fixture
def source(checkpoint_folder, tmp_path, monkeypatch):
    """A checkpoint of the user's own, and a store of models that is empty."""
    monkeypatch.setenv("PALIMPSEST_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(quantised_copy, "WORTH", 1000)
    monkeypatch.setattr(quantised_copy, "SAVING", 2.0)
    return shutil.copytree(checkpoint_folder, tmp_path / "checkpoint")


@pytest.fixture
def opened(monkeypatch):
    """The folders from which weights are read."""
    found = []
    start = Files.__init__

    def watched(self, folder, *args):
        found.append(folder)
        start(self, folder, *args)

    monkeypatch.setattr(Files, "__init__", watched)
    return found


def loaded(source, quantization, dtype="bfloat16"):
    return load(EngineSettings(str(source), device="cpu", dtype=dtype, quantization=quantization)).model


def said(model):
    with torch.inference_mode():
        return model(input_ids=TOKENS, decoder_input_ids=TOKENS[:, :24]).logits


def weights_of(folder):
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


@pytest.mark.parametrize("quantization", EXPERTS)
def test_a_second_start_reads_only_the_copy_and_says_the_same(source, quantization, opened):
    first = loaded(source, quantization)
    assert opened == [source]
    opened.clear()
    second = loaded(source, quantization)
    copy = kept.place_of(source, quantization)
    assert opened == [copy]
    assert torch.equal(said(first), said(second))
    for name, tensor in first.state_dict().items():
        assert torch.equal(
            tensor.contiguous().view(torch.uint8),
            second.get_buffer(name).contiguous().view(torch.uint8)
            if "_codes" in name or "_scales" in name or name.endswith((".codes", ".scales"))
            else second.state_dict()[name].contiguous().view(torch.uint8),
        ), name
    assert second.model.encoder.language_model.layers[1].experts is second.model.decoder.layers[1].experts
    assert second.generation_config.to_diff_dict() == first.generation_config.to_diff_dict()


def test_a_copy_is_not_in_the_user_s_folder_and_holds_each_tensor_once(source):
    before = sorted(path.name for path in source.iterdir())
    model = loaded(source, "int4")
    assert sorted(path.name for path in source.iterdir()) == before
    held = {id(tensor): tensor.nbytes for tensor in model.state_dict(keep_vars=True).values()}
    copy = kept.place_of(source, "int4")
    assert sum(tensor.nbytes for tensor in weights_of(copy).values()) == sum(held.values())


def test_nothing_is_kept_of_weights_as_they_are(source, tmp_path):
    loaded(source, "none")
    load(EngineSettings(str(source), device="cpu", quantization="int4"), layers=2)
    assert not (tmp_path / "models").exists() or not any((tmp_path / "models").rglob("*.safetensors"))


@pytest.mark.parametrize("changed", ["weights", "config", "dtype"])
def test_a_copy_of_other_files_or_of_another_kind_is_made_anew(source, changed, opened):
    loaded(source, "int4")
    if changed == "weights":
        (path,) = weight_files(source)
        tensors = load_file(path)
        name = next(name for name in tensors if name.endswith("experts.down_proj"))
        tensors[name] = tensors[name] * 2
        save_file(tensors, path, metadata={"format": "pt"})
    elif changed == "config":
        os.utime(source / "config.json", ns=(1, 1))
    opened.clear()
    loaded(source, "int4", "float32" if changed == "dtype" else "bfloat16")
    assert opened == [source]
    opened.clear()
    loaded(source, "int4", "float32" if changed == "dtype" else "bfloat16")
    assert opened == [kept.place_of(source, "int4")]


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def without_a_tensor(path):
    tensors = load_file(path)
    del tensors[max(tensors)]
    save_file(tensors, path)


def not_a_number(path):
    tensors = load_file(path)
    name = next(name for name in tensors if tensors[name].is_floating_point() and tensors[name].dim())
    tensors[name].view(-1)[0] = torch.nan
    save_file(tensors, path)


def of_another_shape(path):
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.dim() > 1)
    tensors[name] = tensors[name][:-1].contiguous()
    save_file(tensors, path)


@pytest.mark.parametrize("damage", [cut, without_a_tensor, not_a_number, of_another_shape])
def test_a_damaged_copy_is_made_anew_and_said_to_be(source, damage, opened, caplog):
    wanted = said(loaded(source, "int8"))
    copy = kept.place_of(source, "int8")
    damage(sorted(copy.glob("layer-*.safetensors"))[0])
    opened.clear()
    with caplog.at_level(logging.WARNING):
        found = said(loaded(source, "int8"))
    assert torch.equal(found, wanted)
    assert "is read no more" in caplog.text
    opened.clear()
    assert torch.equal(said(loaded(source, "int8")), wanted)
    assert opened == [copy]


def test_without_room_on_the_disk_nothing_is_kept(source, monkeypatch, tmp_path):
    monkeypatch.setattr(kept, "has_room", lambda *args: False)
    loaded(source, "int4")
    assert not kept.place_of(source, "int4").exists()


def test_a_copy_that_cannot_be_written_leaves_nothing_and_loading_goes_on(source, monkeypatch, tmp_path):
    def full(model, folder):
        (folder / "layer-0000.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(quantised_copy, "write_copy", full)
    loaded(source, "int4")
    assert not any(path.is_file() for path in (tmp_path / "models").rglob("*"))


def test_a_copy_that_saves_little_is_not_kept(source, monkeypatch):
    monkeypatch.setattr(quantised_copy, "SAVING", 0.1)
    loaded(source, "int8")
    assert not kept.place_of(source, "int8").exists()


def test_doctor_names_the_copies(source):
    loaded(source, "int4")
    ((kind, folder, size),) = kept.copies(source)
    assert (kind, folder) == ("int4", kept.place_of(source, "int4"))
    assert size > sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    (check,) = check_room(EngineSettings(str(source), "cpu", "bfloat16"))
    assert f"; a copy in int4 of 0 MiB is kept in {folder}" in check.found


def test_forgetting_a_model_removes_its_copies(source):
    for quantization in ("int8", "int4-small"):
        loaded(source, quantization)
        assert kept.place_of(source, quantization).is_dir()
    kept.forget(source)
    assert not any(kept.place_of(source, each).exists() for each in EXPERTS)


def test_copies_leave_as_much_room_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PALIMPSEST_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 10 * 2**30))
    assert kept.has_room(tmp_path, 2 * 2**30, "int4")
    assert not kept.has_room(tmp_path, 4 * 2**30, "int4")

"""Adapters: added to the weights as peft would, and refused in a sentence when damaged, made for others, or no plain LoRA."""

from __future__ import annotations

import json
import pickle
import shutil
import time
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from palimpsest_engine import CheckpointBroken, CheckpointMissing, EngineSettings, UnsupportedCheckpoint, open_engine
from palimpsest_engine.checkpoint.adapter import CONFIG_FILE, NOTE_FILE, WEIGHTS_FILE, fingerprint, read_adapter
from palimpsest_engine.checkpoint.header import digest
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.locate import weight_files
from palimpsest_tune import lora

from ..conftest import write_checkpoint

Q = "base_model.model.model.decoder.layers.0.self_attn.q_proj.lora_{}.weight"


def plain(folder, **settings):
    return load(EngineSettings(str(folder), device="cpu", dtype="float32", **settings))


def note_of(adapter, checkpoint, folder):
    """Return the notes of `palimpsest tune`, as far as the engine reads them."""
    base = {"name": checkpoint.spec.name, "sha256": fingerprint(folder, checkpoint.spec, weight_files(folder))}
    return {"format": 1, "base": base, "sha256": digest(adapter / WEIGHTS_FILE)}


@pytest.fixture(scope="module")
def made(checkpoint_folder, tmp_path_factory):
    """An adapter of random matrices."""
    adapter = tmp_path_factory.mktemp("adapters") / "mine"
    adapter.mkdir()
    checkpoint = plain(checkpoint_folder)
    tuned = lora.wrapped(checkpoint.model, rank=3, seed=5)
    torch.manual_seed(6)
    with torch.no_grad():
        for name, parameter in checkpoint.model.named_parameters():
            if "lora_B" in name:
                parameter.add_(torch.randn_like(parameter))
    lora.save(tuned, adapter, checkpoint.spec.name)
    (adapter / NOTE_FILE).write_text(json.dumps(note_of(adapter, checkpoint, checkpoint_folder)), "utf-8")
    return adapter


@pytest.fixture
def adapter(made, tmp_path):
    return shutil.copytree(made, tmp_path / "mine")


def test_the_weights_are_those_that_peft_merges(checkpoint_folder, adapter):
    from peft import PeftModel

    base, ours = plain(checkpoint_folder), plain(checkpoint_folder, adapter=str(adapter))
    before = {name: parameter.detach().clone() for name, parameter in base.model.named_parameters()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's own
        theirs = PeftModel.from_pretrained(base.model, str(adapter)).merge_and_unload()
    changed = 0
    for (name, mine), (_, merged) in zip(
        sorted(ours.model.state_dict().items()), sorted(theirs.state_dict().items()), strict=True
    ):
        torch.testing.assert_close(mine, merged, atol=1e-5, rtol=1e-5)
        changed += name in before and not torch.equal(mine, before[name])
    assert changed > 20
    assert (ours.adapter, ours.name) == ("mine", "tiny with the adapter mine")


def test_encoder_and_decoder_both_change(checkpoint_folder, adapter):
    model = plain(checkpoint_folder, adapter=str(adapter)).model.model
    ours, theirs = model.decoder.layers, model.encoder.language_model.layers
    for decoder, encoder in zip(ours, theirs, strict=True):
        assert decoder.self_attn.q_proj.weight is encoder.self_attn.q_proj.weight
        assert decoder.mlp.down_proj.weight is encoder.mlp.down_proj.weight


def test_the_status_names_the_adapter(checkpoint_folder, adapter):
    engine = open_engine(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32", adapter=str(adapter)))
    engine.warm()
    while engine.status().state in ("starting", "loading"):
        time.sleep(0.01)
    try:
        assert engine.status().state == "ready"
        assert engine.status().model == "tiny with the adapter mine"
    finally:
        engine.close()


def test_an_adapter_holds_no_path_of_this_machine(checkpoint_folder, adapter):
    config = json.loads((adapter / CONFIG_FILE).read_text("utf-8"))
    assert config["base_model_name_or_path"] == "tiny"
    for path in (adapter / CONFIG_FILE, adapter / NOTE_FILE, adapter / WEIGHTS_FILE):
        assert str(checkpoint_folder).encode() not in path.read_bytes()


def edited(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def tensors_edited(adapter, edit, sign=True):
    tensors = load_file(adapter / WEIGHTS_FILE)
    edit(tensors)
    save_file(tensors, adapter / WEIGHTS_FILE, metadata={"format": "pt"})
    if sign:
        edited(adapter / NOTE_FILE, sha256=digest(adapter / WEIGHTS_FILE))


def gone(adapter):
    shutil.rmtree(adapter)


def a_folder_of_something_else(adapter):
    (adapter / NOTE_FILE).unlink()


def a_pickle(adapter):
    a_folder_of_something_else(adapter)
    (adapter / WEIGHTS_FILE).rename(adapter / "adapter_model.bin")


def a_pickle_in_its_place(adapter):
    (adapter / WEIGHTS_FILE).write_bytes(pickle.dumps({"a": list(range(1000))}))


def torch_save_in_its_place(adapter):
    torch.save({"a": torch.ones(9)}, adapter / WEIGHTS_FILE)


def truncated(adapter):
    path = adapter / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-100])


def appended(adapter):
    with (adapter / WEIGHTS_FILE).open("ab") as file:
        file.write(b"x")


def weights_gone(adapter):
    (adapter / WEIGHTS_FILE).unlink()


def config_gone(adapter):
    (adapter / CONFIG_FILE).unlink()


def note_garbled(adapter):
    (adapter / NOTE_FILE).write_text("{", "utf-8")


def note_no_object(adapter):
    (adapter / NOTE_FILE).write_text("[]", "utf-8")


def note_of_tomorrow(adapter):
    edited(adapter / NOTE_FILE, format=2)


def base_unknown(adapter):
    edited(adapter / NOTE_FILE, base="tiny")


def weights_exchanged(adapter):
    tensors_edited(adapter, lambda tensors: tensors[Q.format("A")].add_(1.0), sign=False)


def dora(adapter):
    edited(adapter / CONFIG_FILE, use_dora=True)


def another_method(adapter):
    edited(adapter / CONFIG_FILE, peft_type="IA3")


def another_scale_for_some(adapter):
    edited(adapter / CONFIG_FILE, alpha_pattern={"q_proj": 64})


def no_rank(adapter):
    edited(adapter / CONFIG_FILE, r=0)


def no_number_for_a_scale(adapter):
    edited(adapter / CONFIG_FILE, lora_alpha=float("nan"))


def a_scale_without_end(adapter):
    edited(adapter / CONFIG_FILE, lora_alpha=10**400)


def a_rank_without_end(adapter):
    edited(adapter / CONFIG_FILE, r=10**9)


def a_truth_for_a_scale(adapter):
    edited(adapter / CONFIG_FILE, lora_alpha=True)


def half_a_pair(adapter):
    tensors_edited(adapter, lambda tensors: tensors.pop(Q.format("B")))


def the_other_half(adapter):
    tensors_edited(adapter, lambda tensors: tensors.pop(Q.format("A")))


def another_shape(adapter):
    tensors_edited(adapter, lambda tensors: tensors.update({Q.format("A"): tensors[Q.format("A")][:, :-1].clone()}))


def another_rank_in_the_file(adapter):
    tensors_edited(adapter, lambda tensors: tensors.update({Q.format("A"): tensors[Q.format("A")][:-1].clone()}))


def about_a_layer_that_is_not_there(adapter):
    def move(tensors):
        for half in "AB":
            tensors[Q.format(half).replace("layers.0", "layers.99")] = tensors.pop(Q.format(half))

    tensors_edited(adapter, move)


def not_finite(adapter):
    tensors_edited(adapter, lambda tensors: tensors[Q.format("B")].fill_(float("inf")))


def something_besides(adapter):
    tensors_edited(adapter, lambda tensors: tensors.update({"surprise": torch.ones(2)}))


def nothing_in_it(adapter):
    tensors_edited(adapter, lambda tensors: tensors.clear())


DAMAGE = [
    (gone, CheckpointMissing, "no adapter folder"),
    (a_folder_of_something_else, CheckpointMissing, "not an adapter"),
    (a_pickle, UnsupportedCheckpoint, "pickle"),
    (a_pickle_in_its_place, UnsupportedCheckpoint, "pickle"),
    (torch_save_in_its_place, UnsupportedCheckpoint, "pickle"),
    (truncated, CheckpointBroken, "truncated"),
    (appended, CheckpointBroken, "added to"),
    (weights_gone, CheckpointBroken, f"lacks {WEIGHTS_FILE}"),
    (config_gone, CheckpointBroken, f"lacks {CONFIG_FILE}"),
    (note_garbled, CheckpointBroken, "not valid JSON"),
    (note_no_object, CheckpointBroken, "not a JSON object"),
    (note_of_tomorrow, UnsupportedCheckpoint, "format"),
    (base_unknown, CheckpointBroken, "does not say"),
    (weights_exchanged, CheckpointBroken, "SHA-256"),
    (dora, UnsupportedCheckpoint, "use_dora"),
    (another_method, UnsupportedCheckpoint, "IA3"),
    (another_scale_for_some, UnsupportedCheckpoint, "alpha_pattern"),
    (no_rank, CheckpointBroken, "no rank"),
    (no_number_for_a_scale, CheckpointBroken, "no scale"),
    (a_scale_without_end, CheckpointBroken, "no scale"),
    (a_rank_without_end, CheckpointBroken, "no rank"),
    (a_truth_for_a_scale, CheckpointBroken, "no scale"),
    (half_a_pair, CheckpointBroken, "do not fit"),
    (the_other_half, CheckpointBroken, "lora_B"),
    (another_shape, CheckpointBroken, "do not fit"),
    (another_rank_in_the_file, CheckpointBroken, "do not fit"),
    (about_a_layer_that_is_not_there, CheckpointBroken, "layers.99"),
    (not_finite, CheckpointBroken, "not finite"),
    (something_besides, CheckpointBroken, "surprise"),
    (nothing_in_it, CheckpointBroken, "nothing"),
]


@pytest.mark.parametrize(("damage", "error", "says"), DAMAGE, ids=[row[0].__name__ for row in DAMAGE])
def test_a_damaged_adapter_is_refused_in_a_sentence(checkpoint_folder, adapter, damage, error, says):
    damage(adapter)
    with pytest.raises(error, match=says) as caught:
        plain(checkpoint_folder, adapter=str(adapter))
    assert "\n" not in str(caught.value)
    assert type(caught.value) is error


def test_other_weights_are_named_beside_those_it_was_made_for(tmp_path, adapter):
    other = write_checkpoint(tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    tensors["model.decoder.norm.weight"].add_(1.0)
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    edited(other / "palimpsest.json", name="other")
    with pytest.raises(
        CheckpointBroken, match=r"made for \"tiny\" \(weights \w{12}\), and .* is other \(weights \w{12}\)"
    ):
        plain(other, adapter=str(adapter))


def test_digests_come_from_the_description_or_the_name_of_a_cached_file_before_they_are_computed(
    checkpoint_folder, checkpoint, tmp_path
):
    (file,) = weight_files(checkpoint_folder)
    computed = fingerprint(checkpoint_folder, checkpoint.spec, [file])
    assert computed == {"model.safetensors": digest(file)}
    blob = tmp_path / ("a1" * 32)
    blob.write_bytes(b"not read")
    (tmp_path / "model.safetensors").symlink_to(blob)
    assert fingerprint(tmp_path, checkpoint.spec, [tmp_path / "model.safetensors"]) == {"model.safetensors": "a1" * 32}


def test_nothing_is_changed_if_any_part_does_not_fit(checkpoint_folder, adapter):
    from palimpsest_engine.checkpoint.adapter import merge

    checkpoint = plain(checkpoint_folder)
    before = [parameter.detach().clone() for parameter in checkpoint.model.parameters()]
    found = read_adapter(str(adapter), checkpoint_folder, checkpoint.spec, weight_files(checkpoint_folder))
    not_finite(adapter)
    with pytest.raises(CheckpointBroken):
        merge(checkpoint.model, found)
    assert all(torch.equal(a, b) for a, b in zip(before, checkpoint.model.parameters(), strict=True))

"""The engine runs what the trainer wrote: the same logits from the same files, on another's model a refusal."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from palimpsest_engine.checkpoint.denoiser import read_denoiser, read_matrices
from palimpsest_engine.checkpoint.header import digest
from palimpsest_engine.errors import CheckpointBroken, CheckpointMissing, PalimpsestError, UnsupportedCheckpoint
from palimpsest_engine.model.canvas import give_canvas
from palimpsest_engine.model.forward import canvas_head, decode, encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_train.denoiser.adapter import pack, save
from palimpsest_train.denoiser.network import Adapter, Network, seen_by
from palimpsest_train.denoiser.recipe import SMOKE

from .stock import MASK, as_base, stock_model

FILLER = 7


@pytest.fixture(scope="module")
def stock():
    return stock_model()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Something that has a hash; the base is not read from it here."""
    path = tmp_path_factory.mktemp("base") / "base.gguf"
    path.write_bytes(b"a base")
    return path


@pytest.fixture(scope="module")
def trained(stock, source, tmp_path_factory):
    """(Base, trained adapter, its folder in bfloat16, the same packed)."""
    base = as_base(stock, digest(source))
    adapter = Adapter(base, SMOKE.rank, SMOKE.alpha, FILLER)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
            parameter.copy_(parameter.bfloat16())
    folder = tmp_path_factory.mktemp("denoiser")
    save(adapter, base, SMOKE, folder / "plain", step=1)
    pack(folder / "plain", folder / "packed")
    return base, adapter, folder


def config(stock):
    return json.loads(stock.config.to_json_string(use_diff=False))


@torch.no_grad()
def theirs(base, adapter, context, canvas):
    network = Network(base)
    read = network.context(context)
    length, size = context.shape[1], canvas.shape[1]
    seen, segments = torch.full((1, size), length), torch.zeros(1, size, dtype=torch.long)
    bias = seen_by(seen, segments, length, network.dtype)
    positions = (length - 1 + torch.arange(size))[None]
    return network.logits(network.canvas(canvas, positions, bias, read, adapter)[0], adapter)


def ours(model, context, canvas):
    cache = RollbackCache.for_config(model.config)
    encode(model, cache, context)
    positions = torch.arange(context.shape[1] - 1, context.shape[1] - 1 + canvas.shape[1], dtype=torch.int32)[None]
    with torch.inference_mode():
        return canvas_head(model)(decode(model, cache, canvas, None, None, positions)[0])


@pytest.mark.parametrize(("kind", "close"), [("plain", 2e-3), ("packed", 0.3)])
def test_the_engine_says_what_the_trainer_says(stock, source, trained, kind, close):
    base, adapter, folder = trained
    denoiser = read_denoiser(folder / kind, source, config(stock))
    assert (denoiser.rank, denoiser.filler_id, denoiser.denoising.mask_id) == (SMOKE.rank, FILLER, MASK)
    give_canvas(stock, read_matrices(denoiser, "cpu", torch.float32))
    context, canvas = torch.arange(11)[None] * 17 % 290, torch.tensor([[170, MASK, MASK, FILLER, 5, 6]])
    expected, found = theirs(base, adapter, context, canvas), ours(stock, context, canvas)
    expected, found = expected[:, :MASK], found[:, :MASK]
    assert float((found - expected).abs().max()) < close * float(expected.abs().max())
    if kind == "plain":
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=2e-3)


def broken(change):
    """A folder like the plain one, changed: `change(tensors, note)`."""

    def made(folder, where):
        where.mkdir()
        for path in (folder / "plain").glob("*.safetensors"):
            tensors = load_file(path)
            note = json.loads(NOTES[0])
            change(tensors, note)
            save_file(tensors, where / path.name, {"palimpsest": json.dumps(note)})

    return made


NOTES = []


@pytest.fixture(scope="module", autouse=True)
def note_of_the_plain_one(trained):
    from safetensors import safe_open

    (path,) = (trained[2] / "plain").glob("*.safetensors")
    with safe_open(path, "pt") as file:
        NOTES[:] = [file.metadata()["palimpsest"]]


def not_finite(tensors, note):
    tensors["1-out-up"][0, 0] = torch.nan


FAULTS = {
    "another base": (lambda t, n: n.update(base_sha256="0" * 64), CheckpointBroken, "another quantisation"),
    "no base": (lambda t, n: n.pop("base_sha256"), CheckpointBroken, "what they were trained for"),
    "an unknown format": (lambda t, n: n.update(format="palimpsest-denoiser-9"), UnsupportedCheckpoint, "format"),
    "a mask out of range": (lambda t, n: n.update(mask_id=300), CheckpointBroken, "300 for its mask"),
    "a mask that is no number": (lambda t, n: n.update(mask_id="299"), CheckpointBroken, "mask_id: "),
    "a filler below zero": (lambda t, n: n.update(filler_id=-1), CheckpointBroken, "filler_id: -1 has to be"),
    "another noise": (lambda t, n: n.update(noise="pink"), CheckpointBroken, "noise: "),
    "no rank": (lambda t, n: n.update(rank=0), CheckpointBroken, "rank: 0 has to be"),
    "another shape": (lambda t, n: n["shape"].update(layers=4), CheckpointBroken, "for 4 layers"),
    "heads of another width": (lambda t, n: n["shape"].update(head=8), CheckpointBroken, "heads of 8"),
    "a shape that is none": (lambda t, n: n.update(shape=[1]), CheckpointBroken, "shape: "),
    "no sizes": (lambda t, n: n.pop("sizes"), CheckpointBroken, "how it denoises: 'sizes' is missing"),
    "sizes without end": (lambda t, n: n.update(sizes=[10**9]), CheckpointBroken, "sizes: 1000000000 has to be"),
    "sizes below zero": (lambda t, n: n.update(sizes=[-8]), CheckpointBroken, "sizes: -8 has to be"),
    "sizes that are a string": (lambda t, n: n.update(sizes="48"), CheckpointBroken, "sizes: "),
    "pins below zero": (lambda t, n: n.update(pins=[-1, 8]), CheckpointBroken, "pins: -1 has to be"),
    "one pin": (lambda t, n: n.update(pins=[8]), CheckpointBroken, "pins: "),
    "a shift that is a number": (lambda t, n: n.update(shift=1), CheckpointBroken, "shift: 1 has to be true or false"),
    "layers that are no whole number": (lambda t, n: n["shape"].update(layers=3.0), CheckpointBroken, "layers: 3.0"),
    "no heads": (lambda t, n: n["shape"].pop("head"), CheckpointBroken, "does not say its head"),
    "a rank that its matrices do not have": (lambda t, n: n.update(rank=5), CheckpointBroken, "0-qkv-down"),
    "a matrix missing": (lambda t, n: t.pop("2-down-up"), CheckpointBroken, "no 2-down-up"),
    "a matrix too many": (lambda t, n: t.update(extra=torch.ones(1)), CheckpointBroken, "holds extra"),
    "not finite": (not_finite, CheckpointBroken, "1-out-up"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_anything_that_does_not_fit_is_refused_with_a_sentence(stock, source, trained, tmp_path, name):
    change, kind, says = FAULTS[name]
    broken(change)(trained[2], tmp_path / "bad")
    with pytest.raises(kind, match=says) as caught:
        read_matrices(read_denoiser(tmp_path / "bad", source, config(stock)), "cpu", torch.float32)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_files_that_are_none_are_refused_with_a_sentence(stock, source, trained, tmp_path):
    def refused(folder, kind):
        with pytest.raises(kind) as caught:
            read_denoiser(folder, source, config(stock))
        assert isinstance(caught.value, PalimpsestError)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "nowhere", CheckpointMissing)
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", CheckpointMissing)
    (tmp_path / "empty" / "adapter.bin").write_bytes(b"PK")
    refused(tmp_path / "empty", UnsupportedCheckpoint)
    (path,) = (trained[2] / "plain").glob("*.safetensors")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "adapter-1-of-2.safetensors").write_bytes(path.read_bytes())
    refused(tmp_path / "half", CheckpointBroken)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / path.name).write_bytes(path.read_bytes()[:-9])
    refused(tmp_path / "cut", CheckpointBroken)
    (tmp_path / "pickle").mkdir()
    (tmp_path / "pickle" / path.name).write_bytes(b"PK\x03\x04" + b"0" * 40)
    refused(tmp_path / "pickle", UnsupportedCheckpoint)


def test_the_recipe_of_the_note_is_this_one(trained):
    assert json.loads(NOTES[0])["recipe"] == json.loads(json.dumps(asdict(SMOKE)))

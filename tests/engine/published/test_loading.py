"""Published models in folders: which are run, with whose code, and what is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engine.causal import write_model

from palimpsest_engine import EngineSettings, Fill, FillRequest, Span
from palimpsest_engine.checkpoint import causal
from palimpsest_engine.checkpoint.adopt import add
from palimpsest_engine.checkpoint.bpe_tokenizer import tokenizer_in
from palimpsest_engine.checkpoint.describe import describe
from palimpsest_engine.checkpoint.load import Checkpoint, load
from palimpsest_engine.checkpoint.load_causal import prepare
from palimpsest_engine.checkpoint.published import found_in, stock_config
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.model.canvas import give_canvas
from palimpsest_engine.model.families import CAUSAL
from palimpsest_engine.model.int8 import available
from palimpsest_engine.model.quantize import FORMATS
from palimpsest_engine.prompt.preview import seen

from . import folders
from .test_published import files

PLAIN = {"device": "cpu", "dtype": "float32"}
REQUEST = FillRequest("a = b\nc\n", (Span(6, 6),), language=None, sizes=(3,))


@pytest.fixture(params=folders.KINDS)
def name(request: Any) -> str:
    return str(request.param)


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    return folders.write(tmp_path / name, name)


def change(file: Path, **changed: Any) -> None:
    table = {**json.loads(file.read_text("utf-8")), **changed}
    file.write_text(json.dumps({key: value for key, value in table.items() if value is not ...}), "utf-8")


def filled(checkpoint: Checkpoint) -> Fill:
    *_, fill = Filler(checkpoint).fill(REQUEST)
    assert isinstance(fill, Fill)
    assert fill.nfe
    return fill


def test_it_is_loaded_by_the_stock_class(folder, name):
    checkpoint = load(EngineSettings(str(folder), **PLAIN))
    spec = checkpoint.spec
    kind = "qwen3" if name == "SDAR" else "qwen2"
    assert type(checkpoint.model).__module__.startswith(f"transformers.models.{kind}.")
    said = ("taught", False, "causal") if name == "SDAR" else ("sides", True, "both")
    assert (spec.name, spec.dialect, spec.denoises, spec.denoising.context) == (name, *said)
    masks = {"Open-dCoder": folders.M, "SDAR": folders.BLOCK_MASK}
    assert checkpoint.tokenizer.id_to_token(spec.denoising.mask_id) == masks.get(name, folders.MASK)
    around = (None, None) if name in masks else (len(folders.TEXT) + 8, len(folders.TEXT))
    assert (spec.bos_id, spec.eos_id) == around
    assert (spec.denoising.grow_id is None) == (name != "DreamOn")
    assert filled(checkpoint).texts


def test_its_name_in_the_store_is_enough(folder, name, models):
    assert add(folder, "mine").path == folder
    assert load(EngineSettings("mine", **PLAIN)).spec.name == name
    described = describe(EngineSettings("mine", **PLAIN))
    assert described.spec == load(EngineSettings("mine", **PLAIN)).spec
    shown = seen(EngineSettings("mine", **PLAIN), REQUEST)
    if name == "SDAR":
        assert shown.context == "<|fim_prefix|><|fim_suffix|>c\n<|fim_middle|>a = b\n"
        return
    begins, ends = ("", "") if name == "Open-dCoder" else ("<|beginoftext|>", "<|endoftext|>")
    assert (shown.context, shown.pins) == (f"{begins}a = b\n", f"c\n{ends}")


@pytest.mark.skipif(not available(), reason="this processor does not multiply in int8")
def test_in_eight_bits_it_is_kept_for_the_next_start(folder, models):
    assert prepare(folder)
    assert not prepare(folder)
    settings = EngineSettings(str(folder), device="cpu")
    first, second = load(settings), load(settings)
    assert first.int8
    assert first.spec == second.spec
    assert filled(first).texts == filled(second).texts


@pytest.mark.parametrize("format", FORMATS)
def test_its_maps_may_have_fewer_bits(folder, format):
    """As on a GPU: the canvas' stack shares the maps."""
    opened = causal.open_files(folder, int8=False)
    model = causal.read(opened, "cpu", "float32", int8=False, format=format)
    give_canvas(model)
    assert opened.published is not None
    spec = opened.published.spec(opened.tokenizer, "cuda")
    assert spec.context == (8192 if opened.config["model_type"] == "qwen3" else 2048)
    checkpoint = Checkpoint(folder, spec, model, opened.tokenizer, "cpu", "float32")
    assert filled(checkpoint).texts


def test_on_a_cpu_it_reads_less(folder):
    opened = causal.open_files(folder, int8=False)
    assert opened.published is not None
    assert opened.published.spec(opened.tokenizer, "cpu").context == 1024


def test_code_of_any_other_checkpoint_is_refused(tmp_path):
    folder = write_model(tmp_path / "other")
    change(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_qwen2.Qwen2ForCausalLM"})
    for refused in (lambda: load(EngineSettings(str(folder), **PLAIN)), lambda: add(folder)):
        with pytest.raises(UnsupportedCheckpoint, match="code of its own"):
            refused()


def test_a_stock_model_with_a_mask_token_stays_one(tmp_path):
    folder = folders.write(tmp_path / "x", "Open-dCoder")
    change(folder / "config.json", auto_map=...)
    assert found_in(folder) is None
    assert not load(EngineSettings(str(folder), **PLAIN)).spec.denoises


def test_a_description_beside_it_does_not_change_its_rules(folder):
    (folder / "palimpsest.json").write_text('{"name": "other", "denoising": {"noise": "uniform"}}', "utf-8")
    spec = load(EngineSettings(str(folder), **PLAIN)).spec
    assert (spec.name, spec.denoising.noise) == (folder.name, "mask")


def test_kernels_of_a_repository_are_refused(folder):
    change(folder / "config.json", attn_implementation="somebody/attention")
    with pytest.raises(UnsupportedCheckpoint, match="attn_implementation"):
        load(EngineSettings(str(folder), **PLAIN))


@pytest.mark.parametrize(
    ("name", "file", "changed", "said"),
    [
        ("Dream", "config.json", {"mask_token_id": 3}, "contradict each other"),  # a letter's
        ("Dream", "config.json", {"mask_token_id": len(folders.TEXT)}, "contradict each other"),  # the end's
        ("Dream", "config.json", {"mask_token_id": 10**6}, "no id for the masks"),
        ("Dream", "config.json", {"num_hidden_layers": 2}, "unexpected tensors"),
        ("Dream", "config.json", {"intermediate_size": 64}, "mismatched tensors"),
        ("Dream", "config.json", {"tie_word_embeddings": True}, "a head of their own"),
        ("Open-dCoder", "tokenizer_config.json", {"mask_token": "<nothing>"}, "which has no id"),
        ("DreamOn", "generation_config.json", {"expand_token_id": 4}, "the text"),
        ("DreamOn", "generation_config.json", {"expand_token_id": 10**6}, "that is no id of it"),
        ("DreamOn", "generation_config.json", {"expand_token_id": -1}, "that is no id of it"),
        (
            "DreamOn",
            "generation_config.json",
            {"delete_token_id": len(folders.TEXT) + 9},
            "that is no id of it",
        ),  # mask
    ],
)
def test_files_that_contradict_the_model_are_refused(tmp_path, name, file, changed, said):
    folder = folders.write(tmp_path / "x", name)
    change(folder / file, **changed)
    with pytest.raises(CheckpointBroken, match=said):
        load(EngineSettings(str(folder), **PLAIN))


@pytest.mark.parametrize("same", [True, False])
def test_a_head_beside_a_tied_embedding_has_to_be_a_copy(tmp_path, same):
    folder = folders.write(tmp_path / "x", "Open-dCoder")
    tensors = load_file(folder / "model.safetensors")
    change(folder / "config.json", tie_word_embeddings=True)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone() + (not same)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if same:
        model = load(EngineSettings(str(folder), **PLAIN)).model
        assert model.lm_head.weight is model.model.embed_tokens.weight
        return
    with pytest.raises(CheckpointBroken, match="a head of their own"):
        load(EngineSettings(str(folder), **PLAIN))


@pytest.mark.parametrize(("size", "block"), [(4, 4), (8, 8), (None, 4), (3, None), (-4, None)])
def test_blocks_have_the_size_of_the_config(tmp_path, size, block):
    folder = folders.write(tmp_path / "x", "SDAR", block_size=size)
    settings = EngineSettings(str(folder), **PLAIN)
    if block is None:
        with pytest.raises(UnsupportedCheckpoint, match="in blocks of"):
            load(settings)
        return
    checkpoint = load(settings)
    assert (checkpoint.spec.denoising.block, checkpoint.spec.sampling.max_steps) == (block, block)
    assert filled(checkpoint).nfe >= 2


class Listed:
    """The tensors of an index: names and shapes, no numbers."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.names = list(shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name]


@pytest.mark.parametrize("name", ["dream-7b"])
def test_every_tensor_of_the_true_shape_has_its_place(name, tmp_path):
    """The names of the published index, with the sizes of its config."""
    facts = files(name)
    (tmp_path / "config.json").write_text(json.dumps(facts["config"]), "utf-8")
    found = found_in(tmp_path)
    assert found is not None
    config = stock_config(found.model, facts["config"], CAUSAL)
    listed, wide, mlp, vocabulary = facts["tensors"], 3584, 18944, 152064
    sizes = {"q_proj": (wide, wide), "o_proj": (wide, wide), "k_proj": (512, wide), "v_proj": (512, wide)}
    sizes |= {"gate_proj": (mlp, wide), "up_proj": (mlp, wide), "down_proj": (wide, mlp)}
    sizes |= {"embed_tokens": (vocabulary, wide), "lm_head": (vocabulary, wide)}
    names = [f"model.layers.{i}.{each}" for i in range(listed["layers"]) for each in listed["in_each"]]
    shapes = {}
    for each in [*names, *listed["others"]]:
        kind, leaf = each.split(".")[-2:]
        shapes[each] = sizes.get(kind, (wide,)) if leaf == "weight" else sizes[kind][:1]
    letters = folders.write(tmp_path / "small", "Dream")
    opened = causal.Opened(tmp_path, config, Listed(shapes), tokenizer_in(letters), published=found)
    model = causal.hollow(opened, torch.bfloat16)
    causal.check(model, opened)
    shapes.pop("model.layers.27.mlp.up_proj.weight")
    with pytest.raises(CheckpointBroken, match="1 missing tensors"):
        causal.check(model, causal.Opened(tmp_path, config, Listed(shapes), opened.tokenizer))

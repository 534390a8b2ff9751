"""Left-to-right models whose linear maps are kept in a format, as on a GPU; here on the CPU, which settings do not ask for.

The device `cpu:0` is the CPU to torch, and to the engine one that is not `cpu`: it goes the way of a GPU.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from palimpsest_engine import EngineSettings, Fill, FillRequest, Span
from palimpsest_engine.checkpoint import causal
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.errors import CheckpointBroken, OutOfMemory, UnsupportedCheckpoint
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.model import causal as classes
from palimpsest_engine.model.families import CAUSAL
from palimpsest_engine.model.forward import encode, head
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.model.quantised_linear import QuantisedLinear, format_of, make_room, quantised_linears
from palimpsest_engine.model.quantize import FORMATS, dequantised, quantise

from ..causal import model_of, write_model

IDS = torch.tensor([[3, 50, 7, 91, 14, 14, 200, 33, 256, 80, 12, 5, 119, 60, 44, 8]])
AS_A_GPU = "cpu:0"
# As its config.json says.
QWEN_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": False,
}
GB = 10**9


@pytest.fixture(scope="module", params=sorted(CAUSAL))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp(kind) / "model", kind)


def read(folder, format, dtype="float32"):
    opened = causal.open_files(folder, int8=False)
    return opened, causal.read(opened, "cpu", dtype, int8=False, format=format)


def logits(model):
    return head(model, encode(model, PrefixCache(model).cache, IDS))[0]


def rounded(kind, format):
    """The class's own model, with the weights that the format has."""
    model = model_of(kind)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and not (name == "lm_head" and model.config.tie_word_embeddings):
            module.weight.data = dequantised(quantise(module.weight, format_of(f"{name}.weight", format)))
    return model


@pytest.mark.parametrize("format", FORMATS)
@torch.inference_mode()
def test_a_model_says_what_its_class_says_of_the_weights_brought_back(kind, folder, format):
    _, model = read(folder, format)
    torch.testing.assert_close(logits(model), rounded(kind, format)(IDS).logits[0], atol=2e-4, rtol=1e-4)
    exact = model_of(kind)(IDS).logits[0]
    error = (logits(model) - exact).norm() / exact.norm()
    assert 0 < error < {"int8": 0.05, "fp8": 0.15, "int4-fine": 0.4, "int4": 0.5}[format]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("format", FORMATS)
def test_the_bytes_of_a_model_are_those_that_were_predicted(folder, format, dtype):
    opened, model = read(folder, format, dtype)
    kept = list(model.state_dict(keep_vars=True).values())
    there = sum(each.nbytes for each in {id(each): each for each in kept}.values())
    assert causal.needed(opened, dtype, int8=False, format=format) == pytest.approx(1.15 * there + 2**28, rel=1e-12)
    assert {name for name, each in model.named_parameters() if each.dim() > 1} == {"model.embed_tokens.weight"}
    assert {each.dtype for each in model.parameters()} == {getattr(torch, dtype)}
    assert not any(each.is_meta for each in kept)


@pytest.mark.parametrize(
    ("format", "weights", "with_room", "card"),
    [(None, 15.23, 17.8, 24), ("int8", 8.17, 9.7, 12), ("fp8", 8.17, 9.7, 12), ("int4", 5.10, 6.2, 8)],
)
def test_a_7b_fits_a_card_of_12_gb_in_eight_bits_and_of_8_gb_in_four(format, weights, with_room, card):
    model = classes.hollow(QWEN_7B, torch.bfloat16)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    opened = SimpleNamespace(tensors=SimpleNamespace(names=list(shapes), shape=shapes.__getitem__))
    assert causal.parameters(opened) == 7_615_616_512
    needed = causal.needed(opened, "bfloat16", int8=False, format=format)
    assert with_room - 0.1 < needed / GB <= with_room
    if format is not None:
        make_room(model, format, "meta")
    assert sum(each.nbytes for each in model.state_dict().values()) / GB == pytest.approx(weights, abs=0.005)
    context = 2 * 28 * 4 * 128 * 2 * 8192  # keys and values of the longest in bfloat16
    assert weights * GB + context + 0.3 * GB < needed  # and what the plain form brings back at once
    assert weights * GB + 4 * context < 0.9 * card * GB  # four documents are kept
    assert needed < 0.85 * card * GB  # what the driver and a screen leave


def spoiled(folder, to, name, value=float("nan")):
    """A copy in which one number of a tensor is another."""
    to.mkdir()
    for each in folder.iterdir():
        (to / each.name).write_bytes(each.read_bytes())
    tensors = load_file(to / "model.safetensors")
    tensors[name].view(-1)[5] = value
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    return to


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "name",
    [
        "model.layers.1.self_attn.o_proj.weight",
        "lm_head.weight",
        "model.embed_tokens.weight",
        "model.layers.2.input_layernorm.weight",
        "model.layers.0.self_attn.q_proj.bias",
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_cost_a_sentence(name, value, format, tmp_path):
    path = spoiled(write_model(tmp_path / "good"), tmp_path / "bad", name, value)
    with pytest.raises(CheckpointBroken, match="not finite") as told:
        load(EngineSettings(str(path), device=AS_A_GPU, dtype="float32", quantization=format))
    assert name in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("format", FORMATS)
def test_a_map_that_is_not_what_is_in_the_file_is_noticed(format, tmp_path, monkeypatch):
    path, put = write_model(tmp_path / "model"), QuantisedLinear.put
    monkeypatch.setattr(QuantisedLinear, "put", lambda self, weight: put(self, weight.flip(0)))
    with pytest.raises(CheckpointBroken, match="is not what was read from there"):
        read(path, format)


@pytest.mark.parametrize("change", [{"vocab_size": 268}, {"intermediate_size": 32}, {"tie_word_embeddings": True}])
def test_files_that_do_not_fit_are_refused_before_anything_is_quantised(change, tmp_path, monkeypatch):
    path = write_model(tmp_path / "model")
    config = json.loads((path / "config.json").read_text("utf-8")) | change
    (path / "config.json").write_text(json.dumps(config), "utf-8")
    monkeypatch.setattr(QuantisedLinear, "put", lambda self, weight: pytest.fail("it was quantised"))
    with pytest.raises(CheckpointBroken, match="do not fit its config"):
        read(path, "int4")


@pytest.mark.parametrize("format", FORMATS)
def test_the_settings_choose_the_format_on_a_gpu(format, tmp_path):
    path = write_model(tmp_path / "model")
    found = load(EngineSettings(str(path), device=AS_A_GPU, dtype="float32", quantization=format))
    assert (found.quantization, found.int8) == (format, False)
    assert found.number_format == f"float32, weights in {format}"
    assert {each.format for each in quantised_linears(found.model)} == {format, format_of("lm_head.weight", format)}
    text = "def f(x):\n    return \n"
    *_, fill = Filler(found).fill(FillRequest(text, (Span(21, 21),), path="a.py", max_lines=1))
    assert isinstance(fill, Fill)


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("format", ["fp8", "int4"])
def test_a_cpu_keeps_int8(format, dtype, tmp_path):
    path = write_model(tmp_path / "model")
    with pytest.raises(UnsupportedCheckpoint, match=f"{format} would be slower there, so set quantization to none"):
        load(EngineSettings(str(path), device="cpu", dtype=dtype, quantization=format))
    found = load(EngineSettings(str(path), device="cpu", dtype=dtype, quantization="int8"))
    assert quantised_linears(found.model) == []


def test_a_model_that_does_not_fit_names_the_formats_that_would(tmp_path, monkeypatch):
    path = write_model(tmp_path / "model")
    opened = causal.open_files(path, int8=False)
    free = causal.needed(opened, "float32", int8=False, format="int8") + 1
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    settings = EngineSettings(str(path), device=AS_A_GPU, dtype="float32")
    with pytest.raises(
        OutOfMemory, match=r"set quantization \(int8 would need 256 MiB, fp8 .*, int4 .*\), choose a smaller"
    ):
        load(settings)
    load(EngineSettings(str(path), device=AS_A_GPU, dtype="float32", quantization="int8"))
    with pytest.raises(OutOfMemory, match="close something, choose a smaller model"):
        load(EngineSettings(str(path), device="cpu", dtype="float32"))

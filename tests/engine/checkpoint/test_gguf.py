"""GGUF files: read as the class has them, and refused in a sentence where they are damaged, hostile or of another kind."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.gguf.file import ARCHITECTURES, GgufFile, as_halves
from palimpsest_engine.checkpoint.gguf.reader import QuickReader
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.errors import CheckpointBroken, CheckpointError, UnsupportedCheckpoint
from palimpsest_engine.model.forward import encode, head
from palimpsest_engine.model.prefix_cache import PrefixCache

from ..causal import CONTROLS, SIZES, model_of, tokenizer

IDS = torch.tensor([[3, 50, 7, 91, 14, 14, 200, 33, 256, 80, 12, 5]])
PLACES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def as_pairs(weight, heads):
    """Reorder the rows of queries and keys as llama.cpp's converter does."""
    return weight.view(heads, 2, weight.shape[0] // heads // 2, -1).transpose(1, 2).reshape(weight.shape)


def write_gguf(path: Path, kind: str, *, change=lambda name, array: array, keys=(), architecture=None) -> Path:
    """A tiny model of a class as llama.cpp's converter would write it. change: of a tensor, None leaves it out."""
    model, words = model_of(kind), tokenizer()
    writer = gguf.GGUFWriter(str(path), architecture or kind)
    writer.add_block_count(SIZES["num_hidden_layers"])
    writer.add_context_length(SIZES["max_position_embeddings"])
    writer.add_embedding_length(SIZES["hidden_size"])
    writer.add_feed_forward_length(SIZES["intermediate_size"])
    writer.add_head_count(SIZES["num_attention_heads"])
    writer.add_head_count_kv(SIZES["num_key_value_heads"])
    writer.add_key_length(SIZES["head_dim"])
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_rope_freq_base(model.config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    vocabulary = sorted(words.get_vocab(with_added_tokens=True), key=words.token_to_id)
    writer.add_token_list([*vocabulary, "[unused1]", "[unused2]", "[unused3]"])
    kinds = [3 if each in CONTROLS else 1 for each in vocabulary]
    writer.add_token_types([*kinds, 5, 5, 5])
    writer.add_token_merges(["r e", "re t"])
    for key, value in keys:
        writer.add_uint32(key, value)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        array = tensor.float()
        if kind == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            array = as_pairs(array, SIZES["num_attention_heads" if "q_proj" in name else "num_key_value_heads"])
        array = change(name, array.numpy())
        if array is not None:
            writer.add_tensor(stored_name(name), np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def stored_name(name: str) -> str:
    if not name.startswith("model.layers."):
        top = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
        return top[name.removesuffix(".weight")] + ".weight"
    _, _, number, *place, leaf = name.split(".")
    return f"blk.{number}.{PLACES['.'.join(place)]}.{leaf}"


@pytest.mark.parametrize("kind", sorted(ARCHITECTURES))
@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_a_gguf_says_what_the_class_says(kind, dtype, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", kind)
    checkpoint = load(EngineSettings(str(path), device="cpu", dtype=dtype))
    assert checkpoint.name == "tiny"
    assert checkpoint.tokenizer.encode("return", add_special_tokens=False).ids == tokenizer().encode("return").ids
    with torch.inference_mode():
        reference = model_of(kind)(IDS).logits[0]
    ours = head(checkpoint.model, encode(checkpoint.model, PrefixCache(checkpoint.model).cache, IDS))[0]
    error = (ours - reference).norm() / reference.norm()
    assert error < (1e-4 if dtype == "float32" else 0.05)


@given(heads=st.integers(1, 4), half=st.integers(1, 5), inputs=st.integers(1, 3))
def test_the_order_of_queries_and_keys_is_undone(heads, half, inputs):
    weight = torch.arange(heads * 2 * half * inputs).view(heads * 2 * half, inputs)
    assert torch.equal(as_halves(as_pairs(weight, heads), heads), weight)


def test_arrays_of_a_file_are_what_the_package_reads(tmp_path):
    writer = gguf.GGUFWriter(str(tmp_path / "arrays.gguf"), "x")
    arrays = {
        "texts": ["a", "", "▁é", "x" * 1_000],
        "numbers": [1, -2, 3],
        "fractions": [0.5, -1.25],
        "flags": [True, False, True],
        "one": [7],
    }
    for key, value in arrays.items():
        writer.add_array(key, value)
    writer.add_string("text", "after")
    writer.add_tensor("t", np.ones((2, 3), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    ours, theirs = (reader(tmp_path / "arrays.gguf") for reader in (QuickReader, gguf.GGUFReader))
    assert {key: field.contents() for key, field in ours.fields.items()} == {
        key: field.contents() for key, field in theirs.fields.items()
    }
    assert {key: ours.fields[key].contents() for key in arrays} == arrays
    assert [(each.name, each.data.tolist()) for each in ours.tensors] == [("t", [[1.0] * 3] * 2)]


def test_quantised_blocks_are_read(tmp_path):
    """Q8_0 and Q4_0 blocks come back as the package dequantises them."""
    path = tmp_path / "tiny.gguf"

    def coarse(name, array):
        if array.ndim != 2 or array.shape[1] % 32:
            return array
        return gguf.dequantize(gguf.quantize(array, gguf.GGMLQuantizationType.Q8_0), gguf.GGMLQuantizationType.Q8_0)

    file = GgufFile(write_gguf(path, "qwen2", change=coarse))
    name = "model.layers.1.mlp.gate_proj.weight"
    wanted = torch.from_numpy(coarse(name, model_of("qwen2").state_dict()[name].numpy()))
    assert torch.equal(file.whole(name), wanted)


def damaged(path, at, data):
    whole = bytearray(path.read_bytes())
    whole[at : at + len(data)] = data
    path.write_bytes(whole)


def without(part):
    return lambda name, array: None if part in name else array


def as_another_shape(name, array):
    return array[:, :-32] if name == "model.layers.0.mlp.down_proj.weight" else array


def not_finite(name, array):
    return np.where(np.arange(array.size).reshape(array.shape) == 5, np.nan, array) if "o_proj" in name else array


TOO_MANY = struct.pack("<Q", 2**63)
HOSTILE = [
    ("another architecture", {"architecture": "mamba"}, None, UnsupportedCheckpoint, "architecture mamba"),
    ("a tensor is missing", {"change": without("0.mlp.up_proj")}, None, CheckpointBroken, "1 missing"),
    ("no embedding", {"change": without("embed")}, None, CheckpointBroken, "lacks the tensor"),
    ("another shape", {"change": as_another_shape}, None, CheckpointBroken, "1 mismatched"),
    ("numbers that are none", {"change": not_finite}, None, CheckpointBroken, "not finite"),
    ("frequencies of its own", {"keys": [("qwen2.rope.scaling.type", 7)]}, None, UnsupportedCheckpoint, "rotary"),
    ("a vocabulary that is too large", {"change": lambda n, a: a[:-9] if "embed" in n or "lm_head" in n else a}, None,
     CheckpointBroken, "tokenizer"),
    ("2^63 tensors", {}, lambda path: damaged(path, 8, TOO_MANY), CheckpointBroken, "no room"),
    ("2^63 keys", {}, lambda path: damaged(path, 16, TOO_MANY), CheckpointBroken, "no room"),
    ("a key of 2^63 letters", {}, lambda path: damaged(path, 24, TOO_MANY), CheckpointBroken, "damaged"),
    ("another version", {}, lambda path: damaged(path, 4, b"\x09"), UnsupportedCheckpoint, "version 9"),
    ("another magic", {}, lambda path: damaged(path, 0, b"GGML"), CheckpointError, "file"),
    ("cut in the middle", {}, lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
     CheckpointBroken, "truncated"),
    ("cut in the head", {}, lambda path: path.write_bytes(path.read_bytes()[:20]), CheckpointBroken, "truncated"),
    ("empty", {}, lambda path: path.write_bytes(b""), CheckpointError, "file"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "auto"])
@pytest.mark.parametrize(
    ("options", "damage", "error", "says"), [row[1:] for row in HOSTILE], ids=[r[0] for r in HOSTILE]
)
def test_a_file_that_cannot_be_loaded_costs_a_sentence(options, damage, error, says, dtype, tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf", "qwen2", **options)
    if damage is not None:
        damage(path)
    with pytest.raises(error, match=says) as told:
        load(EngineSettings(str(path), device="cpu", dtype=dtype))
    assert "\n" not in str(told.value)
    assert sorted(tmp_path.iterdir()) == [path]  # nothing half-written


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", "llama").read_bytes()


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_of_the_header_is_an_error_of_ours(whole, tmp_path, data):
    """Bytes changed anywhere before the tensors: the file loads or is refused, and nothing else happens."""
    at = data.draw(st.integers(0, 4000))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(whole[:at] + data.draw(st.binary(min_size=1, max_size=9)) + whole[at + 9 :])
    with suppress(CheckpointError):
        file = GgufFile(path)
        file.config()
        for name in file.names:
            file.shape(name)

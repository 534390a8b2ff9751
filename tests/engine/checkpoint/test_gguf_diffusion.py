"""GGUF files of DiffusionGemma, written as llama.cpp's converter does: config, tokenizer, tensors and logits."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import psutil
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from palimpsest_engine import CheckpointBroken, EngineSettings, OutOfMemory, UnsupportedCheckpoint
from palimpsest_engine.checkpoint.gguf.diffusion import DiffusionGguf
from palimpsest_engine.checkpoint.gguf.file import architecture_of
from palimpsest_engine.checkpoint.gguf.tokenizer import gemma_bpe
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.source import coarsest_in, config_of, shapes_in, source_in
from palimpsest_engine.errors import CheckpointError
from palimpsest_engine.model.layers import TOKEN_VISION
from palimpsest_engine.model.moe import MATRICES, quantised_experts
from palimpsest_engine.model.quantize import FORMATS, quantise
from palimpsest_engine.runtime.known_answers import Answer, KnownAnswers, Tolerance
from palimpsest_engine.runtime.verify import logits_at, verify

from .. import gemma

ARCHITECTURE = "diffusion-gemma"
NAMES = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|image|>"]
BYTES = [f"<0x{each:02X}>" for each in range(256)]
LETTERS = ["▁", "\n", "\n\n", "▁▁", *"abcdefghijklmnopqrstuvwxyz()=:", "re", "ret", "retu", "de", "def", "▁re"]
TOKENS = [*NAMES, *BYTES, *LETTERS]
KINDS = [*[3] * len(NAMES), *[6] * len(BYTES), *[1] * len(LETTERS)]
MERGES = ["r e", "re t", "ret u", "d e", "de f", "▁ re"]
TEMPLATE = "{{ bos_token }}<|turn>user\n{{ messages[0]['content'] }}<turn|>\n<|turn>model{{ '\\n' }}"
SIZES = {
    "vocab_size": len(TOKENS) + 2,
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "global_head_dim": 32,
    "num_global_key_value_heads": 1,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    "sliding_window": 9,
    "max_position_embeddings": 512,
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 256,
    "final_logit_softcapping": 20.0,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 5_000.0},
        "full_attention": {"rope_type": "proportional", "rope_theta": 77_000.0, "partial_rotary_factor": 0.25},
    },
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
# As in llama.cpp's tables for this class.
TOP = {
    "model.decoder.embed_tokens.weight": "token_embd.weight",
    "model.decoder.norm.weight": "output_norm.weight",
    "model.decoder.self_conditioning.pre_norm.weight": "self_cond_pre_norm.weight",
    "model.decoder.self_conditioning.gate_proj.weight": "self_cond_gate.weight",
    "model.decoder.self_conditioning.up_proj.weight": "self_cond_up.weight",
    "model.decoder.self_conditioning.down_proj.weight": "self_cond_down.weight",
}
PLACES = {  # of layers, as Gemma 4 has them, too
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm": "post_ffw_norm",
    "post_feedforward_layernorm_1": "post_ffw_norm_1",
    "pre_feedforward_layernorm_2": "pre_ffw_norm_2",
    "post_feedforward_layernorm_2": "post_ffw_norm_2",
    "router.proj": "ffn_gate_inp",
    "experts.gate_up_proj": "ffn_gate_up_exps",
    "experts.down_proj": "ffn_down_exps",
    "layer_scalar": "layer_output_scale",
}
SCALES = {"router.scale": "ffn_gate_inp.scale", "router.per_expert_scale": "ffn_down_exps.scale"}
Q4_K, Q6_K, Q8_0, F32 = Kind.Q4_K, Kind.Q6_K, Kind.Q8_0, Kind.F32


def reference() -> Any:
    torch.manual_seed(3)
    config = DiffusionGemmaConfig(text_config=dict(SIZES), vision_config=dict(TOKEN_VISION), canvas_length=16)
    model = DiffusionGemmaForBlockDiffusion(config).eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), *(layer.layer_scalar for layer in layers_of(model))):
            tensor.add_(torch.randn_like(tensor) * 0.1)
    return model


def layers_of(model):
    return [*model.model.encoder.language_model.layers, *model.model.decoder.layers]


def stored_name(name: str) -> str:
    """The name of a tensor in a file."""
    if name in TOP:
        return TOP[name]
    number = name.split(".layers.")[1].split(".")[0]
    if name.startswith("model.encoder"):
        assert name.endswith("layer_scalar")
        return f"blk.{number}.enc_layer_output_scale.weight"
    rest = name.split(f".layers.{number}.")[1]
    if rest in SCALES:
        return f"blk.{number}.{SCALES[rest]}"
    return f"blk.{number}.{PLACES[rest.removesuffix('.weight')]}.weight"


def in_blocks(name: str, array: np.ndarray, kind: Kind) -> tuple[np.ndarray, np.ndarray, Kind]:
    """A tensor in blocks, and what those stand for. The package quantises no K blocks; so those are drawn, and it says what
    they mean."""
    if array.ndim < 2 or array.shape[-1] % 256 or kind == F32:
        return array, array, F32
    if kind == Q8_0:
        blocks = gguf.quantize(array, kind)
    else:
        size = gguf.GGML_QUANT_SIZES[kind][1]
        drawn = np.random.default_rng(len(name)).integers(
            0, 256, (*array.shape[:-1], array.shape[-1] // 256, size), np.uint8
        )
        scale = np.frombuffer(np.float16(0.002).tobytes(), np.uint8)
        if kind == Q4_K:
            drawn[..., 0:2] = drawn[..., 2:4] = scale
        else:
            drawn[..., -2:] = np.frombuffer(np.float16(0.0001).tobytes(), np.uint8)
        blocks = drawn.reshape(*array.shape[:-1], -1)
    return blocks, gguf.dequantize(blocks, kind).reshape(array.shape), kind


def kind_of(name: str, file_type: str) -> Kind:
    """The kind of a tensor's blocks: of Q4_K_M some are finer, as in the published files."""
    if file_type == "F32" or "norm" in name or "scalar" in name or "router" in name:
        return F32
    if file_type == "Q8_0":
        return Q8_0
    if "embed_tokens" in name or "v_proj" in name:
        return Q6_K
    return Q8_0 if "down_proj" in name else Q4_K


def write(
    path: Path, file_type: str = "F32", *, change=lambda name, array: (name, array), **keys: Any
) -> dict[str, Any]:
    """Write a file; return the tensors that it stands for. change: of what is stored, None leaves it out. keys: others."""
    model, stands_for = reference(), {}
    writer = gguf.GGUFWriter(str(path), ARCHITECTURE)
    sliding = [each == "sliding_attention" for each in SIZES["layer_types"]]
    values: dict[str, Any] = {
        "block_count": 4,
        "context_length": 512,
        "embedding_length": 256,
        "feed_forward_length": 256,
        "attention.head_count": 2,
        "attention.head_count_kv": [2 if each else 1 for each in sliding],
        "rope.freq_base": 77_000.0,
        "rope.freq_base_swa": 5_000.0,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "expert_count": 4,
        "expert_used_count": 2,
        "attention.key_length": 32,
        "attention.value_length": 32,
        "final_logit_softcapping": 20.0,
        "attention.sliding_window": 9,
        "attention.shared_kv_layers": 0,
        "embedding_length_per_layer_input": 0,
        "attention.sliding_window_pattern": sliding,
        "attention.key_length_swa": 16,
        "attention.value_length_swa": 16,
        "expert_feed_forward_length": 256,
        "rope.dimension_count": 32,
        "rope.dimension_count_swa": 16,
        "attention.causal": False,
        "canvas_length": 16,
    } | keys
    for key, value in values.items():
        key = "diffusion.canvas_length" if key == "canvas_length" else f"{ARCHITECTURE}.{key}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        elif value is not None:
            (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(key, value)
    writer.add_tokenizer_model("gemma4")
    writer.add_token_list([*TOKENS, "[pad1]", "[pad2]"])
    writer.add_token_types([*KINDS, 5, 5])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)
    saved = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith("model.decoder.") or ("layer_scalar" in name and "language_model" in name)
    }
    for name, tensor in saved.items():
        blocks, means, kind = in_blocks(name, tensor.float().numpy(), kind_of(name, file_type))
        stands_for[name] = torch.from_numpy(np.array(means, dtype=np.float32))
        stored, array = change(stored_name(name), blocks)
        if array is not None:
            writer.add_tensor(stored, np.ascontiguousarray(array), raw_dtype=None if kind == F32 else kind)
    factors = np.array([1.0] * 4 + [1e30] * 12, dtype=np.float32)  # a quarter of the pairs of a head of 32
    name, factors = change("rope_freqs.weight", factors)
    if factors is not None:
        writer.add_tensor(name, factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return stands_for


def settings_for(path, **changes):
    return EngineSettings(str(path), device="cpu", **{"dtype": "float32", **changes})


def logits(model):
    model.set_attn_implementation("eager")  # with the engine's own the masks are the caller's
    tokens = torch.arange(1, 40).view(1, -1)
    before = torch.rand(1, 16, SIZES["vocab_size"], generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model(input_ids=tokens, decoder_input_ids=tokens[:, :16], self_conditioning_logits=before).logits


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return path, write(path)


@pytest.mark.skipif(not hasattr(gguf.MODEL_ARCH, "GEMMA4"), reason="this gguf is older than Gemma 4")
def test_names_in_layers_are_those_of_the_packages_own_table():
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA4, 4)
    assert {place: table.get_name(f"model.layers.3.{place}") for place in PLACES} == {
        place: f"blk.3.{name}" for place, name in PLACES.items()
    }


def test_the_config_is_the_one_that_was_written(plain):
    ours, theirs = (config_of(plain[0]), reference().config)
    one, other = (each.get_text_config().to_dict() for each in (ours, theirs))
    odd = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    assert odd <= {"rms_norm_eps", "_name_or_path", "dtype", "transformers_version"}  # the first is 32 bits in the file
    assert one["rms_norm_eps"] == pytest.approx(other["rms_norm_eps"])
    assert ours.canvas_length == theirs.canvas_length


def test_a_file_says_what_the_class_says(plain):
    found = load(settings_for(plain[0]))
    assert (found.name, found.quantization) == ("tiny", "none")
    torch.testing.assert_close(logits(found.model), logits(reference()))


@pytest.mark.parametrize("file_type", ["Q8_0", "Q4_K_M"])
def test_blocks_are_brought_back_as_the_package_does_tensor_by_tensor(file_type, tmp_path):
    theirs = write(tmp_path / "tiny.gguf", file_type)
    source = source_in(tmp_path / "tiny.gguf")
    assert set(source.names) == theirs.keys()
    for name, tensor in theirs.items():
        assert source.shape(name) == tuple(tensor.shape)
        assert torch.equal(source.whole(name), tensor), name
        if tensor.ndim == 3:
            assert all(torch.equal(source.part(name, index), tensor[index]) for index in range(4))
    model = reference()
    model.load_state_dict(theirs, strict=False)
    torch.testing.assert_close(logits(load(settings_for(tmp_path / "tiny.gguf")).model), logits(model))


def test_the_coarsest_blocks_of_a_file_are_known(plain, tmp_path):
    for file_type in ("Q8_0", "Q4_K_M"):
        write(tmp_path / f"{file_type}.gguf", file_type)
    found = [coarsest_in(each) for each in (plain[0], tmp_path / "Q8_0.gguf", tmp_path / "Q4_K_M.gguf")]
    assert found == ["none", "int8", "int4"]


@pytest.mark.parametrize("format", FORMATS)
def test_experts_are_rounded_to_the_format_that_is_asked_for(format, tmp_path):
    theirs = write(tmp_path / "tiny.gguf", "Q4_K_M")
    found = load(settings_for(tmp_path / "tiny.gguf", quantization=format))
    assert found.quantization == format
    for layer, experts in enumerate(quantised_experts(found.model)):
        for matrix in MATRICES:
            wanted = quantise(theirs[f"model.decoder.layers.{layer}.experts.{matrix}"], format)
            assert torch.equal(experts.weights(matrix).codes.view(torch.uint8), wanted.codes.view(torch.uint8))
    assert layer == 3


def test_the_first_layers_alone_can_be_read(plain):
    assert len(load(settings_for(plain[0]), layers=2).model.model.decoder.layers) == 2


def test_the_turns_are_those_of_the_template_in_the_file(plain):
    spec = load(settings_for(plain[0])).spec
    assert spec.dialect == "chat"
    assert spec.chat.turns == ("<bos><|turn>user\n", "<turn|>\n<|turn>model\n")


def test_memory_is_checked_by_the_shapes_of_the_class(plain, monkeypatch):
    class Little:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Little)
    assert sum(tensor.numel() for tensor in plain[1].values()) == sum(
        torch.Size(shape).numel() for shape in shapes_in(plain[0]).values()
    )
    with pytest.raises(OutOfMemory):
        load(settings_for(plain[0]))


def test_the_tokenizer_is_built_from_the_file(plain):
    tokenizer = load(settings_for(plain[0])).tokenizer
    ids = tokenizer.encode("return def\n\n<turn|>é", add_special_tokens=False).ids
    assert [tokenizer.id_to_token(each) for each in ids] == [
        *("retu", "r", "n", "▁", "def", "\n\n", "<turn|>", "<0xC3>", "<0xA9>")
    ]
    assert tokenizer.decode(ids, skip_special_tokens=False) == "return def\n\n<turn|>é"
    assert tokenizer.get_vocab_size() == len(TOKENS)


def test_the_tokenizer_of_gemma_4_is_the_same_from_a_files_lists():
    """Its pieces, merges and kinds as a converter writes them, against the tokenizer that the other tests use."""
    saved = json.loads(gemma.saved())
    vocabulary = saved["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    controls = {each["content"] for each in saved["added_tokens"] if each["special"]}
    kinds = [3 if each in controls else 1 for each in tokens]
    ours, theirs = gemma_bpe(tokens, [tuple(each) for each in saved["model"]["merges"]], kinds), gemma.tokenizer()
    assert ours.encode(gemma.KNOWN, add_special_tokens=False).ids == list(gemma.KNOWN_IDS)
    draw = random.Random(7)
    pieces = [*tokens[300:3_000], "\n", "\n\n\n\n", "    ", " ", "\t", "<turn|>", "é", "𝄞", "\r\n", "def f(x):"]
    for _ in range(500):
        text = "".join(draw.choice(pieces).replace("▁", " ") for _ in range(draw.randrange(1, 12)))
        assert ours.encode(text).ids == theirs.encode(text).ids


def known_answers(path):
    """The answer of the model in a file to a short prompt, with what other formats are allowed."""
    prompt = ((True, "<bos>"), (False, "def ret"))
    ids = tuple(TOKENS.index(each) for each in ("<bos>", "def", "▁", "ret"))
    bounds = {"float32": 0.001, "int8": 0.1, "int4": 0.3}
    allowed = {name: Tolerance(1 - off / 4, 0.5, 10.0, off) for name, off in bounds.items()}
    answer = Answer(None, 1, (1, 20, 99, 280), ((0.0,) * 4,) * 8, {}, allowed)
    config = {"model_type": "diffusion_gemma", "text_config": {"hidden_size": 256}}
    known = KnownAnswers("tiny", "here", config, None, prompt, ids, 16, (answer,))
    rows = logits_at(load(settings_for(path)).model, known, answer)
    return replace(known, answers=(replace(answer, logits=rows),))


def test_a_file_can_be_shown_to_be_the_published_model(plain, tmp_path):
    known = known_answers(plain[0])
    write(tmp_path / "good.gguf", "Q8_0")
    write(tmp_path / "bad.gguf", "Q8_0", change=made("blk.1.attn_q.weight", lambda each: each[::-1]))
    states = {}
    for name, path in {"same": plain[0], "good": tmp_path / "good.gguf", "bad": tmp_path / "bad.gguf"}.items():
        findings = [*verify(settings_for(path), [known])]
        states[name] = [(each.name, each.status) for each in findings if each.name in ("tokens", "all layers")]
        format = next(each.figures["format"] for each in findings if each.name == "all layers")
        assert format == ("float32" if name == "same" else "int8")
    assert states["same"] == states["good"] == [("tokens", "ok"), ("all layers", "ok")]
    assert states["bad"] == [("tokens", "ok"), ("all layers", "error")]


def moved(old, new):
    return lambda name, array: (name.replace(old, new), array)


def gone(which):
    return lambda name, array: (name, None if name == which else array)


def made(which, make):
    return lambda name, array: (name, make(array.copy()) if name == which else array)


def with_nan(array):
    array.flat[3] = np.nan
    return array


DAMAGE = {
    "the experts of a layer under another name": (
        {"change": moved("blk.2.ffn_gate_up_exps", "blk.2.ffn_up_gate_exps")},
        "unexpected keys, first blk.2.ffn_up_gate_exps",
    ),
    "the experts of a layer missing": (
        {"change": gone("blk.2.ffn_down_exps.weight")},
        "missing keys, first .*down_proj",
    ),
    "the scale of the encoder missing": (
        {"change": gone("blk.1.enc_layer_output_scale.weight")},
        "missing keys, first .*encoder.*layer_scalar",
    ),
    "the self-conditioning missing": (
        {"change": gone("self_cond_up.weight")},
        "missing keys, first .*self_conditioning",
    ),
    "the embedding missing": ({"change": gone("token_embd.weight")}, "lacks the tensor .*embed_tokens"),
    "a matrix transposed": (
        {"change": made("blk.0.attn_q.weight", lambda each: each.T)},
        "mismatched keys, first .*q_proj",
    ),
    "experts transposed": (
        {"change": made("blk.0.ffn_gate_up_exps.weight", lambda each: each.swapaxes(1, 2))},
        "mismatched keys, first .*gate_up_proj",
    ),
    "a weight that is no number": ({"change": made("blk.3.ffn_gate_up_exps.weight", with_nan)}, "not finite"),
    "no frequencies": ({"change": gone("rope_freqs.weight")}, "scales its rotary positions"),
    "scaled frequencies": ({"change": made("rope_freqs.weight", lambda each: each * 2)}, "scales its rotary positions"),
    "layers that share keys": ({"attention.shared_kv_layers": 2}, "shared_kv_layers"),
    "embeddings for each layer": ({"embedding_length_per_layer_input": 8}, "embedding_length_per_layer_input"),
    "no pattern of windows": ({"attention.sliding_window_pattern": [True] * 3}, "does not say of each layer"),
    "windows everywhere": ({"attention.sliding_window_pattern": [True] * 4}, "does not say of each layer"),
    "heads that differ in layers of one kind": (
        {"attention.head_count_kv": [2, 1, 1, 1]},
        "different numbers of key heads",
    ),
    "too few heads": ({"attention.head_count_kv": [2, 1]}, "different numbers of key heads"),
    "no canvas": ({"canvas_length": None}, "lacks the key diffusion.canvas_length"),
    "a canvas of nothing": ({"canvas_length": 0}, "canvas_length is 0"),
    "heads that are no whole number": (
        {"attention.head_count_kv": 0.5},
        "different numbers of key heads|head_count_kv is 0.5",
    ),
    "a list of layers": ({"block_count": [4]}, "block_count is"),
    "a base that is a truth": ({"rope.freq_base": [1, 2]}, "freq_base is"),
    "a cap below zero": ({"final_logit_softcapping": -3.0}, "final_logit_softcapping is -3.0"),
    "a pattern that is a number": ({"attention.sliding_window_pattern": 3}, "does not say of each layer"),
    "no experts": ({"expert_count": 0}, "expert_count is 0"),
    "other sizes than the tensors": ({"feed_forward_length": 128}, "mismatched keys"),
}


@pytest.mark.parametrize(("changes", "says"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_refused_in_a_sentence(changes, says, tmp_path):
    write(tmp_path / "tiny.gguf", **changes)
    with pytest.raises((CheckpointBroken, UnsupportedCheckpoint), match=says) as caught:
        load(settings_for(tmp_path / "tiny.gguf", quantization="int4"))
    assert "\n" not in str(caught.value)


def test_a_scale_of_a_block_that_is_no_number_is_refused(tmp_path):
    def damaged(array):
        array[2, 5, :2] = np.frombuffer(np.float16(np.nan).tobytes(), np.uint8)
        return array

    write(tmp_path / "tiny.gguf", "Q8_0", change=made("blk.3.ffn_gate_up_exps.weight", damaged))
    with pytest.raises(CheckpointBroken, match=r"layers\.3\.experts\.gate_up_proj in .* not finite"):
        load(settings_for(tmp_path / "tiny.gguf", quantization="int8"))


@pytest.mark.parametrize("keep", [0, 10, 24, 100, 5_000, 200_000])
def test_a_truncated_file_is_refused(keep, plain, tmp_path):
    path = tmp_path / "tiny.gguf"
    path.write_bytes(plain[0].read_bytes()[:keep])
    with pytest.raises(CheckpointError):
        load(settings_for(path))


def test_the_architecture_is_read_without_the_rest(plain, tmp_path):
    assert architecture_of(plain[0]) == ARCHITECTURE
    short = tmp_path / "short.gguf"
    short.write_bytes(plain[0].read_bytes()[:200])
    assert architecture_of(short) in ("", ARCHITECTURE)
    short.write_bytes(b"no GGUF file")
    assert architecture_of(short) == ""


def test_a_missing_key_is_not_made_up(tmp_path):
    write(tmp_path / "tiny.gguf", **{"rope.freq_base": None})
    with pytest.raises(CheckpointBroken, match=r"lacks the key diffusion-gemma\.rope\.freq_base"):
        DiffusionGguf(tmp_path / "tiny.gguf").config()

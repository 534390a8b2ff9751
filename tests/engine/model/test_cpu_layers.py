"""The shortcuts give what the class gives."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DynamicCache

from palimpsest_engine.checkpoint.load import load, multiplies_in_int8
from palimpsest_engine.checkpoint.loaded import cpu_threads
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.model import cpu_layers as shortcuts
from palimpsest_engine.model.cpu_layers import GROUPED, InEightBits, make_lean
from palimpsest_engine.model.forward import decode, encode
from palimpsest_engine.model.kv_cache import RollbackCache
from palimpsest_engine.model.layers import CACHE
from palimpsest_train.model import Shape, build


def one_expert():
    shape = Shape(
        vocabulary=97, hidden=32, layers=4, heads=4, kv_heads=2, head_dim=16, mlp=48, expert=16, sliding_window=9
    )
    model = build(shape, seed=0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("experts", ["one", "four"])
@pytest.mark.parametrize(("past", "new"), [(0, 1), (0, 5), (0, 30), (5, 1), (5, 7), (30, 1), (30, 12), (8, 1), (7, 2)])
def test_encoder_and_decoder_equal_the_class(model, experts, past, new):
    stock = one_expert() if experts == "one" else model
    lean = copy.deepcopy(stock)
    make_lean(lean)
    assert lean.config._attn_implementation == GROUPED
    # No control tokens: one of them stands for a picture, and the class may put another in its place.
    tokens = torch.randint(8, 97, (2, past + new), generator=torch.Generator().manual_seed(past + new))
    cache, theirs = RollbackCache.for_config(lean.config.text_config), DynamicCache(config=stock.config.text_config)
    canvas = torch.randint(0, 97, (2, 8), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        if past:
            encode(lean, cache, tokens[:, :past])
        hidden = encode(lean, cache, tokens[:, past:])
        whole = stock.model.encoder(input_ids=tokens, **{CACHE: theirs}).last_hidden_state
        torch.testing.assert_close(hidden, whole[:, past:], atol=2e-5, rtol=1e-4)
        ours = lean(decoder_input_ids=canvas, **{CACHE: cache}).logits
        reference = stock(decoder_input_ids=canvas, **{CACHE: theirs}).logits
        torch.testing.assert_close(ours, reference, atol=5e-5, rtol=1e-4)


def test_one_copy_of_the_joined_weights_serves_encoder_and_decoder():
    model = one_expert()
    make_lean(model)
    for writer, reader in zip(model.model.encoder.language_model.layers, model.model.decoder.layers, strict=True):
        assert writer.joined is reader.joined
        assert (writer.writes, reader.writes) == (True, False)
        assert writer.self_attn.q_proj.weight.data_ptr() == writer.joined.qkv.keywords["weight"].data_ptr()


@pytest.fixture(params=[True, False], ids=["exact", "would overflow"])
def exact(request, monkeypatch):
    """Processors of both kinds."""
    if request.param and not shortcuts.exact_in_eight_bits():
        pytest.skip("this processor multiplies eight bits with overflow")
    monkeypatch.setattr(shortcuts, "exact_in_eight_bits", lambda: request.param)
    return request.param


def test_a_product_in_eight_bits_differs_only_by_rounding(exact):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(48, 32, generator=generator) * torch.logspace(-3, 2, 48).unsqueeze(1)
    hidden = torch.randn(2, 9, 32, generator=generator) * torch.logspace(-4, 4, 18).view(2, 9, 1)
    hidden[0, 3] = 0
    product = InEightBits(weight)
    most = 127 if exact else 63
    assert product.weight.abs().max() == most
    assert exact or 2 * 255 * most < 2**15  # what such processors add up in 16 bits
    # Each factor is off by half a step at most, and nothing else is lost.
    heights, widths = hidden.abs().amax(-1, keepdim=True) / 127, weight.abs().amax(1) / most
    bound = (hidden.abs().sum(-1, keepdim=True) + 32 * heights) * widths / 2
    bound = 1.001 * (bound + heights * weight.abs().sum(1) / 2)
    assert ((product(hidden) - hidden @ weight.T).abs() <= bound).all()
    for row in range(9):  # what is beside it does not matter: a prefix encoded in pieces is the same
        assert torch.equal(product(hidden)[:, row], product(hidden[:, row : row + 1])[:, 0])


def test_a_model_in_eight_bits_is_close_to_the_class(exact):
    stock = one_expert()
    lean = copy.deepcopy(stock)
    assert make_lean(lean, int8=True)
    tokens = torch.randint(0, 97, (2, 20), generator=torch.Generator().manual_seed(2))
    cache, theirs = (RollbackCache.for_config(stock.config.text_config) for _ in range(2))
    make_lean(stock)
    with torch.inference_mode():
        hidden = (encode(lean, cache, tokens), encode(stock, theirs, tokens))
        canvas = (decode(lean, cache, tokens, None, None), decode(stock, theirs, tokens, None, None))
    for ours, reference in (hidden, canvas):
        assert 0.98 < torch.cosine_similarity(ours.flatten(), reference.flatten(), 0) < 1


def test_eight_bits_are_chosen_by_default_on_x86_without_bfloat16(monkeypatch, model):
    def chosen(dtype, wanted, capability):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        return multiplies_in_int8(EngineSettings(dtype=wanted), dtype)

    if torch.backends.mkldnn.is_available():
        assert chosen("float32", "auto", "AVX2")
    assert not chosen("float32", "float32", "AVX2")
    assert not chosen("bfloat16", "auto", "AVX512")
    assert not chosen("float32", "auto", "DEFAULT")
    assert not make_lean(copy.deepcopy(model), int8=True)  # a mixture stays as it is


def test_float32_is_kept_when_the_settings_ask_for_it():
    assert load(EngineSettings(dtype="float32", device="cpu")).number_format == "float32"


def test_a_small_model_takes_one_thread_unless_told_otherwise():
    assert cpu_threads(None, 6_000_000) == cpu_threads(None, 0) == 1
    assert cpu_threads(3, 6_000_000) == 3
    assert 1 <= cpu_threads(None, 25_000_000) <= 8

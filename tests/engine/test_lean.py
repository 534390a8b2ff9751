"""The shortcuts give what the class gives."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import DynamicCache

from palimpsest_engine.cache import RollbackCache
from palimpsest_engine.checkpoint import cpu_threads
from palimpsest_engine.lean import GROUPED, make_lean
from palimpsest_engine.passes import encode
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
def test_encoder_and_decoder_are_those_of_the_class(model, experts, past, new):
    stock = one_expert() if experts == "one" else model
    lean = copy.deepcopy(stock)
    make_lean(lean)
    assert lean.config._attn_implementation == GROUPED
    tokens = torch.randint(0, 97, (2, past + new), generator=torch.Generator().manual_seed(past + new))
    cache, theirs = RollbackCache.for_config(lean.config.text_config), DynamicCache(config=stock.config.text_config)
    canvas = torch.randint(0, 97, (2, 8), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        if past:
            encode(lean, cache, tokens[:, :past])
        hidden = encode(lean, cache, tokens[:, past:])
        whole = stock.model.encoder(input_ids=tokens, past_key_values=theirs).last_hidden_state
        torch.testing.assert_close(hidden, whole[:, past:], atol=2e-5, rtol=1e-4)
        ours = lean(decoder_input_ids=canvas, past_key_values=cache).logits
        reference = stock(decoder_input_ids=canvas, past_key_values=theirs).logits
        torch.testing.assert_close(ours, reference, atol=5e-5, rtol=1e-4)


def test_a_small_model_takes_one_thread_unless_told_otherwise():
    assert cpu_threads(None, 6_000_000) == 1
    assert cpu_threads(3, 6_000_000) == 3
    assert 1 <= cpu_threads(None, 25_000_000) <= 8

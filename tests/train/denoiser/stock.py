"""A tiny random model of transformers' Qwen2, and the same weights as the trainer has them."""

from __future__ import annotations

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from palimpsest_train.denoiser.base import Base, Layer, Shape

VOCABULARY, MASK = 300, 299


def stock_model():
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        rope_parameters={"rope_theta": 1e6, "rope_type": "default"},
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    )
    model = Qwen2ForCausalLM(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.normal_(0, 0.2)
    return model


def as_base(model, sha256="stock"):
    def joined(block, names, kind="weight"):
        return torch.cat([getattr(getattr(block, f"{name}_proj"), kind) for name in names])

    layers = [
        Layer(
            layer.input_layernorm.weight,
            joined(layer.self_attn, "qkv"),
            joined(layer.self_attn, "qkv", "bias"),
            layer.self_attn.o_proj.weight,
            layer.post_attention_layernorm.weight,
            joined(layer.mlp, ("gate", "up")),
            layer.mlp.down_proj.weight,
        )
        for layer in model.model.layers
    ]
    inner, ids = model.model, np.arange(VOCABULARY)
    shape = Shape(3, 64, 4, 2, 16, 128)
    return Base(shape, layers, inner.norm.weight, inner.embed_tokens.weight, model.lm_head.weight, ids, MASK, sha256)

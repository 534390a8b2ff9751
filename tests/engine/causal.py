"""Tiny left-to-right models of the real classes, with a tokenizer that was taught to fill in the middle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from palimpsest_engine.checkpoint.gguf.tokenizer import qwen_tokenizer
from palimpsest_engine.model.families import CAUSAL

CONTROLS = (
    "<|endoftext|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
}


def tokenizer() -> Any:
    """Every byte, two merges, and Qwen's control tokens."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return qwen_tokenizer([*letters, "re", "ret", *CONTROLS], ["r e", "re t"], CONTROLS)


def model_of(kind: str, seed: int = 0, vocabulary: int | None = None) -> Any:
    """Random weights, far enough from initialisation that attention matters."""
    torch.manual_seed(seed)
    more = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=vocabulary or tokenizer().get_vocab_size() + 3,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
        **SIZES,
        **(more if kind == "gemma3_text" else {}),
    )
    model = getattr(transformers, CAUSAL[kind])(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def write_model(folder: Path, kind: str = "qwen2", seed: int = 0) -> Path:
    """A folder as it is downloaded: config, safetensors, tokenizer."""
    model_of(kind, seed).save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    assert json.loads((folder / "config.json").read_text("utf-8"))["model_type"] == kind
    return folder

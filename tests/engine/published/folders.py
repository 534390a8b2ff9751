"""Write checkpoint folders as the authors of published diffusion coders do, around tiny random models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tests.engine.causal import CONTROLS, model_of
from tokenizers import pre_tokenizers

from palimpsest_engine.checkpoint.bpe_tokenizer import tokenizer_in

TEXT = (*sorted(pre_tokenizers.ByteLevel.alphabet()), "re", "ret")
MERGES = "#version: 0.2\nr e\nre t\n"
ORDINARY = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>")
BLOCK_MASK, BEGINS, MASK, M, GROW = (
    "<|MASK|>",
    "<|beginoftext|>",
    "<|mask|>",
    "<M>",
    len(TEXT) + len(CONTROLS) + 3,
)  # no token has the last


KINDS = ("Open-dCoder", "Dream", "DreamOn", "SDAR")
HEAD, ATTENTION = 1.5, 3.0


def write(folder: Path, name: str, seed: int = 0, **changed: Any) -> Path:
    """Write a folder of `Open-dCoder`, `Dream`, `DreamOn` or `SDAR`; changed: more keys of its config.json."""
    dream = name in ("Dream", "DreamOn")
    added = [*CONTROLS, BEGINS, MASK] if dream else [*CONTROLS, M if name == "Open-dCoder" else BLOCK_MASK]
    numbers = {token: len(TEXT) + i for i, token in enumerate(added)}
    model = model_of("qwen3" if name == "SDAR" else "qwen2", seed, vocabulary=len(TEXT) + len(added) + 4)
    # Flat enough that no entropy is exactly 0, and no two masks alike: ties are for nobody to break.
    with torch.no_grad():
        model.lm_head.weight.mul_(HEAD)
        if name == "DreamOn":  # often, so that a test sees it
            model.lm_head.weight[[GROW, numbers["<|endoftext|>"]]] *= 1.7
        for layer in model.model.layers:
            for each in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.o_proj):
                each.weight.mul_(ATTENTION)
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    named: dict[str, Any] = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "mask_token": {"content": M}}
    generation: dict[str, Any] = {"eos_token_id": numbers["<|endoftext|>"]}
    if dream:
        config |= {
            "model_type": "Dream",
            "architectures": ["DreamModel"],
            "mask_token_id": numbers[MASK],
            "auto_map": {"AutoModel": "modeling_dream.DreamModel"},
        }
        named |= {"bos_token": BEGINS, "mask_token": MASK}
        generation |= {"mask_token_id": None, **({"expand_token_id": GROW} if name == "DreamOn" else {})}
    elif name == "SDAR":
        config |= {
            "model_type": "sdar",
            "architectures": ["SDARForCausalLM"],
            "mask_token_id": numbers[BLOCK_MASK],
            "block_size": 4,
            "attn_implementation": "flex_attention",
            "auto_map": {"AutoModelForCausalLM": "modeling_sdar.SDARForCausalLM"},
        }
        named |= {"mask_token": BLOCK_MASK}
    else:
        config |= {"auto_map": {"AutoModelForCausalLM": "modeling_qwen2.Qwen2ForCausalLM"}, "trust_remote_code": True}
    files = {
        "config.json": {**config, **changed},
        "generation_config.json": generation,
        "vocab.json": {token: i for i, token in enumerate(TEXT)},
        "tokenizer_config.json": {
            "tokenizer_class": "DreamTokenizer" if dream else "Qwen2Tokenizer",
            "added_tokens_decoder": {
                str(number): {"content": token, "special": token not in ORDINARY, "normalized": False}
                for token, number in numbers.items()
            },
            **named,
        },
    }
    for file, value in files.items():
        (folder / file).write_text(json.dumps(value), "utf-8")
    (folder / "merges.txt").write_text(MERGES, "utf-8")
    (folder / "modeling_dream.py").write_text("raise SystemExit('code of a checkpoint was run')\n", "utf-8")
    if name == "SDAR":  # has a tokenizer.json, too
        tokenizer_in(folder).save(str(folder / "tokenizer.json"))
    return folder

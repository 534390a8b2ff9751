"""A tiny random model of the real class, and a tiny checkpoint folder around one; no trained weights."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports triton: kernels on the CPU

from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import DiffusionGemmaGenerationConfig

from palimpsest_engine.checkpoint.load import Checkpoint, load
from palimpsest_engine.checkpoint.spec import Denoising, denoising_too
from palimpsest_engine.engine import EngineSettings
from palimpsest_engine.model.canvas import CanvasAdapter, give_canvas
from palimpsest_engine.model.layers import TOKEN_VISION
from palimpsest_train.tokenizer import BOS, EOS, FILLER, PAD, PREFIX, SUFFIX, new_tokenizer

from .causal import write_model

torch.set_num_threads(1)  # tiny tensors: a second thread only waits
WINDOW = 9


def tiny(vocabulary: int = 97, canvas: int = 12, seed: int = 1) -> DiffusionGemmaForBlockDiffusion:
    """Random weights: sliding and full layers, a real mixture of experts, a window shorter than the tests' contexts."""
    torch.manual_seed(seed)
    config = DiffusionGemmaConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "global_head_dim": 24,
            "num_global_key_value_heads": 1,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
            "sliding_window": WINDOW,
            "max_position_embeddings": 1024,
            "num_experts": 4,
            "top_k_experts": 2,
            "moe_intermediate_size": 16,
            "pad_token_id": PAD,
            "eos_token_id": EOS,
            "bos_token_id": BOS,
        },
        vision_config=dict(TOKEN_VISION),
        canvas_length=canvas,
        boi_token_id=vocabulary + 1,
        eoi_token_id=vocabulary + 2,
        image_token_id=vocabulary + 3,
    )
    model = DiffusionGemmaForBlockDiffusion(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Far enough from initialisation that attention and routing matter.
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.generation_config = DiffusionGemmaGenerationConfig(pad_token_id=PAD, bos_token_id=BOS)
    return model


@pytest.fixture(scope="session")
def model() -> DiffusionGemmaForBlockDiffusion:
    return tiny()


DEMO = Path(__file__).parents[2] / "fixtures" / "demo"
SAMPLES = [DEMO / f"{name}.py" for name in ("inventory", "shelf", "temperatures")]


def write_checkpoint(folder: Path) -> Path:
    """A loadable checkpoint folder with a byte-level tokenizer of 400 entries and random weights."""
    tokenizer = new_tokenizer([path.read_text("utf-8") for path in SAMPLES], 400)
    tiny(vocabulary=tokenizer.get_vocab_size(), canvas=24).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    spec = {
        "name": "tiny",
        "dialect": "fim",
        "filler": FILLER,
        "bos_id": BOS,
        "suffix_id": SUFFIX,
        "prefix_id": PREFIX,
        "context": 128,
        "suffix": 40,
        "canvas": 24,
        "pins": 8,
        "hole_sizes": [2, 4, 8],
        "sampling": {"max_steps": 4},
    }
    (folder / "palimpsest.json").write_text(json.dumps(spec), "utf-8")
    return folder


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="session")
def checkpoint(checkpoint_folder: Path) -> Checkpoint:
    return load(EngineSettings(str(checkpoint_folder), device="cpu", dtype="float32"))


@pytest.fixture(scope="session")
def denoising_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A left-to-right model with a canvas: its rows for the mask and the filler are drawn, as nobody has trained them."""
    folder = write_model(tmp_path_factory.mktemp("denoiser") / "model")
    loaded = load(EngineSettings(str(folder), device="cpu", dtype="float32"))
    model, filler = loaded.model, loaded.tokenizer.token_to_id("<|fim_pad|>")
    mask = loaded.tokenizer.get_vocab_size()  # an id of the model's that no token has
    drawn = torch.randn(3, model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    give_canvas(model, CanvasAdapter(rows_in={mask: drawn[0], filler: drawn[1]}, rows_out={filler: drawn[2]}))
    how = Denoising("mask", mask, shift=True, conditioned=False, revises=False)
    spec = replace(loaded.spec, context=128, suffix=40, written=8, written_in_line=8)
    return replace(loaded, spec=replace(denoising_too(spec, how, filler, (2, 4, 16), (4, 8)), fresh="denoised"))

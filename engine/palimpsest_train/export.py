"""Writes a trained run as a plain Hugging Face checkpoint with its description, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    DiffusionGemmaGenerationConfig,
    EntropyBoundSamplerConfig,
)

from palimpsest_engine.spec import SPEC_FILE, Sampling, Spec
from palimpsest_train.data import SIZES
from palimpsest_train.model import Shape, build
from palimpsest_train.tokenizer import BOS, EOS, FILLER, PAD, PREFIX, SUFFIX

# Chosen on held-out packages (docs/training.md): more steps, other temperatures and bounds gained nothing measurable.
SAMPLING = Sampling(max_steps=8, t_min=0.2, t_max=0.6, entropy_bound=0.5, stability=1, confidence=0.1)
PRUNE = ((3, 2),)


def export(
    run: Path, corpus: Path, out: Path, name: str, sampling: Sampling = SAMPLING, length_power: float = 0.7
) -> None:
    """`config.json`, `model*.safetensors` (bfloat16, shards of at most 15 MB), `tokenizer.json`, `palimpsest.json`."""
    recipe: dict[str, Any] = json.loads((run / "recipe.json").read_text("utf-8"))
    tokenizer = Tokenizer.from_file(str(corpus / "tokenizer.json"))
    shape = replace(Shape(**recipe["shape"]), vocabulary=tokenizer.get_vocab_size())
    model = build(shape, recipe["seed"])
    model.load_state_dict(torch.load(run / "state.pt", weights_only=True)["model"])
    model = model.to(torch.bfloat16)
    model.generation_config = DiffusionGemmaGenerationConfig(
        max_new_tokens=shape.canvas,
        max_denoising_steps=sampling.max_steps,
        sampler_config=EntropyBoundSamplerConfig(sampling.entropy_bound),
        t_min=sampling.t_min,
        t_max=sampling.t_max,
        stability_threshold=sampling.stability,
        confidence_threshold=sampling.confidence,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        folder = Path(temporary) / "checkpoint"
        model.save_pretrained(folder, max_shard_size="15MB")
        shutil.copyfile(corpus / "tokenizer.json", folder / "tokenizer.json")
        spec = Spec(
            name=name,
            dialect="fim",
            languages=("python",),
            filler=FILLER,
            bos_id=BOS,
            suffix_id=SUFFIX,
            prefix_id=PREFIX,
            context=recipe["row"]["context"],
            suffix=recipe["row"]["context"] // 3,
            canvas=recipe["row"]["canvas"],
            pins=8,
            hole_sizes=SIZES,
            prune=PRUNE,
            length_power=length_power,
            sampling=sampling,
            sha256={p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("*.safetensors"))},
        )
        (folder / SPEC_FILE).write_text(json.dumps(asdict(spec), indent=1) + "\n", "utf-8")
        for path in folder.iterdir():
            path.chmod(0o644)  # the library leaves the weights readable by their owner only
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)

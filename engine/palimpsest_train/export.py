"""Write a trained run as a plain Hugging Face checkpoint with its description, whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch
from transformers import DiffusionGemmaForBlockDiffusion
from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
    DiffusionGemmaGenerationConfig,
    EntropyBoundSamplerConfig,
)

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.header import digest
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.spec import SPEC_FILE, Spec
from palimpsest_engine.errors import PalimpsestError
from palimpsest_train.errors import TrainingError
from palimpsest_train.model import build
from palimpsest_train.recipe import PROFILES, Described, Recipe, with_vocabulary
from palimpsest_train.splits import fingerprint, read_tokenizer
from palimpsest_train.state import read_state, recipes, why
from palimpsest_train.tokenizer import BOS, EOS, FILLER, PAD, PREFIX, SUFFIX

SHARD = "15MB"


def export(run: Path, corpus: Path, out: Path, name: str | None = None, described: Described | None = None) -> None:
    """Write `config.json`, `model*.safetensors` (bfloat16, shards of at most 15 MB), `tokenizer.json`, `palimpsest.json`.

    What the description says is `described`, or what the run's own recipe says: sampling is often chosen after training.
    The checkpoint is loaded as the engine loads it before it takes the place of an older one. Raises `TrainingError`;
    then nothing has changed.
    """
    recipe = recipes(run)[-1][1]
    said = described or recipe.checkpoint
    said = replace(said, name=name or said.name)
    recipe = replace(recipe, checkpoint=said)
    if recipe.objective == "left-to-right" and out.resolve() == EMBEDDED.resolve():
        raise TrainingError("A left-to-right control is not for the engine to run by default; give another --out.")
    if out.exists() and not (out.is_dir() and ((out / "config.json").exists() or not any(out.iterdir()))):
        raise TrainingError(f"{out} is there and is no checkpoint; it is left as it is. Give another --out.")
    model = trained(run, corpus, recipe)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as temporary:
            folder = Path(temporary) / "checkpoint"
            model.save_pretrained(folder, max_shard_size=SHARD)
            shutil.copyfile(corpus / "tokenizer.json", folder / "tokenizer.json")
            (folder / SPEC_FILE).write_text(json.dumps(asdict(spec(recipe, folder)), indent=1) + "\n", "utf-8")
            for path in folder.iterdir():
                path.chmod(0o644)  # the library leaves the weights readable by their owner only
            load(EngineSettings(str(folder.absolute()), device="cpu", dtype="float32"))
            if out.exists():
                out.rename(Path(temporary) / "before")
            folder.rename(out)
    except PalimpsestError as error:
        raise TrainingError(f"The checkpoint that was written does not load, and was not kept: {error}") from error
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__name__ != "SafetensorError":
            raise
        raise TrainingError(f"The checkpoint could not be written to {out}: {why(error)}.") from error


def trained(run: Path, corpus: Path, recipe: Recipe) -> DiffusionGemmaForBlockDiffusion:
    """Return the run's model in bfloat16: the average of its weights where it kept one."""
    tokenizer, state = read_tokenizer(corpus), read_state(run)
    if state.get("fingerprint") not in (None, fingerprint(tokenizer)):
        raise TrainingError(f"{run} was trained with another tokenizer than the one in {corpus}.")
    model = build(with_vocabulary(recipe, tokenizer.get_vocab_size()).shape, recipe.seed)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise TrainingError(f"The weights in {run} are of another shape than its recipe's.") from error
    if state.get("average"):
        model.load_state_dict(state["average"]["weights"], strict=False)
    model.to(torch.bfloat16)  # type: ignore[arg-type]  # the library wraps it without its types
    sampling = recipe.checkpoint.sampling
    assert sampling.entropy_bound is not None, "the class knows no other rule"
    model.generation_config = DiffusionGemmaGenerationConfig(
        max_new_tokens=recipe.row.canvas,
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
    return model


def spec(recipe: Recipe, folder: Path) -> Spec:
    """Describe the checkpoint in `folder`."""
    described = recipe.checkpoint
    return Spec(
        name=described.name,
        dialect="fim",
        languages=described.languages,
        filler=FILLER,
        bos_id=BOS,
        suffix_id=SUFFIX,
        prefix_id=PREFIX,
        context=recipe.row.context,
        suffix=recipe.row.context // 3,
        canvas=recipe.row.canvas,
        pins=described.pins,
        hole_sizes=recipe.row.sizes,
        line_sizes=described.line_sizes,
        tries=described.tries,
        causal_candidates=described.causal_candidates,
        blank_line_candidates=described.blank_line_candidates,
        steps_by_size=described.steps_by_size,
        prune=described.prune,
        length_power=described.length_power,
        left_to_right=recipe.objective == "left-to-right",
        sampling=described.sampling,
        profiles=PROFILES,
        sha256={p.name: digest(p) for p in sorted(folder.glob("*.safetensors"))},
    )

"""Describe published open diffusion coders, whose files name code of their own and say nothing of how they denoise.

Their weights are those of stock classes, tensor for tensor. So the code that they name is never run: their config is
translated to the stock class's, and what their authors' samplers do is written down here as data. Torch-free.

The table says what the published rules are, as far as `Denoising` and `Sampling` have words for them. They have none for
these: Open-dCoder keeps the token of a slot that is accepted again; Dream-Coder's schedule truncates, and so runs one slot
behind an even one; DreamOn settles exactly one slot a step, bounds the length, and lets all masks right of a deleted slot go
with it; SDAR reads and denoises in blocks of four. The three that read both sides have the canvas between them, in reading
order, and no control tokens but the first and the last token of a text; the nearest dialect is `fim`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from palimpsest_engine.checkpoint.spec import Denoising, Sampling, Spec
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint

# Keys that a stock class knows, and that decide what it computes. All others of a published config are dropped: they are for
# training, or name code; if they stood for further layers, the tensors would not fit.
_KEPT = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "tie_word_embeddings",
    "attention_bias",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)
# What a stock class would compute otherwise than these, or their authors' code not at all.
_REFUSED = ("rope_scaling", "use_sliding_window", "use_mrope", "quantization_config", "use_time_embedding")


@dataclass(frozen=True, slots=True)
class Published:
    """A published model. architecture, model_type: as its config names them. stock: the `model_type` of the class that has
    the same tensors. named: its tokenizer has a mask token by name, unlike that of the stock model. grows: its generation
    config has ids by which a slot grows and goes. text_begins: the token that its authors put before every text.
    """

    name: str
    architecture: str
    model_type: str
    stock: str
    spec: Spec
    named: bool = False
    grows: bool = False
    text_begins: str | None = None


_SIDES = Spec(
    "", dialect="fim", bos_id=None, context=2048, suffix=512, excerpts=0, canvas=64, hole_sizes=(4, 8, 16, 32, 64)
)
_READS_ALL = Denoising("mask", shift=True, context="both", conditioned=False, revises=False)
_ONE_A_STEP = ((4, 4), (8, 8), (16, 16), (32, 32))

PUBLISHED = (
    # github.com/pengzhangzhi/Open-dLLM: `p2`, as eval/eval_infill/run_eval.sh runs it. Entropy never falls below 0, so that
    # it goes through all steps.
    Published(
        "Open-dCoder",
        "Qwen2ForCausalLM",
        "qwen2",
        "qwen2",
        replace(
            _SIDES,
            denoising=replace(_READS_ALL, revises=True),
            sampling=Sampling(64, 0.6, 0.6, None, confidence=0.0, linear_to=1e-3, by="probability", top_p=0.95),
        ),
        named=True,
    ),
    # github.com/DreamLM/DreamOn: `entropy`, one slot a step, as eval/eval_humaneval_infilling.sh runs it, from four slots on.
    # A bound of no entropy accepts the most certain slot, and those of no entropy at all.
    Published(
        "DreamOn",
        "DreamModel",
        "Dream",
        "qwen2",
        replace(
            _SIDES,
            hole_sizes=(4,),
            denoising=_READS_ALL,
            sampling=Sampling(256, 0.2, 0.2, 0.0, by="entropy", top_p=0.9),
        ),
        grows=True,
        text_begins="<|beginoftext|>",
    ),
    # github.com/DreamLM/Dream-Coder: `entropy` with as many steps as slots, as its README runs it. The lengths are those at
    # which DreamOn's authors compare it.
    Published(
        "Dream",
        "DreamModel",
        "Dream",
        "qwen2",
        replace(
            _SIDES,
            steps_by_size=_ONE_A_STEP,
            denoising=_READS_ALL,
            sampling=Sampling(64, 0.1, 0.1, None, linear_to=1e-3, by="entropy", top_p=0.95),
        ),
        text_begins="<|beginoftext|>",
    ),
    # github.com/JetAstra/SDAR: `low_confidence_dynamic` of generate.py; the steps are those of a block of four. It was taught
    # to write on, and sees no more of the text after a hole than a prompt for filling in the middle shows it.
    Published(
        "SDAR",
        "SDARForCausalLM",
        "sdar",
        "qwen3",
        Spec(
            "",
            dialect="taught",
            bos_id=None,
            denoising=replace(_READS_ALL, shift=False, context="causal"),
            sampling=Sampling(4, 1.0, 1.0, None, threshold=0.85, linear_to=1e-3, by="probability"),
        ),
    ),
)


def published(
    config: Mapping[str, Any], names: Mapping[str, Any], generation: Mapping[str, Any] | None = None
) -> Published | None:
    """Return which published model a checkpoint is, by its `config.json`, by what its tokenizer's files name (`mask_token`),
    and by its `generation_config.json`; None if it is none of them."""
    for each in PUBLISHED:
        if config.get("model_type") != each.model_type or each.architecture not in (config.get("architectures") or ()):
            continue
        grows = any(table.get("expand_token_id") is not None for table in (generation or {}, config))
        if (not each.named or names.get("mask_token")) and (grows or not each.grows):
            return each
    return None


def stock_config(model: Published, config: Mapping[str, Any], architectures: Mapping[str, str]) -> dict[str, Any]:
    """Return the config of the stock class that has the tensors of a published model. architectures: by `model_type`.

    Raises UnsupportedCheckpoint for a config by which the published code computes what the stock class does not.
    """
    for key in _REFUSED:
        if config.get(key):
            raise UnsupportedCheckpoint(
                f"The config of this {model.name} checkpoint sets {key}, which this engine cannot run."
            )
    kept = {key: config[key] for key in _KEPT if config.get(key) is not None}
    return {"model_type": model.stock, "architectures": [architectures[model.stock]], **kept}


def spec_of_published(
    model: Published,
    name: str,
    config: Mapping[str, Any],
    names: Mapping[str, Any],
    token_id: Callable[[str], int | None],
    generation: Mapping[str, Any] | None = None,
) -> Spec:
    """Return the description of a published model, with the ids of its files. token_id: of a token's text, or None.

    Raises CheckpointBroken if the files give no id for its masks.
    """
    tables = (generation or {}, config)

    def stated(key: str) -> int | None:
        found = next((table[key] for table in tables if table.get(key) is not None), None)
        return found if type(found) is int else None

    named = names.get("mask_token")
    mask_id = stated("mask_token_id")
    if mask_id is None and isinstance(named, str):
        mask_id = token_id(named)
    size = config.get("vocab_size")
    if mask_id is None or not isinstance(size, int) or not 0 <= mask_id < size:
        raise CheckpointBroken(f"The files of {name} give no id for the masks of a {model.name} model.")
    denoising = replace(model.spec.denoising, mask_id=mask_id)
    if model.grows:
        shrink = stated("delete_token_id")
        shrink = stated("eos_token_id") if shrink is None else shrink  # as it was trained
        denoising = replace(denoising, grow_id=stated("expand_token_id"), shrink_id=shrink)
    begins = token_id(model.text_begins) if model.text_begins is not None else None
    return replace(model.spec, name=name, bos_id=begins, denoising=denoising)

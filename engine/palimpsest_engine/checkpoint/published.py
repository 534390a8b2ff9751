"""Describe published open diffusion coders, whose files name code of their own and say nothing of how they denoise.

Their weights are those of stock classes, tensor for tensor. So the code that they name is never run: their config is
translated to the stock class's, and what their authors' samplers do is written down here as data. Torch-free.

The table says what the published rules are. SDAR writes left to right, in blocks; the three others read both sides with the
canvas between them, and no control tokens but the first and the last token of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from palimpsest_engine.checkpoint.locate import read_json
from palimpsest_engine.checkpoint.spec import Denoising, Sampling, Spec
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint
from palimpsest_engine.model.families import CAUSAL

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
    config has ids by which a slot grows and goes. text_begins, text_ends: the tokens that its authors put before and after
    every text.
    """

    name: str
    architecture: str
    model_type: str
    stock: str
    spec: Spec
    named: bool = False
    grows: bool = False
    text_begins: str | None = None
    text_ends: str | None = None


_SIDES = Spec(
    "",
    dialect="sides",
    bos_id=None,
    context=2048,
    suffix=512,
    excerpts=0,
    canvas=256,
    pins=0,
    hole_sizes=(4, 8, 16, 32, 64),
)
BLOCKS = (2, 4, 8, 16, 32, 64)  # those that pieces of a context can be cut into
_READS_ALL = Denoising("mask", shift=True, context="both", conditioned=False, revises=False)
_ONE_A_STEP = tuple((slots, slots) for slots in range(1, _SIDES.canvas))

PUBLISHED = (
    # github.com/pengzhangzhi/Open-dLLM: `p2`, as eval/eval_infill/run_eval.sh runs it.
    Published(
        "Open-dCoder",
        "Qwen2ForCausalLM",
        "qwen2",
        "qwen2",
        replace(
            _SIDES,
            denoising=replace(_READS_ALL, revises=True, keeps=True),
            sampling=Sampling(64, 0.6, 0.6, None, linear_to=0.0, by="probability", top_p=0.95),
        ),
        named=True,
    ),
    # github.com/DreamLM/DreamOn: `entropy`, one slot a step, as eval/eval_humaneval_infilling.sh runs it, from four slots on.
    Published(
        "DreamOn",
        "DreamModel",
        "Dream",
        "qwen2",
        replace(
            _SIDES,
            canvas=64,
            hole_sizes=(4,),
            denoising=replace(_READS_ALL, shrinks_rest=True, longest=64),
            sampling=Sampling(256, 0.2, 0.2, None, by="entropy", top_p=0.9, each=1),
        ),
        grows=True,
        text_begins="<|beginoftext|>",
        text_ends="<|endoftext|>",
    ),
    # github.com/DreamLM/Dream-Coder: `entropy` with as many steps as slots, as its README runs it. The lengths, and the first
    # and the last token, are those with which DreamOn's authors compare it.
    Published(
        "Dream",
        "DreamModel",
        "Dream",
        "qwen2",
        replace(
            _SIDES,
            steps_by_size=_ONE_A_STEP,
            denoising=_READS_ALL,
            sampling=Sampling(_SIDES.canvas, 0.1, 0.1, None, linear_to=1e-3, by="entropy", top_p=0.95),
        ),
        text_begins="<|beginoftext|>",
        text_ends="<|endoftext|>",
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
            denoises=False,
            bos_id=None,
            excerpts=0,
            hole_sizes=(128,),
            line_sizes=(48,),
            written=128,
            written_in_line=48,
            denoising=replace(_READS_ALL, shift=False, context="causal", block=4),
            sampling=Sampling(4, 1.0, 1.0, None, threshold=0.85, by="probability", each=1),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A published model in a folder, and what its files say. named: roles of tokens in its tokenizer's files."""

    model: Published
    folder: Path
    config: Mapping[str, Any]
    named: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)

    def stock(self) -> dict[str, Any]:
        """Return the config of the stock class that runs it. Raises UnsupportedCheckpoint."""
        return stock_config(self.model, self.config, CAUSAL)

    def spec(self, tokenizer: Any, device: str) -> Spec:
        """Return its description. tokenizer: of its files. device: on a CPU it reads less, as each pass reads all of it.

        Raises CheckpointBroken if the files give no id for its masks, or contradict each other.
        """
        spec = spec_of_published(
            self.model, self.folder.name, self.config, self.named, tokenizer.token_to_id, self.generation
        )
        mask, controls = spec.denoising.mask_id, tokenizer.get_added_tokens_decoder()
        named = self.named.get("mask_token")
        if mask not in controls or (isinstance(named, str) and tokenizer.token_to_id(named) not in (None, mask)):
            raise CheckpointBroken(
                f"The files in {self.folder} contradict each other: the id {mask} for masks is that of the token "
                f"{tokenizer.id_to_token(mask)!r}, and the mask token is {named!r}."
            )
        for number in (spec.denoising.grow_id, spec.denoising.shrink_id):
            if number is not None and number not in controls and tokenizer.id_to_token(number) is not None:
                raise CheckpointBroken(
                    f"The files in {self.folder} contradict each other: {number} is to make a slot grow or go, and is the "
                    f"text {tokenizer.id_to_token(number)!r}."
                )
        if device == "cpu":
            return replace(spec, context=min(spec.context, 1024), suffix=min(spec.suffix, 256))
        return spec


def found_in(folder: Path) -> Found | None:
    """Return the published model in a checkpoint folder, or None. Raises CheckpointBroken for a file that is no JSON."""
    config = read_json(folder / "config.json")
    kinds = [each.model_type for each in PUBLISHED if "auto_map" in config or not each.named]
    if config.get("model_type") not in kinds:
        return None
    named, generation = dict[str, Any](), dict[str, Any]()
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).exists():
            for key, value in read_json(folder / name).items():
                text = value.get("content") if isinstance(value, dict) else value
                if isinstance(text, str):
                    named.setdefault(key, text)
    if (folder / "generation_config.json").exists():
        generation = read_json(folder / "generation_config.json")
    model = published(config, named, generation)
    return None if model is None else Found(model, folder, config, named, generation)


def published(
    config: Mapping[str, Any], names: Mapping[str, Any], generation: Mapping[str, Any] | None = None
) -> Published | None:
    """Return which published model a checkpoint is, by its `config.json`, by what its tokenizer's files name (`mask_token`),
    and by its `generation_config.json`; None if it is none of them."""
    architectures = config.get("architectures")
    if not isinstance(architectures, list):
        return None
    for each in PUBLISHED:
        if config.get("model_type") != each.model_type or each.architecture not in architectures:
            continue
        grows = any(table.get("expand_token_id") is not None for table in (generation or {}, config))
        named = bool(names.get("mask_token")) and "auto_map" in config
        if (named or not each.named) and (grows or not each.grows):
            return each
    return None


def stock_config(model: Published, config: Mapping[str, Any], architectures: Mapping[str, str]) -> dict[str, Any]:
    """Return the config of the stock class that has the tensors of a published model. architectures: by `model_type`.

    Raises UnsupportedCheckpoint for a config by which the published code computes what the stock class does not.
    """
    for key, value in config.items():
        kernels = key.endswith("_implementation") and "/" in str(value)  # of a repository
        if (key in _REFUSED and value) or kernels:
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

    Raises CheckpointBroken if the files give no id for its masks, or one that the model does not have.
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
        for number in (denoising.grow_id, shrink):
            if number is None or not 0 <= number < size or number == mask_id:
                raise CheckpointBroken(
                    f"The files of {name} give {number} for a slot that grows or goes; that is no id of it."
                )
    sampling = model.spec.sampling
    if denoising.block is not None:
        block = stated("block_size") or denoising.block
        if block not in BLOCKS:
            raise UnsupportedCheckpoint(f"{name} denoises in blocks of {block}, which this engine cannot do.")
        denoising, sampling = replace(denoising, block=block), replace(sampling, max_steps=block)
    begins, ends = (token_id(each) if each is not None else None for each in (model.text_begins, model.text_ends))
    return replace(model.spec, name=name, bos_id=begins, eos_id=ends, sampling=sampling, denoising=denoising)

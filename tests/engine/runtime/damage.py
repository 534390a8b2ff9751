"""A stand-in for a published checkpoint, and 21 kinds of damage to its files, all of which load without complaint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion

from palimpsest_engine.model.layers import TOKEN_VISION
from palimpsest_train.tokenizer import BOS, EOS, PAD, new_tokenizer

KINDS = [
    "sliding_attention",
    "sliding_attention",
    "full_attention",
    "sliding_attention",
    "sliding_attention",
    "full_attention",
]
TEXT = "def area(width, height):\n    return width * height\n"
SAMPLES = sorted((Path(__file__).parents[3] / "fixtures" / "demo").glob("*.py"))
HEADS, WIDTH = 4, 64  # query heads, and the hidden size: those of a sliding layer make a square matrix
# These change nothing where there is one expert, or cannot be done.
OF_MIXTURES = (
    "two experts swapped",
    "fewer experts a position",
    "the experts' own scales at their neighbours",
    "wrong router scale",
)
STRENGTH = {"q_norm": 0.5, "k_norm": 0.5, "post_attention": 0.3, "post_feedforward_layernorm.": 0.3}
Tensors = dict[str, Tensor]
DECODER = "model.decoder.layers."


def write_stand_in(folder: Path) -> Path:
    """A small random model of the real class, with a mixture, both kinds of attention, and what a router and scales need."""
    tokenizer = new_tokenizer([path.read_text("utf-8") for path in SAMPLES], 512)
    torch.manual_seed(21)  # with others two experts are as likely, and bfloat16 alone exchanges them: 5 % at a step
    config = DiffusionGemmaConfig(
        text_config={
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": WIDTH,
            "intermediate_size": 96,
            "num_hidden_layers": len(KINDS),
            "num_attention_heads": HEADS,
            "num_key_value_heads": 2,
            "head_dim": WIDTH // HEADS,
            "global_head_dim": 24,
            "num_global_key_value_heads": 1,
            "layer_types": KINDS,
            "sliding_window": 64,
            "max_position_embeddings": 1024,
            "num_experts": 8,
            "top_k_experts": 4,
            "moe_intermediate_size": 32,
            "pad_token_id": PAD,
            "eos_token_id": EOS,
            "bos_token_id": BOS,
        },
        vision_config=dict(TOKEN_VISION),
        canvas_length=32,
        boi_token_id=600,
        eoi_token_id=601,
        image_token_id=602,
    )
    model = DiffusionGemmaForBlockDiffusion(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                spread = 16.0 if "router" in name else 1.0
                parameter.copy_(torch.randn_like(parameter) * spread * parameter.shape[-1] ** -0.5)
            elif "norm" in name or "scale" in name:
                parameter.mul_(1 + torch.randn_like(parameter) * 0.2)
                # As in a trained model a layer adds little to what comes, and logits reach the softcap.
                parameter.mul_(next((factor for part, factor in STRENGTH.items() if part in name), 1.0))
        model.model.decoder.norm.weight.mul_(12.0)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def change(folder: Path, edit: Callable[[Tensors], None]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"format": "pt"})


def configure(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    edit(config)
    path.write_text(json.dumps(config), "utf-8")


def of(place: str, number: int = 1) -> str:
    return f"{DECODER}{number}.{place}"


def exchange(folder: Path, first: str, second: str, *where: Any) -> None:
    """Exchange two tensors, or the same part of both."""

    def edit(tensors: Tensors) -> None:
        kept = tensors[first][where].clone()
        tensors[first][where], tensors[second][where] = tensors[second][where].clone(), kept

    change(folder, edit)


def two_experts_swapped(folder: Path) -> None:
    def edit(tensors: Tensors) -> None:
        for name in ("experts.gate_up_proj", "experts.down_proj"):
            tensors[of(name)][[0, 3]] = tensors[of(name)][[3, 0]]

    change(folder, edit)


def a_transposed_matrix(folder: Path) -> None:
    change(
        folder,
        lambda tensors: tensors.update({of("self_attn.q_proj.weight"): tensors[of("self_attn.q_proj.weight")].T}),
    )


def a_layer_missing(folder: Path) -> None:
    """Layer 4 is gone, and the last one has its number."""

    def edit(tensors: Tensors) -> None:
        for name in [name for name in tensors if ".layers.4." in name]:
            del tensors[name]
        for name in [name for name in tensors if ".layers.5." in name]:
            tensors[name.replace(".layers.5.", ".layers.4.")] = tensors.pop(name)

    def configured(config: dict[str, Any]) -> None:
        text = config["text_config"]
        text["num_hidden_layers"], text["layer_types"] = 5, [*text["layer_types"][:4], text["layer_types"][5]]
        if own := text.get("per_layer_config"):
            own["4"] = own.pop("5")

    change(folder, edit)
    configure(folder, configured)


def scales_off_by_one(folder: Path) -> None:
    """Codes in eight bits, read with the scale of the output beside their own."""

    def edit(tensors: Tensors) -> None:
        weight = tensors[of("experts.down_proj")]
        scales = weight.abs().amax(-1, keepdim=True)
        tensors[of("experts.down_proj")] = weight / scales * scales.roll(1, 1)

    change(folder, edit)


def rotary(folder: Path, kind: str, theta: float) -> None:
    configure(folder, lambda config: config["text_config"]["rope_parameters"][kind].update(rope_theta=theta))


def two_ids_exchanged(folder: Path) -> None:
    """Two signs of the prompt, in the tokenizer alone."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary["("], vocabulary[","] = vocabulary[","], vocabulary["("]
    path.write_text(json.dumps(content), "utf-8")


def one_head_zeroed(folder: Path) -> None:
    def edit(tensors: Tensors) -> None:
        weight = tensors[of("self_attn.o_proj.weight")]
        weight.unflatten(1, (HEADS, -1))[:, 2].zero_()

    change(folder, edit)


def two_layers_swapped(folder: Path) -> None:
    def edit(tensors: Tensors) -> None:
        for name in [name for name in tensors if ".layers.0." in name and "vision" not in name]:
            other = name.replace(".layers.0.", ".layers.1.")
            tensors[name], tensors[other] = tensors[other], tensors[name]

    change(folder, edit)


def scaled(place: str, factor: float, number: int = 1) -> Callable[[Path], None]:
    return lambda folder: change(folder, lambda tensors: tensors[of(place, number)].mul_(factor))


def rolled(place: str) -> Callable[[Path], None]:
    return lambda folder: change(folder, lambda tensors: tensors.update({of(place): tensors[of(place)].roll(1, 0)}))


def rolled_halves(folder: Path) -> None:
    """The two halves of what the experts read with, as another library has them."""

    def edit(tensors: Tensors) -> None:
        weight = tensors[of("experts.gate_up_proj")]
        tensors[of("experts.gate_up_proj")] = weight.roll(weight.shape[1] // 2, 1)

    change(folder, edit)


def text_config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: configure(folder, lambda config: config["text_config"].update(values))


DAMAGE: dict[str, Callable[[Path], None]] = {
    "two experts swapped": two_experts_swapped,
    "a transposed matrix": a_transposed_matrix,
    "a layer missing": a_layer_missing,
    "quantisation scales off by one": scales_off_by_one,
    "wrong RoPE theta, full attention": lambda folder: rotary(folder, "full_attention", 10_000.0),
    "wrong RoPE theta, sliding attention": lambda folder: rotary(folder, "sliding_attention", 1_000_000.0),
    "wrong softcap": text_config(final_logit_softcapping=50.0),
    "two ids exchanged in the tokenizer": two_ids_exchanged,
    "wrong router scale": scaled("router.scale", 2.0),
    "two layers swapped": two_layers_swapped,
    "one head's weights zeroed": one_head_zeroed,
    "the experts' own scales at their neighbours": rolled("router.per_expert_scale"),
    "gate and up exchanged": rolled_halves,
    "keys and values exchanged": lambda folder: exchange(
        folder, of("self_attn.k_proj.weight"), of("self_attn.v_proj.weight")
    ),
    "a norm's weights lost": lambda folder: change(
        folder, lambda tensors: tensors[of("pre_feedforward_layernorm.weight")].fill_(1.0)
    ),
    "fewer experts a position": text_config(top_k_experts=2),
    "a layer's scalar wrong": scaled("layer_scalar", 0.7),
    "nothing told of the step before": lambda folder: change(
        folder, lambda tensors: tensors["model.decoder.self_conditioning.down_proj.weight"].zero_()
    ),
    "a shorter window": text_config(sliding_window=8),
    "another activation": text_config(hidden_activation="silu"),
    "the experts of two layers exchanged": lambda folder: [
        exchange(folder, of(name, 1), of(name, 2)) for name in ("experts.gate_up_proj", "experts.down_proj")
    ],
}

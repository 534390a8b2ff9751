"""Checkpoint folders as others publish them quantised, made of the tiny random model by the libraries of those formats."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme, apply_quantization_config
from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import DiffusionGemmaForBlockDiffusion

# What the makers of the published files leave in 16 bits.
IGNORED = ["lm_head", "re:.*embed.*", "re:.*router.*", "re:.*vision_tower.*", "re:.*self_conditioning.*"]
WEIGHTS = "model.safetensors"


def write_compressed(base: Path, folder: Path, preset: str, **changes: Any) -> Path:
    """Write a checkpoint folder with the weights of `base` in a preset of compressed-tensors, laid out as llm-compressor
    does. changes: of what the preset says of weights."""
    shutil.copytree(base, folder)
    names = load_file(base / WEIGHTS).keys()
    # In bfloat16, as published: so are the scales.
    model: Any = DiffusionGemmaForBlockDiffusion.from_pretrained(base, dtype=torch.bfloat16)
    decoder = model.model.decoder
    for layer in decoder.layers:
        layer.experts = as_maps(layer.experts)
    scheme: QuantizationScheme = preset_name_to_scheme(preset, ["Linear"])
    assert scheme.weights is not None
    scheme.weights = scheme.weights.model_copy(update=changes)
    config = QuantizationConfig(config_groups={"group_0": scheme}, ignore=IGNORED)
    apply_quantization_config(decoder, config)
    for module in decoder.modules():
        if hasattr(module, "weight_scale"):
            calibrate(module, scheme)
    compressor = ModelCompressor.from_pretrained_model(decoder)
    compressor.compress_model(decoder)
    tensors = {f"model.decoder.{name}": tensor for name, tensor in decoder.state_dict().items()}
    tensors |= {name: tensor for name, tensor in model.state_dict().items() if name in names and "encoder" in name}
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
    compressor.update_config(str(folder))
    return folder


def write_modelopt(base: Path, folder: Path) -> Path:
    """Write a checkpoint folder with NVFP4 weights as ModelOpt names their parts; the numbers are compressed-tensors'."""
    write_compressed(base, folder, "NVFP4")
    names = {"weight_packed": "weight", "weight_global_scale": "weight_scale_2", "input_global_scale": "input_scale"}

    def rename(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            module, _, part = name.rpartition(".")
            if part in names:
                tensor = tensors.pop(name)
                tensors[f"{module}.{names[part]}"] = tensor if tensor.dtype == torch.uint8 else (1 / tensor).reshape(())

    edit_weights(folder, rename)
    ours = {"quant_method": "modelopt", "quant_algo": "NVFP4", "producer": {"name": "modelopt"}, "ignore": ["lm_head"]}
    edit_config(folder, lambda found: (found.clear(), found.update(ours)))
    return folder


def write_auto_round(base: Path, folder: Path, group: int = 64) -> Path:
    """Write a checkpoint folder with experts in four bits as AutoRound packs them (`auto_round:auto_gptq`)."""
    shutil.copytree(base, folder)
    tensors = load_file(folder / WEIGHTS)
    for name in [name for name in tensors if ".decoder." in name and name.endswith("experts.gate_up_proj")]:
        module = name.removesuffix(".gate_up_proj")
        gate_up, down = tensors.pop(name), tensors.pop(f"{module}.down_proj")
        for number in range(len(gate_up)):
            parts = dict(zip(("gate_proj", "up_proj"), gate_up[number].chunk(2), strict=True)) | {
                "down_proj": down[number]
            }
            for part, weight in parts.items():
                for leaf, tensor in as_words(weight, group).items():
                    tensors[f"{module}.{number}.{part}.{leaf}"] = tensor
    save_file(tensors, folder / WEIGHTS)
    path = folder / "config.json"
    ours = {"quant_method": "auto-round", "packing_format": "auto_round:auto_gptq", "bits": 4, "group_size": group}
    ours |= {"sym": True, "data_type": "int", "extra_config": {"model.decoder.embed_tokens": {"bits": 16}}}
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"quantization_config": ours}), "utf-8")
    return folder


def as_words(weight: Tensor, group: int) -> dict[str, Tensor]:
    """Return a map `[outputs, inputs]` as symmetric GPTQ words: eight inputs in one, 8 for zero, of which 7 is stored."""
    outputs, inputs = weight.shape
    groups = [each.float() for each in weight.split(group, -1)]
    scales = torch.stack([each.abs().amax(-1) / 7 for each in groups], -1).half()
    levels = [
        (each / scale[:, None]).round().clamp(-8, 7) + 8 for each, scale in zip(groups, scales.float().T, strict=True)
    ]
    shifts = torch.arange(0, 32, 4)
    words = (torch.cat(levels, -1).long().view(outputs, inputs // 8, 8) << shifts).sum(-1)
    zeros = torch.full((len(groups), outputs // 8), 0x77777777, dtype=torch.int32)
    signed = torch.where(words >= 2**31, words - 2**32, words).int()
    return {"qweight": signed.T.contiguous(), "qzeros": zeros, "scales": scales.T.contiguous()}


def as_maps(experts: Any) -> nn.ModuleList:
    """Return a mixture's experts as linear maps of their own."""
    gate_up, down = experts.gate_up_proj.detach(), experts.down_proj.detach()
    return nn.ModuleList(
        nn.ModuleDict(
            {name: linear(each) for name, each in zip(("gate_proj", "up_proj"), both.chunk(2), strict=True)}
            | {"down_proj": linear(last)}
        )
        for both, last in zip(gate_up, down, strict=True)
    )


def linear(weight: Tensor) -> nn.Linear:
    """Return a linear map of these weights."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    made.weight.data = weight.clone()
    return made


def calibrate(module: Any, scheme: QuantizationScheme) -> None:
    """Set the scales of one map as the library's usual observer would: by its largest weights."""
    weights, args = module.weight.detach(), scheme.weights
    assert args is not None
    rows = weights.unflatten(-1, (-1, args.group_size)) if args.group_size else weights
    least, most = rows.amin(-1), rows.amax(-1)
    if args.strategy == "tensor":
        least, most = least.amin(), most.amax()
    whole = None
    if hasattr(module, "weight_global_scale"):
        whole = generate_gparam(weights.amin(), weights.amax())
        module.weight_global_scale.data = whole.reshape(module.weight_global_scale.shape)
    scales, _ = calculate_qparams(least, most, args, global_scale=whole)
    module.weight_scale.data = scales.reshape(module.weight_scale.shape).to(module.weight_scale.dtype)


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the tensors of a folder."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def edit_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a folder's config says of how its weights are quantised."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    change(config["quantization_config"])
    path.write_text(json.dumps(config), "utf-8")


def plain_copy(base: Path, folder: Path, weights: Mapping[str, Tensor]) -> Path:
    """Write the checkpoint of `base` with other weights of the class's names, not quantised."""
    shutil.copytree(base, folder)
    save_file(dict(weights), folder / WEIGHTS, metadata={"format": "pt"})
    return folder

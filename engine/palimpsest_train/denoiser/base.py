"""The frozen base: its raw blocks cut out of a GGUF file, and those blocks as weights. Trains nothing.

`cut` keeps every layer's blocks as they are stored and the embedding rows of some ids, so that what is trained against is
exactly what a user's GGUF file dequantises to. `gguf` is needed to cut, and not where the cut file is read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from torch import Tensor

from palimpsest_train.denoiser.blocks import dequantise
from palimpsest_train.denoiser.tokens import new_tokenizer
from palimpsest_train.errors import TrainingError

FIRST_SPARE = 151_665  # the first id of Qwen2.5-Coder that no token has
PLACES = ("input", "output")


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a Qwen2 model."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head: int
    mlp: int
    theta: float = 1e6
    eps: float = 1e-6


@dataclass(slots=True)
class Layer:
    """Weights of one layer, `[out, in]`; queries, keys and values are one matrix, gate and up another."""

    input_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    out: Tensor
    post_norm: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(slots=True)
class Base:
    """All weights. embed, unembed: `[V, hidden]`, one row an id of `ids [V]`; sha256: of the whole GGUF file."""

    shape: Shape
    layers: list[Layer]
    norm: Tensor
    embed: Tensor
    unembed: Tensor
    ids: np.ndarray
    mask: int
    sha256: str


def tokenizer_of(gguf_file: Path) -> Tokenizer:
    """Read the tokenizer that a GGUF file describes. Raises TrainingError if it is not Qwen2's kind."""
    fields = _reader(gguf_file).fields
    if fields["tokenizer.ggml.pre"].contents() != "qwen2":
        raise TrainingError(f"The tokenizer of {gguf_file} is not of Qwen2's kind.")
    tokens, kinds = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.token_type"].contents()
    used = tokens[:FIRST_SPARE]
    special = [token for token, kind in zip(used, kinds, strict=False) if kind in (3, 4)]  # control, user defined
    return new_tokenizer(used, fields["tokenizer.ggml.merges"].contents(), special)


def cut(gguf_file: Path, out: Path, ids: np.ndarray, mask: int = FIRST_SPARE) -> Shape:
    """Write the raw blocks of a Qwen2 GGUF file as safetensors, with the embedding rows of these ids only."""
    reader = _reader(gguf_file)
    fields = reader.fields

    def number(key: str) -> Any:
        return fields[f"qwen2.{key}"].contents()

    if fields["general.architecture"].contents() != "qwen2":
        raise TrainingError(f"{gguf_file} is not of the Qwen2 class.")
    heads, hidden = number("attention.head_count"), number("embedding_length")
    shape = Shape(
        layers=number("block_count"),
        hidden=hidden,
        heads=heads,
        kv_heads=number("attention.head_count_kv"),
        head=hidden // heads,
        mlp=number("feed_forward_length"),
        theta=float(number("rope.freq_base")),
        eps=float(np.float32(number("attention.layer_norm_rms_epsilon"))),
    )
    arrays: dict[str, np.ndarray] = {}
    kinds: dict[str, str] = {}
    for tensor in reader.tensors:
        rows = tensor.data.reshape(-1, tensor.data.shape[-1])
        if tensor.name in ("token_embd.weight", "output.weight"):
            rows = rows[ids]
        raw = np.ascontiguousarray(rows)
        arrays[tensor.name] = raw.view(np.uint8).reshape(len(raw), -1)
        kinds[tensor.name] = tensor.tensor_type.name
    with gguf_file.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    note = {"shape": asdict(shape), "kinds": kinds, "mask": mask, "sha256": sha256}
    save_file(arrays | {"ids": ids.astype(np.int32)}, out, {"palimpsest": json.dumps(note)})
    return shape


def read_base(path: Path, device: str, dtype: torch.dtype) -> Base:
    """Read the weights that `cut` wrote, dequantised on the device. Raises TrainingError if the file is none of that kind."""
    try:
        with safe_open(path, "pt", device="cpu") as file:
            note = json.loads((file.metadata() or {})["palimpsest"])
            shape, kinds = Shape(**note["shape"]), note["kinds"]

            def weight(name: str) -> Tensor:
                return dequantise(file.get_tensor(name).to(device), kinds[name]).to(dtype)

            def vector(name: str) -> Tensor:
                return weight(name).reshape(-1)

            layers = [
                Layer(
                    input_norm=vector(f"blk.{i}.attn_norm.weight"),
                    qkv=torch.cat([weight(f"blk.{i}.attn_{n}.weight") for n in "qkv"]),
                    qkv_bias=torch.cat([vector(f"blk.{i}.attn_{n}.bias") for n in "qkv"]),
                    out=weight(f"blk.{i}.attn_output.weight"),
                    post_norm=vector(f"blk.{i}.ffn_norm.weight"),
                    gate_up=torch.cat([weight(f"blk.{i}.ffn_{n}.weight") for n in ("gate", "up")]),
                    down=weight(f"blk.{i}.ffn_down.weight"),
                )
                for i in range(shape.layers)
            ]
            embed = weight("token_embd.weight")
            unembed = weight("output.weight") if "output.weight" in kinds else embed
            ids = file.get_tensor("ids").numpy().astype(np.int64)
            return Base(shape, layers, vector("output_norm.weight"), embed, unembed, ids, note["mask"], note["sha256"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path} is not a base that `cut` wrote: {error}.") from error


def random_base(shape: Shape, ids: np.ndarray, mask: int, device: str, dtype: torch.dtype, seed: int = 0) -> Base:
    """Return untrained weights of a shape, for tests and for measuring speed before the real ones are there."""
    generator = torch.Generator(device).manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return (torch.randn(size, generator=generator, device=device) * 0.02).to(dtype)

    def ones() -> Tensor:
        return torch.ones(shape.hidden, device=device, dtype=dtype)

    wide = (shape.heads + 2 * shape.kv_heads) * shape.head
    layers = [
        Layer(
            ones(),
            draw(wide, shape.hidden),
            draw(wide),
            draw(shape.hidden, shape.heads * shape.head),
            ones(),
            draw(2 * shape.mlp, shape.hidden),
            draw(shape.hidden, shape.mlp),
        )
        for _ in range(shape.layers)
    ]
    rows = draw(len(ids), shape.hidden)
    return Base(shape, layers, ones(), rows, rows, ids, mask, "random")


def _reader(path: Path) -> Any:
    try:
        from gguf import GGUFReader  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise TrainingError("GGUF files are read with the package gguf: pip install gguf.") from error
    try:
        return GGUFReader(path)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be read as a GGUF file: {error}.") from error

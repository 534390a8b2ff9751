"""Read a GGUF file: its architecture as a transformers config, and its tensors by the names and in the layout of that class.

The `gguf` package parses and dequantises. Whatever the file claims is checked against its size first: a header is only text
that somebody wrote. Knows no model.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint

if TYPE_CHECKING:
    from torch import Tensor

MAGIC = b"GGUF"
_MOST_TENSORS, _MOST_FIELDS = 100_000, 100_000
_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_FIRST, _LONGEST = 32, 1 << 16  # keys, and bytes of one, until the architecture has to be named
_STRING = 8
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by its kind
ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}


class GgufFile:
    """An opened GGUF file. Raises CheckpointBroken for a damaged one, UnsupportedCheckpoint for what is not loaded.

    known: the architectures that are loaded, and their classes.
    """

    known: ClassVar[dict[str, str]] = ARCHITECTURES

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_head(path)
        from palimpsest_engine.checkpoint.gguf.reader import QuickReader

        try:
            reader = QuickReader(path)
        except Exception as error:  # the reader checks nothing itself: any exception of NumPy's can come out of it
            raise CheckpointBroken(f"{path} is truncated or its GGUF header is damaged.") from error
        self._fields = reader.fields
        self.architecture = str(self.field("general.architecture", ""))
        if self.architecture not in self.known:
            raise UnsupportedCheckpoint(
                f"{path} is of the architecture {self.architecture or 'unknown'}; of GGUF files this engine loads "
                f"{', '.join((*ARCHITECTURES, 'diffusion-gemma'))}. A llama.cpp server may run it: see the setting endpoint."
            )
        self._tensors = {self._name(tensor.name): tensor for tensor in reader.tensors}
        if len(self._tensors) != len(reader.tensors):
            raise CheckpointBroken(f"{path} holds a tensor twice.")

    def field(self, key: str, default: Any = None) -> Any:
        """Return the value of a metadata key. Raises CheckpointBroken if it is missing and has no default."""
        try:
            return self._fields[key].contents() if key in self._fields else _required(self.path, key, default)
        except (IndexError, ValueError, UnicodeDecodeError) as error:
            raise CheckpointBroken(f"{self.path} has a damaged value for {key}.") from error

    def config(self) -> dict[str, Any]:
        """Return the config as transformers' class wants it. Raises CheckpointBroken for numbers that make no sense."""

        def number(key: str, default: Any = None) -> Any:
            return self.field(f"{self.architecture}.{key}", default)

        if "rope_freqs.weight" in self._tensors or number("rope.scaling.type", "none") not in ("none", ""):
            raise UnsupportedCheckpoint(f"{self.path} scales its rotary positions, which this engine does not do.")
        hidden, heads = number("embedding_length"), number("attention.head_count")
        head = number("attention.key_length", hidden // heads if heads else 0)
        config = {
            "architectures": [ARCHITECTURES[self.architecture]],
            "model_type": self.architecture,
            "vocab_size": self._shape_of("model.embed_tokens.weight")[0],
            "hidden_size": hidden,
            "intermediate_size": number("feed_forward_length"),
            "num_hidden_layers": number("block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": number("attention.head_count_kv", heads),
            "head_dim": head,
            "max_position_embeddings": number("context_length", 32_768),
            "rope_theta": float(number("rope.freq_base", 10_000.0)),
            "rms_norm_eps": float(number("attention.layer_norm_rms_epsilon")),
            "tie_word_embeddings": "lm_head.weight" not in self._tensors,
        }
        for key, value in config.items():
            if isinstance(value, int) and not isinstance(value, bool) and not 0 < value < 2**24:
                raise CheckpointBroken(f"{self.path} has an impossible value: its {key} is {value}.")
        if heads % config["num_key_value_heads"]:
            raise CheckpointBroken(f"{self.path} has {heads} heads in {config['num_key_value_heads']} groups.")
        return config

    @property
    def names(self) -> list[str]:
        """Return the names of all tensors, as the class has them."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape `[outputs, inputs]` or `[N]` without reading it."""
        return self._shape_of(name)

    def whole(self, name: str) -> Tensor:
        """Return a tensor, dequantised to float32, in the class's layout. Raises CheckpointBroken if it is not finite."""
        stored = self._tensors[name]
        tensor = dequantised(self.path, name, stored.data, stored.tensor_type, self._shape_of(name))
        if self.architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            kind = "head_count" if name.endswith("q_proj.weight") else "head_count_kv"
            return as_halves(tensor, int(self.field(f"llama.attention.{kind}")))
        return tensor

    def _shape_of(self, name: str) -> tuple[int, ...]:
        if name not in self._tensors:
            raise CheckpointBroken(f"{self.path} lacks the tensor {name}.")
        return tuple(int(size) for size in reversed(self._tensors[name].shape))

    def _name(self, stored: str) -> str:
        """Return the class's name of a tensor, or the stored one for those that it does not have."""
        if not stored.startswith("blk."):
            return _TOP.get(stored, stored)
        _, number, place, kind = (*stored.split("."), "", "", "")[:4]
        return f"model.layers.{number}.{_LAYER[place]}.{kind}" if place in _LAYER else stored


def dequantised(path: Path, name: str, data: Any, kind: Any, shape: tuple[int, ...]) -> Tensor:
    """Return the blocks of a tensor in a file as float32. Raises CheckpointBroken if they are not finite."""
    import numpy as np
    import torch
    from gguf import dequantize

    try:
        with np.errstate(all="ignore"):  # what is not finite is found below
            values = np.array(dequantize(data, kind), dtype=np.float32, order="C")
    except (NotImplementedError, ValueError) as error:
        raise UnsupportedCheckpoint(f"{path} stores {name} as {kind.name}, which cannot be read here.") from error
    tensor = torch.from_numpy(values.reshape(shape))
    if not bool(torch.isfinite(tensor).all()):
        raise CheckpointBroken(f"{name} in {path} holds numbers that are not finite.")
    return tensor


def architecture_of(path: Path) -> str:
    """Return the architecture that the first keys of a GGUF file name; "" if they do not, or if it is none. Reads no more."""
    try:
        _check_head(path)
        with path.open("rb") as file:
            file.seek(24)
            for _ in range(_FIRST):
                key, kind = _text(file), _number(file, "<I")
                if kind != _STRING:
                    file.seek(_WIDTHS[kind], os.SEEK_CUR)
                elif (value := _text(file)) and key == "general.architecture":
                    return value
    except (CheckpointBroken, UnsupportedCheckpoint, OSError, KeyError, ValueError, struct.error):
        pass
    return ""


def _text(file: BinaryIO) -> str:
    size = _number(file, "<Q")
    if size > _LONGEST:
        raise ValueError
    return file.read(size).decode("utf-8")


def _number(file: BinaryIO, format: str) -> int:
    value: int = struct.unpack(format, file.read(struct.calcsize(format)))[0]
    return value


def as_halves(weight: Tensor, heads: int) -> Tensor:
    """Undo llama.cpp's order of the rows of queries and keys, in which the pairs of a rotation are neighbours; the class has
    the first of all pairs, then the second."""
    rows, inputs = weight.shape
    return weight.view(heads, rows // heads // 2, 2, inputs).transpose(1, 2).reshape(rows, inputs)


def _required(path: Path, key: str, default: Any) -> Any:
    if default is None:
        raise CheckpointBroken(f"{path} lacks the key {key}.")
    return default


def _check_head(path: Path) -> None:
    """Check the first 24 bytes: magic, version, and counts that the file has room for."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(24)
    if head[:4] != MAGIC:
        raise CheckpointBroken(f"{path} is not a GGUF file.")
    if len(head) < 24:
        raise CheckpointBroken(f"{path} is truncated ({size} bytes).")
    version, tensors, fields = struct.unpack("<IQQ", head[4:])
    if version not in (2, 3):
        raise UnsupportedCheckpoint(f"{path} is GGUF of version {version}; this engine reads versions 2 and 3.")
    if not (0 < tensors <= min(_MOST_TENSORS, size // 24) and fields <= min(_MOST_FIELDS, size // 12)):
        raise CheckpointBroken(f"{path} claims {tensors} tensors and {fields} keys, for which it has no room.")

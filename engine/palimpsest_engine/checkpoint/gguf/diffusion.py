"""Read a GGUF file of DiffusionGemma: its config, and its tensors by the names of the class. Knows nothing of fills.

Architecture, keys and names are those of llama.cpp's converter for this class. Keys and queries are in the class's order
there, norms hold the class's numbers, and the gates of the experts come before what they gate.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from palimpsest_engine.checkpoint.gguf.file import GgufFile, dequantised
from palimpsest_engine.checkpoint.rules import shown
from palimpsest_engine.errors import CheckpointBroken, UnsupportedCheckpoint

if TYPE_CHECKING:
    from torch import Tensor

    from palimpsest_engine.model.quantize import Quantised

ARCHITECTURE = "diffusion-gemma"
_ROPE = "rope_freqs.weight"  # of which pairs the layers with full attention rotate; the config has it as a share
_DECODER, _ENCODER = "model.decoder", "model.encoder.language_model"
_TOP = {
    "token_embd.weight": f"{_DECODER}.embed_tokens.weight",
    "output_norm.weight": f"{_DECODER}.norm.weight",
    "output.weight": "lm_head.weight",
    "self_cond_pre_norm.weight": f"{_DECODER}.self_conditioning.pre_norm.weight",
    "self_cond_gate.weight": f"{_DECODER}.self_conditioning.gate_proj.weight",
    "self_cond_up.weight": f"{_DECODER}.self_conditioning.up_proj.weight",
    "self_cond_down.weight": f"{_DECODER}.self_conditioning.down_proj.weight",
}
_LAYER = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
    "post_ffw_norm_1.weight": "post_feedforward_layernorm_1.weight",
    "pre_ffw_norm_2.weight": "pre_feedforward_layernorm_2.weight",
    "post_ffw_norm_2.weight": "post_feedforward_layernorm_2.weight",
    "ffn_gate_inp.weight": "router.proj.weight",
    "ffn_gate_inp.scale": "router.scale",
    "ffn_gate_up_exps.weight": "experts.gate_up_proj",
    "ffn_down_exps.weight": "experts.down_proj",
    "ffn_down_exps.scale": "router.per_expert_scale",
    "layer_output_scale.weight": "layer_scalar",
}
_OF_THE_ENCODER = {"enc_layer_output_scale.weight": "layer_scalar"}
_UNROTATED = 1e29  # what a frequency is divided by for pairs that are not rotated, at least
_MOST = 1 << 24


class DiffusionGguf(GgufFile):
    """An opened GGUF file of DiffusionGemma. Raises CheckpointBroken and UnsupportedCheckpoint."""

    known: ClassVar[dict[str, str]] = {ARCHITECTURE: "DiffusionGemmaForBlockDiffusion"}

    def config(self) -> dict[str, Any]:
        """Return the config as the class wants it. Raises CheckpointBroken for numbers that make no sense."""
        from palimpsest_engine.model.layers import TOKEN_VISION

        for key in ("attention.shared_kv_layers", "embedding_length_per_layer_input"):
            if self._number(key, 0):
                raise UnsupportedCheckpoint(f"{self.path} has {key}, which this engine cannot run.")
        layers = self._whole("block_count")
        sliding = self.field(f"{ARCHITECTURE}.attention.sliding_window_pattern")
        if not isinstance(sliding, list) or len(sliding) != layers or all(sliding) or not any(sliding):
            raise CheckpointBroken(f"{self.path} does not say of each layer whether its attention is sliding or full.")
        heads = self.field(f"{ARCHITECTURE}.attention.head_count_kv")
        heads = heads if isinstance(heads, list) else [heads] * layers
        kinds = {(bool(one), other) for one, other in zip(sliding, heads, strict=False)}
        if len(heads) != layers or len(kinds) != 2:
            raise CheckpointBroken(f"{self.path} has different numbers of key heads in layers of one kind.")
        of_kind = dict(kinds)
        text = {
            "vocab_size": self._shape_of(f"{_DECODER}.embed_tokens.weight")[0],
            "hidden_size": self._whole("embedding_length"),
            "intermediate_size": self._whole("feed_forward_length"),
            "num_hidden_layers": layers,
            "num_attention_heads": self._whole("attention.head_count"),
            "num_key_value_heads": self._checked("attention.head_count_kv", of_kind[True]),
            "num_global_key_value_heads": self._checked("attention.head_count_kv", of_kind[False]),
            "head_dim": self._whole("attention.key_length_swa"),
            "global_head_dim": self._whole("attention.key_length"),
            "layer_types": ["sliding_attention" if each else "full_attention" for each in sliding],
            "sliding_window": self._whole("attention.sliding_window"),
            "max_position_embeddings": self._whole("context_length"),
            "num_experts": self._whole("expert_count"),
            "top_k_experts": self._whole("expert_used_count"),
            "moe_intermediate_size": self._whole("expert_feed_forward_length"),
            "rms_norm_eps": self._fraction("attention.layer_norm_rms_epsilon"),
            "final_logit_softcapping": self._fraction("final_logit_softcapping"),
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": self._fraction("rope.freq_base_swa")},
                "full_attention": {
                    "rope_type": "proportional",
                    "rope_theta": self._fraction("rope.freq_base"),
                    "partial_rotary_factor": self._rotated(),
                },
            },
            "pad_token_id": self._id("padding", 0),
            "eos_token_id": self._id("eos", 1),
            "bos_token_id": self._id("bos", 2),
            "tie_word_embeddings": True,
        }
        canvas = self._checked("diffusion.canvas_length", self.field("diffusion.canvas_length"))
        return {
            "architectures": [self.known[self.architecture]],
            "model_type": "diffusion_gemma",
            "text_config": text,
            "vision_config": dict(TOKEN_VISION),
            "canvas_length": canvas,
        }

    @property
    def names(self) -> list[str]:
        """Return the names of all tensors, as the class has them; the frequencies are in the config."""
        return [name for name in self._tensors if name != _ROPE]

    @property
    def kinds(self) -> frozenset[str]:
        """Return the names of the kinds of blocks in which tensors are stored."""
        return frozenset(tensor.tensor_type.name for tensor in self._tensors.values())

    def part(self, name: str, index: int) -> Tensor:
        """Return one part of a tensor along its first dimension, as `whole` does; nothing else is brought back."""
        stored = self._tensors[name]
        rows = stored.data.reshape(self._shape_of(name)[0], -1, stored.data.shape[-1])[index]
        return dequantised(self.path, name, rows, stored.tensor_type, self._shape_of(name)[1:])

    def _rotated(self) -> float:
        """Return the share of pairs that full attention rotates. Raises UnsupportedCheckpoint for a scaling of them."""
        factors: list[float] = self.whole(_ROPE).flatten().tolist() if _ROPE in self._tensors else []
        rotated = sum(each == 1.0 for each in factors)
        if (
            not rotated
            or any(each != 1.0 for each in factors[:rotated])
            or any(x < _UNROTATED for x in factors[rotated:])
        ):
            raise UnsupportedCheckpoint(
                f"{self.path} scales its rotary positions in a way that this engine does not know."
            )
        return rotated / len(factors)

    def _number(self, key: str, default: Any = None) -> Any:
        return self.field(f"{ARCHITECTURE}.{key}", default)

    def _whole(self, key: str) -> int:
        return self._checked(key, self._number(key))

    def _id(self, role: str, usual: int) -> int:
        value = self.field(f"tokenizer.ggml.{role}_token_id", usual)
        return 0 if value == 0 and type(value) is int else self._checked(f"{role}_token_id", value)

    def _fraction(self, key: str) -> float:
        value = self._number(key)
        if not isinstance(value, int | float) or not 0 < value < 1e12:
            raise CheckpointBroken(f"{self.path} has an impossible value: its {key} is {shown(value)}.")
        return float(value)

    def _checked(self, key: str, value: Any) -> int:
        if type(value) is not int or not 0 < value < _MOST:
            raise CheckpointBroken(f"{self.path} has an impossible value: its {key} is {shown(value)}.")
        return value

    def _name(self, stored: str) -> str:
        if not stored.startswith("blk."):
            return _TOP.get(stored, stored)
        _, number, place = stored.split(".", 2) if stored.count(".") > 1 else ("", "", "")
        if place in _OF_THE_ENCODER:
            return f"{_ENCODER}.layers.{number}.{_OF_THE_ENCODER[place]}"
        return f"{_DECODER}.layers.{number}.{_LAYER[place]}" if place in _LAYER else stored


class GgufSource:
    """Some tensors of a GGUF file (a `weights.Source`), brought back to float32."""

    def __init__(self, file: DiffusionGguf, names: list[str]) -> None:
        self.folder, self.names = file.path, names
        self._file = file

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return self._file.shape(name)

    def whole(self, name: str) -> Tensor:
        """Return the tensor, on the CPU."""
        return self._file.whole(name)

    def part(self, name: str, index: int) -> Tensor:
        """Return one part along its first dimension, on the CPU; nothing else is brought back."""
        return self._file.part(name, index)

    def stored(self, name: str, index: int | None = None) -> Quantised:
        """Return the tensor, or one part of it, brought back: no format of such a file is one of ours."""
        from palimpsest_engine.model.quantize import as_it_is

        return as_it_is(self.whole(name) if index is None else self.part(name, index))

    def unfit(self, kind: str, names: list[str]) -> CheckpointBroken:
        """Return the error for tensors that are missing, unexpected or mismatched."""
        from palimpsest_engine.checkpoint.weights import keys_unfit

        return keys_unfit(self.folder, kind, names)


def open_gguf(path: Path) -> DiffusionGguf:
    """Open a GGUF file of DiffusionGemma. It stays open until `close_gguf`, as reading its vocabulary takes seconds."""
    found = path.stat()
    return _opened(path, found.st_size, found.st_mtime_ns)


def close_gguf() -> None:
    """Forget the file that was opened last: what was read of its keys takes hundreds of megabytes."""
    _opened.cache_clear()


@lru_cache(maxsize=1)
def _opened(path: Path, size: int, changed: int) -> DiffusionGguf:
    return DiffusionGguf(path)

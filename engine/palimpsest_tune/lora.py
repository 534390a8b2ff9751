"""Put LoRA matrices into a model, take them out again, and write them in peft's format. Knows no data.

The class runs one stack of weights twice, as an encoder and as a decoder, through modules of their own that share their
weights. The matrices are put into the decoder's modules, once; `shared` has the encoder's go through those.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from palimpsest_engine.checkpoint.adapter import PREFIX, WEIGHTS_FILE
from palimpsest_engine.errors import PalimpsestError
from palimpsest_server.cli.extras import how_to_install

# Attention and the dense part of each layer; the matrices of experts and of the router stay as they are.
TARGETS = r"model\.decoder\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
_PROJECTIONS = (("self_attn", "q_proj"), ("self_attn", "k_proj"), ("self_attn", "v_proj"), ("self_attn", "o_proj"),
                ("mlp", "gate_proj"), ("mlp", "up_proj"), ("mlp", "down_proj"))  # fmt: skip


def check_installed() -> None:
    """Raise a sentence that says how to install peft, if it is not."""
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise PalimpsestError(
            f"Tuning needs peft, which cannot be imported ({error}): run {how_to_install('peft')}."
        ) from error


def wrapped(model: Any, rank: int, seed: int) -> Any:
    """Return the model with LoRA matrices of this rank in it, the only weights that can be trained, in float32.

    They begin as a change of nothing. The model itself is changed until `unload` is called on what is returned.
    """
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that is going away
        return get_peft_model(model, config)


@contextmanager
def shared(model: Any) -> Iterator[None]:
    """Have the class's encoder go through the decoder's projections, matrices included, while this lasts."""
    before = list[tuple[Any, str, Any]]()
    layers = zip(model.model.encoder.language_model.layers, model.model.decoder.layers, strict=True)
    try:
        for theirs, ours in layers:
            for part, name in _PROJECTIONS:
                before.append((getattr(theirs, part), name, getattr(getattr(theirs, part), name)))
                setattr(getattr(theirs, part), name, getattr(getattr(ours, part), name))
        yield
    finally:
        for part, name, module in before:
            setattr(part, name, module)


def save(tuned: Any, folder: Path, base: str) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors` as peft does, with `base` for the model's name: its path
    on this machine stays private."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    found = get_peft_model_state_dict(tuned)
    matrices = {name: tensor.detach().float().cpu().contiguous() for name, tensor in found.items()}
    assert all(name.startswith(f"{PREFIX}model.decoder.") for name in matrices), "saved while they were shared"
    config = tuned.peft_config["default"]
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(folder)
    save_file(matrices, folder / WEIGHTS_FILE, metadata={"format": "pt"})

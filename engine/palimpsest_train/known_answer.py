"""Record what a checkpoint answers at a known prompt, for `palimpsest doctor --verify`.

The numbers are those of the library's own class in float32. The product's passes take no part in them; they are run to see
how far off each number format is, which decides how far off an answer may be.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from palimpsest_engine import EngineSettings, Quantization
from palimpsest_engine.checkpoint.description import read_spec
from palimpsest_engine.checkpoint.gguf.tokenizer import read_tokenizer
from palimpsest_engine.checkpoint.header import has_mixture, shapes_in
from palimpsest_engine.checkpoint.load import load, read_model
from palimpsest_engine.checkpoint.locate import TOKENIZER, read_json, weight_files
from palimpsest_engine.model.cpu_layers import make_lean
from palimpsest_engine.model.forward import first_layers
from palimpsest_engine.model.moe import MATRICES, paths_of_maps
from palimpsest_engine.model.quantize import EXPERTS, MAPS, dequantised, quantise
from palimpsest_engine.runtime.known_answers import KnownAnswers, Tolerance, read
from palimpsest_engine.runtime.verify import EIGHT_BITS, compare, logits_at
from palimpsest_train.tokenizer import BOS

MARGIN = (
    3.0  # how far off a format may be, in multiples of what was measured here; other machines add up in another order
)
_LEAST = Tolerance(0.9999, 0.9, 0.02, 0.002)  # what is allowed in any case
FUNCTION = "def area(width: float, height: float) -> float:\n    "
QUANTIZATIONS: list[Quantization] = [each for each in get_args(Quantization) if each != "none"]
_RECOGNISED = ("hidden_size", "vocab_size")

Piece = Mapping[str, Any]


def record_embedded(folder: Path, commit: str) -> str:
    """Return the file of known answers of the embedded checkpoint: three of its six layers, all, and a next step."""
    import transformers

    spec, tokenizer = read_spec(folder), read_tokenizer(folder / TOKENIZER)
    prompt: list[Piece] = [{"control": True, "text": tokenizer.id_to_token(BOS)}, {"control": False, "text": FUNCTION}]
    ids = [BOS, *tokenizer.encode(FUNCTION, add_special_tokens=False).ids]
    source = (
        f"recorded by `python -m palimpsest_train known-answer` at commit {commit}: the class of transformers "
        f"{transformers.__version__} in float32, of the weights with the SHA-256 {spec.sha256['model.safetensors']}"
    )
    vocabulary = tokenizer.get_vocab_size()
    known = record(
        folder,
        source,
        prompt,
        ids,
        label=spec.name,
        steps=((3, 1), (None, 1), (None, 2)),
        positions=16,
        ids=range(0, vocabulary, vocabulary // 32),
    )
    return written(known)


def written(known: Mapping[str, Any]) -> str:
    """Return known answers as JSON with a row of numbers a line."""
    text = json.dumps(known, indent=1)
    return re.sub(r"\[\s+(-?\d[^\[\]{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


def record(
    folder: Path,
    source: str,
    prompt: Sequence[Piece],
    prompt_ids: Sequence[int],
    *,
    label: str | None,
    steps: Sequence[tuple[int | None, int]],
    positions: int,
    ids: Sequence[int],
    margin: float = MARGIN,
) -> dict[str, Any]:
    """Return the known answers of a checkpoint, as a file of them has it.

    steps: an answer for each pair (layers, step), as `Answer` has them. positions: of the canvas, from its
    first. ids: whose logits are kept.
    """
    folder = folder.resolve()
    config = read_json(folder / "config.json")
    text = config["text_config"]
    stock = _Stock(folder, prompt_ids, positions, ids)
    known = {
        "name": label or folder.name,
        "source": source,
        "config": {"model_type": config["model_type"], "text_config": {key: text[key] for key in _RECOGNISED}},
        "label": label,
        "prompt": list(prompt),
        "prompt_ids": list(prompt_ids),
        "canvas": config["canvas_length"],
        "answers": [
            {
                "layers": count,
                "step": step,
                "ids": list(ids),
                "logits": stock.logits(count, step),
                "quantised": {each: stock.logits(count, step, each) for each in QUANTIZATIONS},
                "tolerances": {},
            }
            for count, step in steps
        ],
    }
    for number_format, model in in_every_format(folder):
        for raw, found in zip(known["answers"], distances(model, read(known), number_format), strict=True):
            raw["tolerances"][number_format] = dataclasses.asdict(allowed(found, margin))
    return known


def allowed(found: Tolerance, margin: float) -> Tolerance:
    """Return how far off a format may be of which this was measured."""
    return Tolerance(
        round(min(1.0 - (1.0 - found.correlation) * margin, _LEAST.correlation), 6),
        round(min(found.agreement - 0.1, _LEAST.agreement), 2),
        round(max(found.largest * margin, _LEAST.largest), 3),
        round(max(found.deviation * margin, _LEAST.deviation), 5),
    )


class _Stock:
    """The library's own class in float32, with some of its layers, and quantised if asked for."""

    def __init__(self, folder: Path, prompt_ids: Sequence[int], positions: int, ids: Sequence[int]) -> None:
        self._folder, self._positions, self._ids = folder, positions, list(ids)
        self._prompt = torch.tensor([list(prompt_ids)])

    def logits(self, layers: int | None, step: int, quantization: Quantization = "none") -> list[list[float]]:
        """Return the logits `[positions, ids]`."""
        model = self._model(layers)
        with torch.no_grad():
            if quantization != "none":
                for layer in model.model.decoder.layers:
                    for weight in (getattr(layer.experts, name) for name in MATRICES):
                        weight.copy_(dequantised(quantise(weight, EXPERTS[quantization])))
                    for path in paths_of_maps(layer) if quantization in MAPS else ():
                        weight = layer.get_submodule(path).weight
                        weight.copy_(dequantised(quantise(weight, MAPS[quantization])))
            canvas = torch.arange(model.config.canvas_length).unsqueeze(0)
            logits = model(input_ids=self._prompt, decoder_input_ids=canvas).logits
            if step == 2:
                told = {"self_conditioning_logits": logits}
                logits = model(input_ids=self._prompt, decoder_input_ids=canvas, **told).logits
        found: list[list[float]] = logits[0, : self._positions, self._ids].tolist()
        return [[round(each, 3) for each in row] for row in found]

    def _model(self, layers: int | None) -> Any:
        from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion
        from transformers.utils import logging

        logging.set_verbosity_error()  # of weights that a shorter model does not need
        logging.disable_progress_bar()
        config = DiffusionGemmaConfig.from_pretrained(self._folder, local_files_only=True)
        if layers is not None:
            text = config.get_text_config()
            text.layer_types, text.num_hidden_layers = text.layer_types[:layers], layers
        model: Any = DiffusionGemmaForBlockDiffusion.from_pretrained(
            self._folder, config=config, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        return model.eval()


def in_every_format(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the model in each number format of a CPU, as the product loads it."""
    for dtype in ("float32", "bfloat16"):
        yield dtype, load(EngineSettings(str(folder), "cpu", dtype)).model
    for quantization in QUANTIZATIONS:
        yield quantization, load(EngineSettings(str(folder), "cpu", "bfloat16", quantization=quantization)).model
    if not has_mixture(shapes_in(weight_files(folder))):
        model = read_model(folder, "cpu", "float32", "none")
        make_lean(model, int8=True)
        yield EIGHT_BITS, model


def distances(model: Any, known: KnownAnswers, number_format: str) -> Iterator[Tolerance]:
    """Yield how far a model is from each of the known answers."""
    for answer in known.answers:
        with first_layers(model, answer.layers):
            yield compare(logits_at(model, known, answer), answer.known_in(number_format))

"""Measures the error of quantised experts, layer by layer and of the logits; also a command that prints it.

`python -m palimpsest_bench.engine.quantize_error` measures the embedded checkpoint, with `--shape 26b` random weights.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palimpsest_engine.cuda.experts import GELU, by_kernels
from palimpsest_engine.model.moe import MATRICES, QuantisedExperts
from palimpsest_engine.model.quantize import FORMATS, Format


@torch.inference_mode()
def by_layer(model: Any, context: Tensor, canvas: Tensor, formats: Sequence[Format] = FORMATS) -> dict[str, Any]:
    """Compare a model of unquantised experts with itself in each format. The device needs room for both.

    context `[B, T]`, canvas `[B, C]`: token ids. `layers`: for each layer and format, ‖difference‖ / ‖exact‖ of the
    experts' outputs on the inputs of a denoising step. `logits`: for each format, with all layers quantised,
    `relative_error` of the same kind, `kl` in nats a position, and `same_argmax`, the share of positions whose likeliest
    token stays the same. A model in float32 is also compared with its experts in `bfloat16`, as a yardstick.
    """
    layers = model.model.decoder.layers
    seen: dict[int, tuple[Tensor, ...]] = {}
    hooks = [
        layer.experts.register_forward_pre_hook(lambda module, inputs, index=index: seen.update({index: inputs}))
        for index, layer in enumerate(layers)
    ]
    exact = logits_of(model, context, canvas)
    for hook in hooks:
        hook.remove()
    rows: list[dict[str, Any]] = [{"layer": index} for index in range(len(layers))]
    ends: dict[str, dict[str, float]] = {}
    names: tuple[str, ...] = (*formats, "bfloat16") if in_float32(model) else tuple(formats)
    for name in names:
        made = [changed(layer.experts, name) for layer in layers]
        for index, (layer, other) in enumerate(zip(layers, made, strict=True)):
            rows[index][name] = relative(other(*seen[index]), layer.experts(*seen[index]))
        with exchanged(model, made):
            ends[name] = compared(logits_of(model, context, canvas), exact)
        del made
    return {"layers": rows, "logits": ends, "positions": canvas.numel(), "context": context.shape[1]}


def in_float32(model: Any) -> bool:
    """Tell whether the experts' weights are in float32."""
    return bool(model.model.decoder.layers[0].experts.down_proj.dtype == torch.float32)


def logits_of(model: Any, context: Tensor, canvas: Tensor) -> Tensor:
    """Return the logits of a first denoising step, `[B * C, V]` in float32."""
    logits: Tensor = model(input_ids=context, decoder_input_ids=canvas).logits
    return logits.flatten(0, 1).float()


def changed(experts: Any, name: str) -> nn.Module:
    """Return a copy of a layer's experts in a format, or in bfloat16."""
    if name == "bfloat16":
        return InBfloat16(experts)
    made = QuantisedExperts(experts, cast(Format, name), experts.down_proj.device)
    for matrix in MATRICES:
        for index, weight in enumerate(getattr(experts, matrix)):
            made.put(matrix, index, weight)
    if experts.config.hidden_activation == GELU:
        made.grouped = by_kernels(experts.down_proj.device, made.format)
    return made


class InBfloat16(nn.Module):
    """The class's experts with weights and inputs in bfloat16: the yardstick for the formats."""

    def __init__(self, experts: Any) -> None:
        super().__init__()
        self.experts = copy.deepcopy(experts).to(torch.bfloat16)

    def forward(self, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        """Run the experts in bfloat16."""
        out: Tensor = self.experts(hidden.to(torch.bfloat16), index, weights)
        return out.to(hidden.dtype)


@contextmanager
def exchanged(model: Any, made: Sequence[nn.Module]) -> Iterator[None]:
    """Replace the experts of all layers, in encoder and decoder, within the block."""
    stacks = (model.model.encoder.language_model.layers, model.model.decoder.layers)
    before = [[layer.experts for layer in stack] for stack in stacks]
    try:
        for stack in stacks:
            for layer, experts in zip(stack, made, strict=True):
                layer.experts = experts
        yield
    finally:
        for stack, theirs in zip(stacks, before, strict=True):
            for layer, experts in zip(stack, theirs, strict=True):
                layer.experts = experts


def relative(found: Tensor, exact: Tensor) -> float:
    """Return ‖found - exact‖ / ‖exact‖."""
    return float((found.float() - exact.float()).norm() / exact.float().norm())


def compared(found: Tensor, exact: Tensor) -> dict[str, float]:
    """Compare logits `[N, V]` with the exact ones."""
    chances = F.log_softmax(exact, -1)
    return {
        "relative_error": relative(found, exact),
        "kl": float(F.kl_div(F.log_softmax(found, -1), chances, log_target=True, reduction="none").sum(-1).mean()),
        "same_argmax": float((found.argmax(-1) == exact.argmax(-1)).float().mean()),
    }


def windows(tokens: Sequence[int], rows: int, context: int, canvas: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Return contexts and canvases of places spread over a text.

    Every other position of a canvas is redrawn, as in the middle of denoising.
    """
    generator = torch.Generator().manual_seed(0)
    text = torch.tensor(tokens)
    starts = torch.linspace(0, len(text) - context - canvas, rows).long().tolist()
    before = torch.stack([text[start : start + context] for start in starts])
    after = torch.stack([text[start + context : start + context + canvas] for start in starts])
    noise = torch.randint(vocabulary, after.shape, generator=generator)
    return before, torch.where(torch.arange(canvas) % 2 == 0, after, noise)


def as_table(found: dict[str, Any]) -> str:
    """Format the errors in Markdown, in percent except for KL."""
    names = [name for name in found["layers"][0] if name != "layer"]
    lines = ["| layer | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    lines += [
        f"| {row['layer']} | " + " | ".join(f"{100 * row[name]:.2f} %" for name in names) + " |"
        for row in found["layers"]
    ]
    lines += ["", "| format | logits | KL, nats | same token |", "|---|---|---|---|"]
    for name, end in found["logits"].items():
        shown = f"{100 * end['relative_error']:.2f} % | {end['kl']:.2g} | {100 * end['same_argmax']:.1f} %"
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the errors and print them."""
    from palimpsest_bench.engine.random_models import SHAPES, random_model
    from palimpsest_engine.checkpoint.gguf.tokenizer import read_tokenizer
    from palimpsest_engine.checkpoint.load import read_model
    from palimpsest_engine.checkpoint.locate import locate

    parser = argparse.ArgumentParser(
        prog="python -m palimpsest_bench.engine.quantize_error", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", "--checkpoint", dest="checkpoint", help="as for `palimpsest fill` [the chosen one]")
    parser.add_argument("--shape", choices=SHAPES, help="random weights of this shape instead")
    parser.add_argument("--text", type=Path, help="text for contexts and canvases [this package's own code]")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rows", type=int, default=8, help="places in the text")
    parser.add_argument("--context", type=int, default=256, help="tokens before a canvas")
    parser.add_argument("--json", action="store_true", dest="as_json")
    told = parser.parse_args(arguments)
    if told.shape:
        model = random_model(told.shape, told.device, told.dtype)
        vocabulary = model.config.get_text_config().vocab_size
        length = told.rows * (told.context + model.config.canvas_length)
        tokens = torch.randint(vocabulary, (length,), generator=torch.Generator().manual_seed(1)).tolist()
    else:
        folder = locate(told.checkpoint)
        model = read_model(folder, told.device, told.dtype, "none")
        vocabulary = model.config.get_text_config().vocab_size
        places = [told.text] if told.text else sorted(Path(__file__).parents[1].glob("*.py"))
        tokens = (
            read_tokenizer(folder / "tokenizer.json")
            .encode("\n".join(place.read_text("utf-8") for place in places))
            .ids
        )
    context, canvas = windows(tokens, told.rows, told.context, model.config.canvas_length, vocabulary)
    found = by_layer(model, context.to(told.device), canvas.to(told.device))
    print(json.dumps(found) if told.as_json else as_table(found))


if __name__ == "__main__":
    main()

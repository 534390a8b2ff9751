"""Left-to-right models on the device: what their class says on the CPU, and whole fills, each time the same."""

from __future__ import annotations

import pytest
import torch

from engine.causal import model_of, write_model
from gpu.conftest import DEVICE, ON_GPU
from palimpsest_engine import EngineSettings, Fill, FillRequest, Span
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.cuda.backend import prepare_left_to_right
from palimpsest_engine.cuda.kernels.linear import linear
from palimpsest_engine.cuda.linears import by_kernel
from palimpsest_engine.cuda.timing import seconds
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.model.families import CAUSAL
from palimpsest_engine.model.forward import encode, head
from palimpsest_engine.model.prefix_cache import PrefixCache
from palimpsest_engine.model.quantised_linear import PIECE, QuantisedLinear, plain, quantised_linears
from palimpsest_engine.model.quantize import FORMATS, dequantised

pytestmark = pytest.mark.gpu
FORMATTED = str(DEVICE) if ON_GPU else "cpu:0"  # a device on which settings choose the format; to torch it is the CPU
IDS = torch.tensor([[3, 50, 7, 91, 14, 14, 200, 33, 256, 80, 12, 5, 119, 60, 44, 8]])


@pytest.mark.parametrize("kind", sorted(CAUSAL))
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-3), ("bfloat16", 0.08)])
def test_a_model_says_what_its_class_says_on_the_cpu(kind, dtype, most, tmp_path, report):
    model = load(EngineSettings(str(write_model(tmp_path / "model", kind)), device=str(DEVICE), dtype=dtype)).model
    with torch.inference_mode():
        reference = model_of(kind)(IDS).logits[0]
    cache = PrefixCache(model).cache
    pieces = [head(model, encode(model, cache, piece.to(DEVICE)))[0] for piece in torch.split(IDS, [9, 6, 1], dim=1)]
    error = float((torch.cat(pieces).cpu() - reference).norm() / reference.norm())
    report(f"error of {kind} in {dtype}", f"{error:.2g}")
    assert error < most


def with_weights_of(model, other):
    """The class's model on the CPU with the weights of one that is quantised, brought back."""
    for name, module in model.named_modules():
        if isinstance(found := other.get_submodule(name), QuantisedLinear):
            module.weight.data = dequantised(found.quantised).cpu()
    return model


@pytest.mark.parametrize("kind", ["qwen2", "gemma3_text"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-3), ("bfloat16", 0.08)])
def test_a_quantised_model_says_what_its_class_says_of_the_weights_brought_back(
    kind, format, dtype, most, tmp_path, report
):
    folder = write_model(tmp_path / "model", kind)
    model = load(EngineSettings(str(folder), device=FORMATTED, dtype=dtype, quantization=format)).model
    with torch.inference_mode():
        reference = with_weights_of(model_of(kind), model)(IDS).logits[0]
    for name in ("plain", "kernel"):
        if name == "kernel":
            prepare_left_to_right(model)
            assert {each.multiply is not None for each in quantised_linears(model)} == {ON_GPU}
        cache = PrefixCache(model).cache
        pieces = [head(model, encode(model, cache, piece.to(DEVICE)))[0] for piece in torch.split(IDS, [9, 6, 1], 1)]
        error = float((torch.cat(pieces).cpu() - reference).norm() / reference.norm())
        report(f"error of {kind}, weights in {format}, {name}, in {dtype}", f"{error:.2g}")
        # A GPU multiplies float32 in the kernel with the eleven leading bits of each number.
        assert error < (most if name == "plain" else max(most, 0.01))


@pytest.mark.parametrize("format", FORMATS)
def test_a_large_map_is_quantised_and_multiplied_in_little_memory(format, report):
    """One as large as the head of a 7B; no copy of it in full precision is ever there."""
    outputs, width = (152_064, 3584) if ON_GPU else (300, 80)
    hollow = torch.nn.Linear(width, outputs, bias=False, device="meta")
    weight = torch.randn(outputs, width, generator=torch.Generator().manual_seed(1)).bfloat16()
    hidden = torch.randn(3, width, generator=torch.Generator().manual_seed(2)).bfloat16().to(DEVICE)
    if ON_GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(DEVICE)
        before = torch.cuda.memory_allocated(DEVICE)
    made = QuantisedLinear(hollow, format, DEVICE)
    made.put(weight)
    assert made.off(weight) <= 1.01
    with torch.inference_mode():
        out = made(hidden)
    if ON_GPU:
        over = torch.cuda.max_memory_allocated(DEVICE) - before - made.quantised.nbytes
        report(f"memory beside a map in {format}", f"{over / 2**20:.0f} MiB")
        assert over < 60 * PIECE  # bytes for each weight that is in full precision
    exact = hidden.float().cpu() @ weight.float().T
    error = float((out.float().cpu() - exact).norm() / exact.norm())
    assert error < {"int8": 0.02, "fp8": 0.04, "int4": 0.12}[format]


@pytest.mark.parametrize("format", FORMATS)
def test_maps_of_a_7b_are_timed(format, report):
    """The kernel against the plain form and torch's product in bfloat16; the figures say from how many rows which is best."""
    outputs, width = (3584, 18_944) if ON_GPU else (70, 80)
    assert (by_kernel(DEVICE, format) is not None) == ON_GPU
    made = QuantisedLinear(torch.nn.Linear(width, outputs, bias=False, device="meta"), format, DEVICE)
    generator = torch.Generator(DEVICE).manual_seed(1)
    made.put(torch.randn(outputs, width, generator=generator, device=DEVICE) * 0.02)
    whole = dequantised(made.quantised, torch.bfloat16)
    for rows in (1, 4, 16, 64, 256, 1024, 2048) if ON_GPU else (1, 20):
        hidden = torch.randn(rows, width, generator=generator, device=DEVICE).bfloat16()
        ways = {
            "kernel": lambda hidden=hidden: linear(hidden, made.quantised, None),
            "plain": lambda hidden=hidden: plain(hidden, made.quantised, None),
            "bfloat16": lambda hidden=hidden: torch.nn.functional.linear(hidden, whole),
        }
        exact = torch.nn.functional.linear(hidden.float(), whole.float())
        for name, way in ways.items():
            assert float((way().float() - exact).norm() / exact.norm()) < 0.02
            if ON_GPU:
                report(f"{rows} rows, {format}, {name}", f"{1000 * min(seconds(way, 5, DEVICE)):.3f} ms")


@pytest.mark.parametrize("quantization", ["none", *FORMATS])
@pytest.mark.parametrize("candidates", [1, 3])
def test_fills_repeat_themselves(candidates, quantization, tmp_path):
    settings = EngineSettings(
        str(write_model(tmp_path / "model")), device=FORMATTED, dtype="float32", quantization=quantization
    )
    filler = Filler(load(settings))
    text = "def f(x):\n    return \n"
    request = FillRequest(text, (Span(21, 21),), path="a.py", candidates=candidates, max_lines=1)
    fills = []
    for _ in range(2):
        *_, fill = filler.fill(request)
        assert isinstance(fill, Fill)
        fills.append((fill.texts, fill.alternatives))
    assert fills[0] == fills[1]

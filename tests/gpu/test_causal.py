"""Left-to-right models on the device: what their class says on the CPU, and whole fills, each time the same."""

from __future__ import annotations

import pytest
import torch

from engine.causal import model_of, write_model
from gpu.conftest import DEVICE
from palimpsest_engine import EngineSettings, Fill, FillRequest, Span
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.fill.filler import Filler
from palimpsest_engine.model.families import CAUSAL
from palimpsest_engine.model.forward import encode, head
from palimpsest_engine.model.prefix_cache import PrefixCache

pytestmark = pytest.mark.gpu
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


@pytest.mark.parametrize("candidates", [1, 3])
def test_fills_repeat_themselves(candidates, tmp_path):
    filler = Filler(load(EngineSettings(str(write_model(tmp_path / "model")), device=str(DEVICE), dtype="float32")))
    text = "def f(x):\n    return \n"
    request = FillRequest(text, (Span(21, 21),), path="a.py", candidates=candidates, max_lines=1)
    fills = []
    for _ in range(2):
        *_, fill = filler.fill(request)
        assert isinstance(fill, Fill)
        fills.append((fill.texts, fill.alternatives))
    assert fills[0] == fills[1]

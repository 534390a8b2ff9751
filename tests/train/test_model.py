"""The packed pass equals the model class; the kernels for a GPU give what those for a CPU give; FLOPs are what is counted."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from palimpsest_engine.model.cpu_layers import make_lean
from palimpsest_engine.model.forward import head
from palimpsest_train.flops import equal_steps, step_flops
from palimpsest_train.losses import Step, tensors
from palimpsest_train.model import FUSED, WRITTEN_OUT, build, causal_forward, packed_forward


@pytest.fixture
def stock(smoke):
    """A model of the class, in which every parameter matters."""
    made = build(smoke.shape, seed=0).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return made


@pytest.fixture
def model(stock):
    """The same model with layers that a packed pass can go through."""
    made = copy.deepcopy(stock)
    make_lean(made, trainable=True)
    return made


@pytest.fixture
def batch(rows):
    return tensors(rows.batch(2))


def test_the_packed_pass_equals_the_model_class(smoke, stock, model, batch):
    row, vocabulary = smoke.row, smoke.shape.vocabulary
    with torch.no_grad():
        soft = torch.zeros(2, row.canvases * row.canvas, smoke.shape.hidden)
        args = (batch["context"], batch["noised"], batch["positions"], batch["starts"])
        hidden = packed_forward(model, *args, soft)
        packed = head(model, hidden)
        encoder = stock.model.encoder(input_ids=batch["context"]).last_hidden_state
        torch.testing.assert_close(hidden[:, : row.context], encoder, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(causal_forward(model, batch["context"]), encoder, atol=1e-4, rtol=1e-4)
        for i_row in range(2):
            for i in range(row.canvases):
                canvas = slice(i * row.canvas, (i + 1) * row.canvas)
                start = int(batch["starts"][i_row, i])
                said = torch.randn(1, row.canvas, vocabulary)
                for conditioning in (None, said):
                    out = stock(
                        input_ids=batch["context"][i_row : i_row + 1, :start],
                        decoder_input_ids=batch["noised"][i_row : i_row + 1, canvas],
                        self_conditioning_logits=conditioning,
                    )
                    if conditioning is not None:
                        embed = model.model.decoder.embed_tokens
                        soft[i_row, canvas] = (said.softmax(-1) @ embed.weight * embed.embed_scale)[0]
                        packed = head(model, packed_forward(model, *args, soft))
                    at = slice(row.context + canvas.start, row.context + canvas.stop)
                    torch.testing.assert_close(packed[i_row, at], out.logits[0], atol=1e-4, rtol=1e-4)


def test_fused_kernels_give_the_same_numbers_and_gradients(smoke, model, batch):
    soft = torch.randn(2, smoke.row.canvases * smoke.row.canvas, smoke.shape.hidden)
    args = (batch["context"], batch["noised"], batch["positions"], batch["starts"], soft)
    results = []
    for kernels in (WRITTEN_OUT, FUSED):
        model.zero_grad()
        hidden = packed_forward(model, *args, kernels)
        alone = causal_forward(model, batch["context"], kernels)
        ((hidden**2).sum() + (alone**2).sum()).backward()
        gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        results.append((hidden.detach(), alone.detach(), gradients))
    (hidden, alone, gradients), (fused, fused_alone, fused_gradients) = results
    torch.testing.assert_close(fused, hidden, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fused_alone, alone, atol=1e-4, rtol=1e-4)
    assert gradients.keys() == fused_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(fused_gradients[name], gradient, atol=1e-2, rtol=1e-3, msg=name)


@pytest.mark.parametrize(("objective", "conditioned"), [("diffusion", 0), ("diffusion", 1), ("left-to-right", 0)])
def test_the_formula_counts_the_executed_flops(smoke, rows, left_to_right, objective, conditioned):
    recipe = replace(smoke, objective=objective, self_conditioning=float(conditioned))
    source = left_to_right if objective == "left-to-right" else rows
    step = Step(build(recipe.shape, 0), recipe)
    with FlopCounterMode(display=False) as counted:
        causal, diffusion = step.losses(tensors(source.batch(recipe.rows)), bool(conditioned), 0.7)
        (causal + diffusion).backward()
    # Some releases of the library make the rotary angles by a matrix product, which counts then; others, number by number.
    assert counted.get_total_flops() == pytest.approx(step_flops(recipe), rel=2e-4)


def test_equal_steps_are_of_equal_compute(smoke):
    control = replace(smoke, objective="left-to-right", rows=5)
    steps = equal_steps(control, 1000 * step_flops(smoke))
    assert abs(steps * step_flops(control) - 1000 * step_flops(smoke)) <= step_flops(control) / 2

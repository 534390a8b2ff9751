"""The errors of quantised experts: none where nothing is rounded, more with fewer bits, and the model is left as it was."""

from __future__ import annotations

import json

import pytest
import torch

from palimpsest_bench.engine.quantize_error import by_layer, logits_of, main, windows
from palimpsest_engine.model.moe import MATRICES
from palimpsest_engine.model.quantize import FORMATS, dequantised, quantise

from .conftest import tiny


@pytest.fixture
def texts():
    return windows(range(90), rows=2, context=20, canvas=12, vocabulary=97)


def test_places_are_spread_and_half_of_a_canvas_is_noise(texts):
    context, canvas = texts
    assert context.tolist() == [list(range(20)), list(range(58, 78))]
    assert canvas[:, ::2].tolist() == [list(range(20, 32, 2)), list(range(78, 90, 2))]
    assert canvas[:, 1::2].tolist() != [list(range(21, 32, 2)), list(range(79, 90, 2))]


def test_fewer_bits_are_further_off_and_the_model_is_left_as_it_was(texts):
    model = tiny()
    before = logits_of(model, *texts)
    found = by_layer(model, *texts)
    assert torch.equal(logits_of(model, *texts), before)
    assert [row["layer"] for row in found["layers"]] == [0, 1, 2, 3]
    for row in found["layers"]:
        assert 0 < row["bfloat16"] < row["int8"] < row["fp8"] < row["int4-fine"] < row["int4"] < 0.3
    ends = found["logits"]
    assert set(ends) == {*FORMATS, "bfloat16"}
    assert 0 < ends["int8"]["kl"] < ends["int4"]["kl"]
    assert all(0 <= each["same_argmax"] <= 1 for each in ends.values())
    assert (found["positions"], found["context"]) == (24, 20)
    json.dumps(found)


@pytest.mark.parametrize("format", ["int8", "fp8"])
def test_weights_that_a_format_has_already_lose_nothing_in_it(texts, format):
    model = tiny()
    with torch.no_grad():
        for layer in model.model.decoder.layers:
            for name in MATRICES:
                weight = getattr(layer.experts, name)
                weight.copy_(dequantised(quantise(weight, format)))
    found = by_layer(model, *texts, formats=[format])
    assert max(row[format] for row in found["layers"]) < 1e-6
    assert found["logits"][format]["same_argmax"] == 1.0


def test_the_command_prints_tables(capsys):
    main(["--shape", "26b-narrow", "--rows", "1", "--context", "8"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| layer | int8 | fp8 | int4-fine | int4 | bfloat16 |"
    assert sum(line.startswith("|") for line in lines) == 2 + 6 + 2 + len([*FORMATS, "bfloat16"])
    main(["--shape", "26b-narrow", "--rows", "1", "--context", "8", "--json"])
    assert set(json.loads(capsys.readouterr().out)["logits"]) == {*FORMATS, "bfloat16"}

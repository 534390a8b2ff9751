"""Models of a true shape: what a published model is said to have, it has."""

from __future__ import annotations

import pytest
import torch

from palimpsest_engine import OutOfMemory
from palimpsest_engine.measure import slopes, steps
from palimpsest_engine.shapes import config_of, parameters, random_model


def test_the_large_shape_has_the_published_number_of_parameters():
    config = config_of("26b")
    assert round(parameters(config) / 1e9, 1) in (25.2, 25.3)
    text = config.get_text_config()
    assert text.layer_types.count("full_attention") == 5
    assert [text.per_layer_config[i].head_dim for i in (0, 5)] == [256, 512]
    assert [text.per_layer_config[i].num_key_value_heads for i in (0, 5)] == [8, 2]


def test_the_count_is_that_of_a_real_model_but_for_its_norms():
    model = random_model("26b-narrow", "cpu", "float32")
    counted = sum(each.numel() for name, each in model.named_parameters() if "vision" not in name)
    small = sum(each.numel() for name, each in model.named_parameters() if "vision" not in name and each.dim() == 1)
    assert counted - small == parameters(model.config)


def test_weights_are_in_the_format_and_rotary_frequencies_are_not():
    model = random_model("26b-narrow", "cpu", "bfloat16")
    assert next(model.parameters()).dtype == torch.bfloat16
    assert model.model.decoder.rotary_emb.full_attention_inv_freq.dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32


def test_a_model_that_does_not_fit_is_an_error_that_says_how_much_is_missing(monkeypatch):
    class Memory:
        available = 2**30

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    with pytest.raises(OutOfMemory, match=r"26b takes 47\.0 GiB in bfloat16, .* 1\.0 GiB is free on cpu"):
        random_model("26b", "cpu")


def test_steps_are_measured_for_every_combination_and_against_the_library_for_a_whole_canvas():
    found = steps(random_model("26b-narrow", "cpu", "float32"), [32, 8], [1, 2], [5, 130], runs=1)
    rows = found["steps"]
    assert {(row["canvas"], row["batch"], row["context"]) for row in rows} == {
        (canvas, batch, context) for canvas in (32, 8) for batch in (1, 2) for context in (5, 130)
    }
    against = [row for row in rows if "generate_step_ms" in row]
    assert [(row["canvas"], row["batch"]) for row in against] == [(32, 1)] * 2
    assert set(found["prefill_ms"]) == {"5", "130"}
    assert found["ratio_over_generate"] > 0
    assert "memory_gib" not in found


def test_a_slope_leaves_out_what_is_done_once(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("palimpsest_engine.measure.time.perf_counter", lambda: clock[0])

    def work(count):
        clock[0] += 100 + 0.002 * count

    assert slopes({"a": work}, torch.device("cpu"), 3)["a"] == pytest.approx(2.0)

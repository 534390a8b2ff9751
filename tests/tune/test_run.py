"""A tuning learns, repeats itself by its seed, can be stopped anywhere, and writes an adapter whole or not at all."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from palimpsest_engine import EngineSettings, OutOfMemory, PalimpsestError
from palimpsest_engine.checkpoint.adapter import CONFIG_FILE, NOTE_FILE, WEIGHTS_FILE
from palimpsest_engine.checkpoint.load import load
from palimpsest_tune import lora, run
from palimpsest_tune.code import Source, prepared
from palimpsest_tune.measure import Measured, exact_lines, gain, lines_of
from palimpsest_tune.run import Recipe, Result, Tuning

from ..engine.conftest import write_checkpoint as write_mixture
from .conftest import module

RECIPE = Recipe(steps=25, rows=2, rank=4, learning_rate=1e-2, lines=2, held_out_rows=16)
SOURCES = [Source(module(seed), "python") for seed in range(12)]


def opened(folder, trainable=False, **settings):
    return load(EngineSettings(str(folder), device="cpu", dtype="float32", **settings), trainable=trainable)


def tuned(folder, out, recipe=RECIPE, stop=None):
    checkpoint = opened(folder, trainable=True)
    tuning = Tuning(checkpoint, prepared(SOURCES, checkpoint.tokenizer, 0, "here"), recipe)
    before = tuning.measure()
    out.mkdir()
    with closing(tuning.train(out)) as steps:
        said = [next(steps) for _ in range(stop)] if stop else list(steps)
    return tuning, said, tuning.finish(out, before)


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "adapter"
    return (*tuned(folder, out), out)


def test_tuning_learns_repeated_code(done):
    _, said, result, _ = done
    assert result.helped
    assert result.fell[0] > 0.1
    assert result.after.causal < result.before.causal
    assert result.after.diffusion < result.before.diffusion
    assert [at.step for at in said] == list(range(1, 26))
    assert said[-1].share == 1.0


def test_the_served_adapter_measures_as_the_tuned_one(done, folder):
    tuning, _, result, out = done
    served = opened(folder, trainable=True, adapter=str(out))
    again = Tuning(served, tuning.code, RECIPE).measure()
    assert again == result.after


def test_the_note_says_what_it_was_made_of_and_no_path(done, folder):
    _, _, result, out = done
    assert {path.name for path in out.iterdir()} == {NOTE_FILE, CONFIG_FILE, WEIGHTS_FILE}
    note = json.loads((out / NOTE_FILE).read_text("utf-8"))
    assert note["base"]["name"] == "tiny"
    assert note["trained_on"]["languages"] == {"python": note["trained_on"]["files"]}
    assert note["trained_on"]["files"] + note["held_out"]["files"] == len(SOURCES)
    assert note["recipe"]["steps"] == 25
    assert note["before"] == result.before.said()
    assert note["after"] == result.after.said()
    assert set(note["after"]) == {"causal", "diffusion", "exact", "lines"}
    assert str(folder) not in (out / NOTE_FILE).read_text("utf-8")


def test_the_same_seed_and_steps_make_the_same_adapter_and_another_seed_another(folder, tmp_path):
    short = replace(RECIPE, steps=3, lines=0, held_out_rows=8)
    for name, recipe in (("one", short), ("two", short), ("three", replace(short, seed=1))):
        tuned(folder, tmp_path / name, recipe)
    bytes_of = [(tmp_path / name / WEIGHTS_FILE).read_bytes() for name in ("one", "two", "three")]
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]


def test_stopping_after_any_step_writes_the_adapter_and_restores_the_model(folder, tmp_path):
    tuning, _, result = tuned(folder, tmp_path / "stopped", replace(RECIPE, lines=0, held_out_rows=8), stop=2)
    assert tuning.step == 2
    served = opened(folder, adapter=str(tmp_path / "stopped"))
    for (name, mine), (_, theirs) in zip(tuning.model.named_parameters(), served.model.named_parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    assert json.loads((tmp_path / "stopped" / NOTE_FILE).read_text("utf-8"))["recipe"]["steps"] == 2
    assert result.before.causal != result.after.causal


def test_time_ends_the_training_and_the_learning_rate_falls_to_zero(folder, tmp_path, monkeypatch):
    now = iter(range(1000))
    clock = SimpleNamespace(perf_counter=lambda: float(next(now)))  # of this module alone: other threads look, too
    monkeypatch.setattr(run, "time", clock)
    _, said, _ = tuned(folder, tmp_path / "timed", replace(RECIPE, steps=None, minutes=0.1, lines=0, held_out_rows=8))
    assert [at.seconds for at in said] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert said[-1].share == 1.0


def test_losses_that_are_no_numbers_end_the_training(folder, tmp_path):
    checkpoint = opened(folder, trainable=True)
    code = prepared(SOURCES, checkpoint.tokenizer, 0, "here")
    tuning = Tuning(checkpoint, code, replace(RECIPE, lines=0, held_out_rows=8))
    before = {name: parameter.clone() for name, parameter in checkpoint.model.named_parameters()}
    losses = tuning.at.losses

    def broken(batch, temperature):
        causal, diffusion = losses(batch, temperature)
        return causal * float("nan"), diffusion

    tuning.at.losses = broken
    with pytest.raises(PalimpsestError, match="--learning-rate"):
        list(tuning.train(tmp_path))
    assert all(torch.equal(parameter, before[name]) for name, parameter in checkpoint.model.named_parameters())


def test_out_of_memory_is_reported_in_a_sentence(checkpoint, tmp_path):
    tuning = Tuning(
        checkpoint, prepared(SOURCES, checkpoint.tokenizer, 0, "here"), replace(RECIPE, lines=0, held_out_rows=8)
    )

    def greedy(batch, temperature):
        raise torch.OutOfMemoryError("tried to allocate")

    tuning.at.losses = greedy
    with pytest.raises(OutOfMemory, match="--rows") as caught:
        next(tuning.train(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_mixture_of_experts_learns_through_the_class(tmp_path):
    """The way of the large checkpoint: the class's own forward, matrices shared by its encoder and decoder."""
    checkpoint = opened(write_mixture(tmp_path / "mixture"), trainable=True)
    tuning = Tuning(
        checkpoint,
        prepared(SOURCES, checkpoint.tokenizer, 0, "here"),
        replace(RECIPE, lines=0, held_out_rows=8),
    )
    before = tuning.measure()
    out = tmp_path / "adapter"
    out.mkdir()
    list(tuning.train(out))
    names = load_file(out / WEIGHTS_FILE)
    assert names
    assert all(".decoder." in name for name in names)
    encoder = checkpoint.model.model.encoder.language_model.layers[0].self_attn
    assert type(encoder.q_proj) is torch.nn.Linear
    result = tuning.finish(out, before)
    assert result.helped


def measured(*losses):
    return Measured(sum(losses) / len(losses), 0.0, losses, (0.0,) * len(losses), 0, 0)


@pytest.mark.parametrize(
    ("before", "after", "helped"),
    [
        ((1.0, 1.0, 1.0, 1.0), (0.9, 0.8, 0.9, 0.8), True),
        ((1.0, 1.0, 1.0, 1.0), (1.1, 1.2, 1.1, 1.2), False),
        ((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0), False),
        ((1.0, 1.0, 1.0, 1.0), (0.5, 1.5, 0.4, 1.5), False),  # may be chance
    ],
)
def test_helped_means_that_the_loss_fell_by_more_than_chance(before, after, helped):
    assert Result(measured(*before), measured(*after), gain(before, after)).helped is helped


def test_lines_are_the_seeds_and_worth_filling(checkpoint):
    cases = lines_of(SOURCES, 30, 3)
    assert cases == lines_of(SOURCES[::-1], 30, 3) != lines_of(SOURCES, 30, 4)
    for source, span in cases:
        line = source.text[span.start : span.end]
        assert line == line.strip()
        assert f"\n{line}\n" in source.text.replace("\n    ", "\n")
    assert len(set(cases)) == 30
    assert exact_lines(checkpoint, [], 0) == 0


# Where it goes


def test_an_adapter_takes_the_place_of_an_older_one_and_of_nothing_else(done, tmp_path):
    out = tmp_path / "a" / "b"
    for generation in range(2):
        run.check_out(out)
        with run.room_beside(out) as folder:
            (folder / NOTE_FILE).write_text(str(generation), "utf-8")
            run.put(folder, out)
        assert (out / NOTE_FILE).read_text("utf-8") == str(generation)
        assert [path.name for path in out.parent.iterdir()] == ["b"]
    other = tmp_path / "other"
    other.mkdir()
    run.check_out(other)
    (other / "letter.txt").write_text("mine", "utf-8")
    for taken in (other, other / "letter.txt"):
        with pytest.raises(PalimpsestError, match="is not an adapter"):
            run.check_out(taken)
    assert (other / "letter.txt").read_text("utf-8") == "mine"


def test_a_failed_tuning_leaves_nothing(tmp_path):
    out = tmp_path / "out"

    def fail():
        with run.room_beside(out) as folder:
            (folder / NOTE_FILE).write_text("half", "utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_old_adapter_stays_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / NOTE_FILE).write_text("old", "utf-8")
    replace_folder = run.os.replace

    def full(source, target):
        if target == out and source.name != "old":
            raise OSError(28, "No space left on device")
        replace_folder(source, target)

    with run.room_beside(out) as folder:
        (folder / NOTE_FILE).write_text("new", "utf-8")
        monkeypatch.setattr(run.os, "replace", full)
        with pytest.raises(OSError, match="No space"):
            run.put(folder, out)
    assert (out / NOTE_FILE).read_text("utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_peft_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PalimpsestError, match=r"needs peft.* -m pip install 'peft") as caught:
        lora.check_installed()
    assert "\n" not in str(caught.value)

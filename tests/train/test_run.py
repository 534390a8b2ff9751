"""A resumed run is the same run; a full disk, a lost number, a wrong folder or corpus: a sentence, and the state is whole."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from palimpsest_train import progress, state
from palimpsest_train.errors import TrainingError
from palimpsest_train.progress import Progress
from palimpsest_train.recipe import read_recipe
from palimpsest_train.state import read_curve, read_state, recipes
from palimpsest_train.tokenizer import new_tokenizer
from palimpsest_train.train import Run


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Lines instead of a bar, whatever the tests run in."""
    monkeypatch.setattr(progress, "Console", lambda **options: Console(file=io.StringIO(), **options))


def weights(run):
    return {**run.model.state_dict(), **{f"average {name}": w for name, w in run.average.weights.items()}}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def curve(folder):
    return [{k: v for k, v in row.items() if "second" not in k} for row in read_curve(folder)]


@pytest.mark.parametrize(
    "changes",
    [{}, {"ema": 0.0}, {"objective": "left-to-right"}, {"workers": 1}],
    ids=["ema", "plain", "ltr", "workers"],
)
def test_a_resumed_run_is_the_same_run(corpus, smoke, tmp_path, changes):
    recipe = replace(smoke, **changes)
    whole = Run(tmp_path / "whole", corpus, recipe)
    whole.train()
    Run(tmp_path / "halves", corpus, recipe).train(until=3)
    second = Run(tmp_path / "halves", corpus, replace(recipe, workers=0))
    assert second.step == 3
    second.train()
    assert bool(second.average.weights) == bool(recipe.ema)
    assert same(weights(whole), weights(second))
    assert curve(tmp_path / "whole") == curve(tmp_path / "halves")


def test_steps_after_the_last_save_are_repeated(corpus, smoke, tmp_path):
    """As after a kill: the state is older than the curve, whose last line may be cut short."""
    whole = Run(tmp_path / "whole", corpus, smoke)
    whole.train()
    killed = Run(tmp_path / "killed", corpus, smoke)
    killed.train(until=3)
    kept = (tmp_path / "killed" / "state.pt").read_bytes()
    killed.train(until=5)
    (tmp_path / "killed" / "state.pt").write_bytes(kept)
    (tmp_path / "killed" / "state.pt.part").write_bytes(b"half")
    with (tmp_path / "killed" / "curve.jsonl").open("a") as file:
        file.write('{"step": 2, "cau')
    again = Run(tmp_path / "killed", corpus, smoke)
    again.train()
    assert same(weights(whole), weights(again))
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")


def test_a_state_without_an_average_is_resumed_and_begins_one(corpus, smoke, tmp_path):
    """A state with model, optimisers, step and seconds alone, beside a recipe.json that lacks today's keys."""
    run = Run(tmp_path, corpus, replace(smoke, ema=0.0))
    run.train(until=2)
    saved = read_state(tmp_path)
    torch.save(
        {key: saved[key] for key in ("model", "optimisers", "step", "seconds")} | {"rng": "{}"}, tmp_path / "state.pt"
    )
    table = json.loads((tmp_path / "recipe.json").read_text())
    for key in ("ema", "objective", "workers", "checkpoint"):
        del table[key]
    del table["row"]["sizes"]
    (tmp_path / "recipe.json").write_text(json.dumps(table))
    resumed = Run(tmp_path, corpus, replace(smoke, steps=4, cooldown=0.5))
    for name, average in resumed.average.weights.items():
        assert torch.equal(average, dict(run.model.named_parameters())[name])
    resumed.train()
    assert resumed.step == 4
    assert [step for step, _ in recipes(tmp_path)] == [0, 2]
    assert recipes(tmp_path)[1][1].ema == smoke.ema


def test_held_out_losses_are_those_of_the_average(corpus, smoke, tmp_path):
    run = Run(tmp_path, corpus, smoke)
    run.train()
    live = {name: p.detach().clone() for name, p in run.average.live.items()}
    averaged = run.held_out_losses()
    assert all(torch.equal(live[name], p) for name, p in run.average.live.items())
    assert any(not torch.equal(live[name], w) for name, w in run.average.weights.items())
    run.average._write(run.average.weights)
    assert run.held_out_losses() == averaged


@pytest.mark.parametrize("objective", ["diffusion", "left-to-right"])
def test_training_learns(corpus, smoke, tmp_path, objective):
    """From the 6.2 nats of knowing nothing; a run that goes wrong stays there."""
    recipe = replace(smoke, objective=objective, ema=0.0, steps=80, save_every=80, held_out_every=1000, warmup=10)
    run = Run(tmp_path, corpus, recipe)
    before = run.held_out_losses()
    run.train()
    after = run.held_out_losses()
    assert after[0] < before[0] - 0.5
    assert after[1] < before[1] - 0.5 or objective == "left-to-right"


def test_a_full_disk_keeps_the_earlier_state(corpus, smoke, tmp_path, monkeypatch):
    run = Run(tmp_path, corpus, smoke)
    run.train(until=3)
    kept = (tmp_path / "state.pt").read_bytes()

    def full(value, file):
        file.write(b"half a state")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(state.torch, "save", full)
    with pytest.raises(TrainingError, match=r"Step 6 could not be saved .*: No space left on device\."):
        run.train()
    assert (tmp_path / "state.pt").read_bytes() == kept
    assert not (tmp_path / "state.pt.part").exists()
    monkeypatch.undo()
    again = Run(tmp_path, corpus, smoke)
    assert again.step == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_a_full_disk_inside_the_library_keeps_the_earlier_state(corpus, smoke, tmp_path):
    run = Run(tmp_path, corpus, smoke)
    (tmp_path / "state.pt.part").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match="could not be saved"):
        run.save()
    assert not (tmp_path / "state.pt").exists()
    assert not (tmp_path / "state.pt.part").is_symlink()


@pytest.mark.parametrize("where", ["weights", "gradient"])
def test_a_loss_that_is_no_number_stops_the_run_before_it_is_saved(corpus, smoke, tmp_path, where, monkeypatch):
    run = Run(tmp_path, corpus, replace(smoke, log_every=100))
    run.train(until=3)
    kept = (tmp_path / "state.pt").read_bytes()
    if where == "weights":
        with torch.no_grad():
            run.model.model.decoder.norm.weight[0] = float("nan")
    else:
        monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    with pytest.raises(TrainingError, match="between steps 3 and 6") as error:
        run.train()
    assert "state saved before is kept" in str(error.value)
    assert (tmp_path / "state.pt").read_bytes() == kept


def test_a_run_stops_after_its_minutes_and_goes_on(corpus, smoke, tmp_path):
    whole = Run(tmp_path / "whole", corpus, smoke)
    whole.train()
    for step in (1, 2):
        run = Run(tmp_path / "parts", corpus, smoke)
        run.train(minutes=0.0)
        assert run.step == step
    run = Run(tmp_path / "parts", corpus, smoke)
    run.train()
    assert same(weights(whole), weights(run))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_step_and_saves(corpus, smoke, tmp_path, number, monkeypatch):
    run = Run(tmp_path, corpus, smoke)
    before, advance = signal.getsignal(number), run.advance

    def interrupted(batch):
        os.kill(os.getpid(), number)
        return advance(batch)

    monkeypatch.setattr(run, "advance", interrupted)
    run.train()
    assert read_state(tmp_path)["step"] == 1
    assert signal.getsignal(number) is before


def broken_state(folder, corpus):
    (folder / "state.pt").write_bytes(b"PK\x03\x04 half")


def foreign_state(folder, corpus):
    torch.save({"epoch": 3}, folder / "state.pt")


def other_tokenizer(folder, corpus):
    new_tokenizer([(corpus / "held_out.jsonl").read_text("utf-8")], 512).save(str(corpus / "tokenizer.json"))


WRONG = [
    ({"shape.hidden": 64}, None, "another shape"),
    ({"shape.layers": 2}, None, "another shape"),
    ({"objective": "left-to-right"}, None, "holds a diffusion run"),
    ({}, broken_state, "cannot be read"),
    ({}, foreign_state, "is not the state"),
    ({}, other_tokenizer, "another tokenizer"),
    ({}, lambda folder, corpus: (folder / "recipe.json").unlink(), "no recipe.json"),
    ({}, lambda folder, corpus: (folder / "recipe.json").write_text("{"), "not valid JSON"),
    ({}, lambda folder, corpus: (corpus / "tokenizer.json").unlink(), "There is no"),
    ({}, lambda folder, corpus: (corpus / "tokenizer.json").write_text("{}"), "is not a tokenizer"),
    ({}, lambda folder, corpus: (corpus / "train.npy").unlink(), "There is no"),
    ({}, lambda folder, corpus: (corpus / "held_out.starts.npy").unlink(), "There is no"),
    ({}, lambda folder, corpus: (corpus / "train.npy").write_bytes(b""), "cannot be read"),
    ({}, lambda folder, corpus: np.save(corpus / "train.npy", np.zeros(5, np.uint16)), "5 tokens"),
    ({}, lambda folder, corpus: np.save(corpus / "train.npy", np.zeros(5000, np.uint16)), "not encoded by"),
    ({}, lambda folder, corpus: np.save(corpus / "train.starts.npy", np.zeros(0, np.int64)), "not encoded by"),
]


@pytest.fixture(scope="module")
def begun(corpus, smoke, tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun") / "run"
    Run(folder, corpus, smoke).train(until=1)
    return folder


@pytest.mark.parametrize(("changes", "damage", "said"), WRONG)
def test_a_run_that_cannot_go_on_says_why_and_changes_nothing(begun, corpus, tmp_path, changes, damage, said):
    folder, copy = tmp_path / "run", tmp_path / "corpus"
    shutil.copytree(begun, folder)
    shutil.copytree(corpus, copy)
    if damage:
        damage(folder, copy)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TrainingError, match=re.escape(said)) as error:
        Run(folder, copy, read_recipe("smoke", [f"{key}={value}" for key, value in changes.items()]))
    assert "\n" not in str(error.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_missing_device_is_refused(corpus, smoke, tmp_path):
    with pytest.raises(TrainingError, match="auto, cpu or cuda"):
        Run(tmp_path / "run", corpus, smoke, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="sees no CUDA"):
            Run(tmp_path / "run", corpus, smoke, device="cuda")
    assert not (tmp_path / "run").exists()


def test_progress_says_speed_losses_and_time_left():
    out = io.StringIO()
    with Progress(0, 100, tokens=1000, flops=5e11, console=Console(file=out, width=200)) as told:
        told.told(10, 3.0, 2.0, steps=10, seconds=100.0)  # compiling
        told.told(20, 2.5, 1.5, steps=10, seconds=50.0)
        told.told(30, 2.0, 1.0, steps=10, seconds=50.0)
        told.told(40, 2.0, 1.0, steps=10, seconds=1.0)
    lines = out.getvalue().splitlines()
    assert lines[1] == "step 20/100  causal 2.500 diffusion 1.500  200 tokens/s  0.1 TFLOP/s  7 min left"
    assert lines[3] == "achieved over 20 steps: 0.1 TFLOP/s in matrix products, 200 tokens/s, 5 s a step"
    assert len(lines) == 5

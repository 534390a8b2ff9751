"""An exported run is a plain checkpoint of small shards, written whole or not at all; curves are drawn over compute."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_engine.checkpoint.spec import Sampling
from palimpsest_train import export as exporting
from palimpsest_train.errors import TrainingError
from palimpsest_train.export import export
from palimpsest_train.flops import step_flops
from palimpsest_train.plot import curves, series
from palimpsest_train.recipe import Described
from palimpsest_train.train import Run


@pytest.fixture(scope="module")
def run(corpus, smoke, tmp_path_factory):
    """Averaged from step 3 on, and with another number of canvases."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    Run(folder, corpus, replace(smoke, ema=0.0)).train(until=3)
    made = Run(folder, corpus, replace(smoke, row=replace(smoke.row, canvases=2)))
    made.train()
    return made


@pytest.fixture(scope="module")
def control(corpus, smoke, tmp_path_factory):
    made = Run(tmp_path_factory.mktemp("runs") / "control", corpus, replace(smoke, objective="left-to-right", ema=0.0))
    made.train()
    return made


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_exported_run_is_a_plain_checkpoint(run, corpus, smoke, tmp_path):
    from transformers import DiffusionGemmaForBlockDiffusion

    out = tmp_path / "out" / "checkpoint"
    said = Described("smoke", sampling=Sampling(max_steps=3), line_sizes=(4,), tries=2)
    export(run.folder, corpus, out, described=said)
    assert not [p for p in out.iterdir() if p.suffix in (".bin", ".pt", ".py")]
    stock = DiffusionGemmaForBlockDiffusion.from_pretrained(out)
    assert stock.generation_config.max_denoising_steps == 3
    loaded = load(EngineSettings(str(out), device="cpu", dtype="float32"))
    assert (loaded.spec.name, loaded.spec.canvas, loaded.spec.hole_sizes) == ("smoke", 48, smoke.row.sizes)
    assert (loaded.spec.line_sizes, loaded.spec.tries) == ((4,), 2)
    assert not loaded.spec.left_to_right
    theirs, ours = dict(stock.named_parameters()), dict(loaded.model.named_parameters())
    for name, parameter in run.model.named_parameters():
        trained = run.average.weights.get(name, parameter).to(torch.bfloat16)
        assert torch.equal(theirs[name].to(torch.bfloat16), trained), name
        assert name not in ours or torch.equal(ours[name], trained.float()), name
    assert any("experts" in name for name in ours)
    assert list(tmp_path.joinpath("out").iterdir()) == [out]


def test_an_exported_control_is_described_as_left_to_right(control, corpus, tmp_path):
    export(control.folder, corpus, tmp_path / "control", "control")
    loaded = load(EngineSettings(str(tmp_path / "control"), device="cpu", dtype="float32"))
    assert loaded.spec.left_to_right
    assert loaded.spec.name == "control"
    with pytest.raises(TrainingError, match="another --out"):
        export(control.folder, corpus, EMBEDDED)


def test_shards_stay_below_their_limit(run, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "SHARD", "20KB")
    monkeypatch.chdir(tmp_path)
    export(run.folder, corpus, Path("out"))  # a relative folder, as the default one is
    shards = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(shards) > 1
    described = json.loads((tmp_path / "out" / "palimpsest.json").read_text())
    assert sorted(described["sha256"]) == [path.name for path in shards]
    load(EngineSettings(str(tmp_path / "out"), device="cpu", dtype="float32"))


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def unloadable(model, folder, **_):
    folder.mkdir()
    (folder / "config.json").write_text("{}")


@pytest.mark.parametrize(("save", "said"), [(full, "No space left"), (unloadable, "does not load")])
def test_a_failed_export_keeps_the_earlier_checkpoint(run, corpus, tmp_path, monkeypatch, save, said):
    from transformers import DiffusionGemmaForBlockDiffusion

    out = tmp_path / "out"
    export(run.folder, corpus, out)
    before = files(out)
    monkeypatch.setattr(DiffusionGemmaForBlockDiffusion, "save_pretrained", save)
    with pytest.raises(TrainingError, match=said):
        export(run.folder, corpus, out)
    assert files(out) == before
    assert list(tmp_path.iterdir()) == [out]


def test_an_older_checkpoint_is_replaced_and_nothing_else_is(run, corpus, tmp_path):
    export(run.folder, corpus, tmp_path / "out", "first")
    export(run.folder, corpus, tmp_path / "out", "second")
    assert json.loads((tmp_path / "out" / "palimpsest.json").read_text())["name"] == "second"
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "thesis.tex").write_text("x")
    with pytest.raises(TrainingError, match="is no checkpoint"):
        export(run.folder, corpus, papers)
    assert files(papers) == {"thesis.tex": b"x"}


def test_a_missing_run_cannot_be_exported(corpus, tmp_path):
    with pytest.raises(TrainingError, match="holds no training run"):
        export(tmp_path / "nothing", corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_curves_are_drawn_over_the_compute_of_every_stretch(run, control, smoke, tmp_path):
    narrow = replace(smoke, row=replace(smoke.row, canvases=2))
    whole = 3 * step_flops(smoke) + 3 * step_flops(narrow)
    assert series(run.folder, "diffusion")[-1][0] == pytest.approx(whole / 1e15)
    assert len(series(run.folder, "held_out_causal")) == 2
    curves(run.folder, tmp_path / "curves.svg", control.folder)
    curves(run.folder, tmp_path / "alone.svg")
    lines = [(tmp_path / name).read_text().count("<use ") for name in ("curves.svg", "alone.svg")]
    assert lines[0] > lines[1]
    with pytest.raises(TrainingError):
        curves(tmp_path, tmp_path / "none.svg")

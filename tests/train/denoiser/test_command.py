"""The whole path by the command line on a CPU: a kit cut and joined, trained by steps, saved, evaluated, and read again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open

from palimpsest_train.denoiser import kit as kits
from palimpsest_train.denoiser.adapter import load, pack, save
from palimpsest_train.denoiser.base import random_base
from palimpsest_train.denoiser.command import denoiser
from palimpsest_train.denoiser.network import Adapter
from palimpsest_train.denoiser.recipe import SMOKE
from palimpsest_train.denoiser.run import TINY, Kit
from palimpsest_train.denoiser.run import train as run_train
from palimpsest_train.denoiser.train import Length, Trainer
from palimpsest_train.errors import TrainingError


def run(*arguments):
    result = CliRunner().invoke(denoiser, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def rows(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_smoke(kit, tmp_path):
    """Trains by steps, saves twice, evaluates; what comes back is few small files."""
    options = ("--device", "cpu", "--smoke", "--steps", 6, "--workers", 0)
    run("train", "--kit", kit.folder, "--out", tmp_path, *options)
    found = rows(tmp_path / "metrics.jsonl")
    assert [row["saved"] for row in found if "saved" in row] == ["half time", "done"]
    assert [row["step"] for row in found if "norm" in row] == [1, 3]
    assert [row["problems"] for row in found if row.get("evaluation") == "1-small"] == [1, 1, 2]
    assert {row["task_id"] for row in rows(tmp_path / "fills.jsonl")} == {"one", "two"}
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) <= 8
    assert max(sizes) < 16 * 2**20


def test_the_loss_falls(kit, tmp_path):
    changes = ("--set", "learning_rate=1e-2", "--set", "grow=0")
    run("train", "--kit", kit.folder, "--out", tmp_path, "--device", "cpu", "--smoke", "--steps", 25, "--workers", 0,
        "--evaluate", 1, *changes)  # fmt: skip
    before, after = (row["loss"] for row in rows(tmp_path / "metrics.jsonl") if "held_out" in row)
    assert after < before - 0.1


def test_rows_from_processes(kit, tmp_path):
    run_train(kit, tmp_path, SMOKE, Length(60, 2), "cpu", 1, 0)
    assert rows(tmp_path / "metrics.jsonl")[-1]["saved"] == "done"


def test_probe(kit, tmp_path):
    run("probe", "--kit", kit.folder, "--out", tmp_path, "--device", "cpu", "--smoke", "--steps", 1, "--workers", 0)
    found = rows(tmp_path / "probe.jsonl")
    assert next(row["agrees"] for row in found if "agrees" in row) == pytest.approx(1)


def test_a_lost_number_ends_the_run_with_the_adapter_before_it(kit, tmp_path, monkeypatch):
    first = Trainer.gradient

    def lost(self, batch):
        first(self, batch)
        if len(seen) == 2:
            self.adapter.mask_in.grad.fill_(float("nan"))
        seen.append(1)

    seen = []
    monkeypatch.setattr(Trainer, "gradient", lost)
    with pytest.raises(TrainingError, match="step 2 is not finite"):
        run_train(kit, tmp_path, SMOKE, Length(60, 6), "cpu", 0, 0)
    with safe_open(tmp_path / "adapter-1-of-1.safetensors", "pt") as file:
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118


def test_short_memory_lets_fewer_rows_go_at_once(kit, tmp_path, monkeypatch):
    first = Trainer.gradient

    def short(self, batch):
        if self.recipe.at_once > 1:
            raise torch.OutOfMemoryError
        first(self, batch)

    monkeypatch.setattr(Trainer, "gradient", short)
    run_train(kit, tmp_path, SMOKE, Length(60, 2), "cpu", 0, 0)
    assert {"at_once": 1, "memory": 0.0} in rows(tmp_path / "metrics.jsonl")


def test_an_adapter_is_read_as_it_was(kit, tmp_path):
    vocabulary = kit.vocabulary()
    base = kit.base(vocabulary, "cpu", torch.float32)
    adapter = Adapter(base, SMOKE.rank, SMOKE.alpha, vocabulary.special.filler)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_(generator=generator)
    save(adapter, base, SMOKE, tmp_path, step=3)
    again, note = load(tmp_path, base)
    assert (note["step"], note["noise"], note["mask_id"], note["shift"]) == (3, "mask", base.mask, True)
    for number in range(TINY.layers):
        for place, (down, up) in adapter.layer(number, torch.float32).items():
            other = again.layer(number, torch.float32)[place]
            torch.testing.assert_close(other[1] @ other[0], up @ down, rtol=0.05, atol=0.1)
    torch.testing.assert_close(again.mask_in, adapter.mask_in)

    packed = tmp_path / "packed"
    assert "off by" in run("pack", "--adapter", tmp_path, "--out", packed)
    size = sum(path.stat().st_size for path in packed.iterdir())
    assert size < 0.8 * sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    near, note = load(packed, base)
    assert note["step"] == 3
    torch.testing.assert_close(near.mask_in, adapter.mask_in)
    for name, parameter in again.pairs.items():
        assert float((near.pairs[name] - parameter).detach().norm() / parameter.detach().norm()) < 0.02
    with pytest.raises(TrainingError, match="packed already"):
        pack(packed, tmp_path / "twice")

    base.sha256 = "another"
    with pytest.raises(TrainingError, match="another"):
        load(tmp_path, base)


def test_parts_travel_and_are_joined(kit, tmp_path, monkeypatch):
    whole, out, there = tmp_path / "whole", tmp_path / "parts", tmp_path / "there"
    shutil.copytree(kit.folder, whole)
    data = np.random.default_rng(0).bytes(400_000)
    (whole / kits.BASE).write_bytes(data)
    monkeypatch.setattr(kits, "RESERVE", 2**17)
    most = 2**18 + 2**17
    run("split", "--kit", whole, "--out", out, "--mebibytes", most / 2**20)
    parts = sorted(out.glob("part*"))
    assert len(parts) > 1
    assert all(kits.size_of(part) <= most for part in parts)
    calls = (out / "calls.txt").read_text("utf-8").strip().split("\n\n")
    assert len(calls) == len(parts)
    assert all(len(call) <= 2000 for call in calls)
    for part in parts:
        shutil.copytree(part, there, dirs_exist_ok=True)
        assert ("waits" in run("join", "--kit", there)) == (part != parts[-1])
    assert (there / kits.BASE).read_bytes() == data
    assert len(Kit(there, TINY).vocabulary()) == len(kit.vocabulary())
    assert (there / "code" / "palimpsest_train" / "denoiser" / "train.py").exists()
    (there / f"{kits.BASE}.01").write_bytes(b"damaged")
    result = CliRunner().invoke(denoiser, ["join", "--kit", str(there)])
    assert result.exit_code == 1
    assert re.search("not what was cut", result.output)


def test_a_part_and_the_tree_share_a_call(tmp_path):
    with pytest.raises(TrainingError, match="no working tree"):
        kits.room(tmp_path, 2**24)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "new").write_bytes(bytes(1000))
    (tmp_path / "old").write_bytes(bytes(500))
    (tmp_path / "built").write_bytes(bytes(9000))
    (tmp_path / ".gitignore").write_text("built\n.gitignore\n", "utf-8")
    subprocess.run(["git", "-C", tmp_path, "add", "old"], check=True)
    assert kits.room(tmp_path, 2**24) == 2**24 - 1500 - kits.SPARE


def test_a_random_base_is_the_same_each_time():
    one, two = (random_base(TINY, np.arange(9), 8, "cpu", torch.float32) for _ in range(2))
    assert torch.equal(one.layers[1].down, two.layers[1].down)

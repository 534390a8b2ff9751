from __future__ import annotations

import json

import pytest

from palimpsest_engine import CheckpointMissing, EngineStatus, doctor
from palimpsest_engine.scripted import ScriptedEngine

from .conftest import Palimpsest

NAMES = ["python", "packages", "memory", "device", "grammars", "checkpoint", "fill"]


def test_all_is_well(palimpsest: Palimpsest) -> None:
    result = palimpsest("doctor", "--json", "--device", "cpu")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"], report["format"]) == (0, True, 1)
    assert [check["name"] for check in report["checks"]] == NAMES
    assert all(set(check) == {"name", "status", "found", "advice"} for check in report["checks"])


def test_people_get_lines(palimpsest: Palimpsest) -> None:
    result = palimpsest("doctor", "--device", "cpu")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "all is well"
    assert [line[8:].split()[0] for line in result.stdout.splitlines() if line.startswith("ok ")][-1] == "fill"


def test_a_fill_that_fails(palimpsest: Palimpsest) -> None:
    palimpsest.script_settings = {"error": CheckpointMissing("there is none")}
    result = palimpsest("doctor", "--json", "--device", "cpu")
    last = json.loads(result.stdout)["checks"][-1]
    assert (result.exit_code, last["status"], last["found"]) == (1, "error", "there is none")
    assert last["advice"]


def test_a_checkpoint_that_cannot_be_loaded(palimpsest: Palimpsest, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EngineStatus("error", "it is truncated", exit_code=21)
    monkeypatch.setattr(ScriptedEngine, "status", lambda self: broken)
    result = palimpsest("doctor", "--device", "cpu")
    assert result.exit_code == 1
    assert "it is truncated" in result.stdout
    assert "what to do: " in result.stdout
    assert "fill  " not in result.stdout


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check = doctor.check_device("cuda")
    assert (check.status, check.advice) == ("error", "use --device cpu")
    assert doctor.check_device("auto").status == "ok"


def test_a_grammar_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "languages", lambda: ("python", "klingon"))
    check = doctor.check_grammars()
    assert (check.status, check.found) == ("error", "cannot load klingon")


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    class Memory:
        available, total = 100 * 2**20, 4 * 2**30

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    check = doctor.check_memory()
    assert (check.status, check.found) == ("warning", "0.1 of 4.0 GiB free")

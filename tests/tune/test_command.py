"""`palimpsest tune` from the command line, with a tiny checkpoint, to an adapter that the other commands take."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from palimpsest_engine.checkpoint.adapter import NOTE_FILE
from palimpsest_server.cli import main
from palimpsest_tune.cli import default_out
from palimpsest_tune.run import Tuning

FAST = ("--steps", 12, "--rows", 2, "--rank", 4, "--lines", 1, "--learning-rate", 0.01, "--threads", 1)


def run(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def tune(folder, shop, tmp_path):
    def call(*more, path=shop, out=tmp_path / "out" / "adapter"):
        return run("tune", path, "--model", folder, "--device", "cpu", "--out", out, *FAST, *more)

    return call


def steps_of(out):
    return json.loads((out / NOTE_FILE).read_text("utf-8"))["recipe"]["steps"]


def test_an_adapter_is_made_and_served(tune, folder, tmp_path):
    out = tmp_path / "out" / "adapter"
    result = tune()
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("tiny on cpu: tuning on 10 files")
    assert [line.split()[0] for line in lines if "held-out loss" in line] == ["before:", "after:"]
    assert "it helped" in result.stdout
    assert f"written to {out}" in result.stdout
    assert [path.name for path in out.parent.iterdir()] == ["adapter"]
    code = tmp_path / "new.py"
    code.write_text("def total():\n    return \n", "utf-8")
    filled = run("fill", code, "--at", "2:12", "--model", folder, "--device", "cpu", "--adapter", out, "--json")
    assert json.loads(filled.stdout)["model"] == "tiny with the adapter adapter"
    told = run("doctor", "--model", folder, "--device", "cpu", "--adapter", out)
    assert "tiny with the adapter adapter on cpu" in told.stdout
    refused = run("doctor", "--device", "cpu", "--adapter", out)  # with the embedded checkpoint
    assert refused.exit_code == 1
    assert 'was made for "tiny"' in refused.stdout


def test_an_adapter_that_did_not_help_is_written_only_on_request(tune, tmp_path):
    out = tmp_path / "out" / "adapter"
    result = tune("--steps", 1, "--learning-rate", 1e-9)
    assert result.exit_code == 1
    assert "it did not help" in result.stdout
    assert "nothing is written" in result.stderr
    assert list(out.parent.iterdir()) == []
    result = tune("--steps", 1, "--learning-rate", 1e-9, "--keep-anyway")
    assert result.exit_code == 0
    assert "it did not help" in result.stdout
    assert steps_of(out) == 1


def interrupted_after(steps, monkeypatch):
    """Ctrl-C during the step after so many; rest of the world as it is."""
    train = Tuning.train

    def pressed(self, folder):
        work = train(self, folder)
        try:
            for at in work:
                if at.step == steps:
                    os.kill(os.getpid(), signal.SIGINT)
                yield at
        finally:
            work.close()

    monkeypatch.setattr(Tuning, "train", pressed)


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself an interrupt there")
def test_ctrl_c_ends_the_training_and_keeps_the_adapter(tune, tmp_path, monkeypatch):
    interrupted_after(6, monkeypatch)
    before = signal.getsignal(signal.SIGINT)
    result = tune("--keep-anyway")
    assert result.exit_code == 0, result.output
    assert "stopped" in result.stderr
    assert steps_of(tmp_path / "out" / "adapter") == 6
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself an interrupt there")
def test_ctrl_c_while_measuring_leaves_nothing(tune, tmp_path, monkeypatch):
    def pressed(self, folder, before):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Tuning, "finish", pressed)
    monkeypatch.setattr("palimpsest_server.protocol.transport.leave", lambda code: code)
    result = tune("--steps", 1)
    assert result.exit_code == 130
    assert list((tmp_path / "out").iterdir()) == []


def test_errors_are_reported_before_training(tune, shop, tmp_path, monkeypatch):
    def never(self, folder):
        raise AssertionError("training began")

    monkeypatch.setattr(Tuning, "train", never)
    for code, says, arguments in [
        (10, "not there", {"path": tmp_path / "nowhere"}),
        (10, "not a folder", {"path": shop / "part0.py"}),
        (1, "is not an adapter", {"out": shop}),
        (20, "no checkpoint folder and no GGUF file", {"more": ("--model", "/no/such/folder")}),
        (31, "klingon", {"more": ("--language", "klingon")}),
        (40, "0 tokens in 0 files", {"more": ("--language", "rust")}),
        (2, "--minutes", {"more": ("--minutes", "0")}),
    ]:
        more = arguments.pop("more", ())
        result = tune(*more, **arguments)
        assert (result.exit_code, says in result.stderr) == (code, True), result.output
        assert "Traceback" not in result.output
    assert not list(tmp_path.glob("out/*"))


def test_without_peft_nothing_begins(tune, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    result = tune()
    assert result.exit_code == 1
    assert "-m pip install 'peft" in result.stderr


def test_the_default_folder_is_in_the_users_data(shop, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    place = default_out(str(shop))
    assert place.is_relative_to(tmp_path)
    assert not place.is_relative_to(shop)
    assert place.name.startswith("shop-")
    assert place == default_out(str(shop) + "/.")
    other = tmp_path / "shop"
    other.mkdir()
    assert default_out(str(other)) != place
    assert default_out("/").parent == place.parent
    assert Path("/") not in (default_out("/"),)

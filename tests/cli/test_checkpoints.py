"""Checkpoints that cannot be used, through the real engine: one sentence, one exit code, nothing written."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from palimpsest_engine.checkpoint.locate import EMBEDDED
from palimpsest_server.cli import main

WEIGHTS = "model.safetensors"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED, tmp_path / "checkpoint"))


def fill(tmp_path: Path, *options: str) -> Result:
    path = tmp_path / "a.py"
    path.write_text("x = <|hole|>\n")
    result = CliRunner().invoke(main, ["fill", str(path), "--holes", "--write", "--device", "cpu", *options])
    assert path.read_text() == "x = <|hole|>\n"
    return result


def truncate(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def cut_header(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:5])


def spoil_header(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[9:12] = b"\xff\xff\xff"
    (folder / WEIGHTS).write_bytes(data)


def spoil_weights(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1000] ^= 0x40
    (folder / WEIGHTS).write_bytes(data)


def add_bytes(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"more")


class Bomb:
    """A pickle that creates a file as soon as it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path(self.target),)  # type: ignore[return-value]


def pickle_in_its_place(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb(folder / "went off")))


def pickle_only(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(folder / "went off")))


def configure(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (truncate, 21),
        (cut_header, 21),
        (spoil_header, 21),
        (spoil_weights, 21),
        (add_bytes, 21),
        (lambda folder: (folder / "tokenizer.json").unlink(), 21),
        (lambda folder: (folder / "config.json").write_text("{"), 21),
        (lambda folder: (folder / "config.json").unlink(), 21),
        (lambda folder: (folder / WEIGHTS).unlink(), 20),
        (pickle_in_its_place, 22),
        (pickle_only, 22),
        (configure(model_type="llama", architectures=["LlamaForCausalLM"]), 21),
        (configure(quantization_config={"quant_method": "strange"}), 22),
        (configure(auto_map={"AutoModel": "evil.Model"}), 22),
    ],
)
def test_a_checkpoint_that_cannot_be_used(
    tmp_path: Path, checkpoint: Path, spoil: Callable[[Path], None], code: int
) -> None:
    spoil(checkpoint)
    result = fill(tmp_path, "--model", str(checkpoint))
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert result.stderr.startswith("palimpsest: ")
    assert result.stderr.count("\n") == 1
    assert not (checkpoint / "went off").exists()


@pytest.mark.parametrize("name", ["./nowhere", "nobody/nothing", "nonsense"])
def test_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert fill(tmp_path, "--model", name).exit_code == 20


@pytest.mark.parametrize("name", ["google/diffusiongemma-26B-A4B-it", "embedded-too", "a/b/c"])
def test_a_repository_chooses_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(EMBEDDED, tmp_path / name)
    result = fill(tmp_path, "--model", name)
    assert result.exit_code == 20
    assert "The path of a folder or file is absolute, or begins with ./, ../ or ~." in result.stderr


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available, total = 2**20, 2**30

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    result = fill(tmp_path)
    assert result.exit_code == 30
    assert "1 MiB" in result.stderr
    assert result.stderr.count("\n") == 1

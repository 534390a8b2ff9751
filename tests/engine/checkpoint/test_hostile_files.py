"""Checkpoint folders that somebody made to do harm: pipes, huge headers, numbers that are none, code in their configs."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from palimpsest_engine import CheckpointBroken, EngineSettings, PalimpsestError, UnsupportedCheckpoint
from palimpsest_engine.checkpoint import adopt
from palimpsest_engine.checkpoint.header import digest, read_header
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.checkpoint.locate import locate

from ..causal import write_model

WEIGHTS = "model.safetensors"


@pytest.fixture(params=["diffusion", "left to right"])
def folder(request: pytest.FixtureRequest, checkpoint_folder: Path, tmp_path: Path) -> Path:
    """Return a good checkpoint folder of either family, which loads."""
    if request.param == "diffusion":
        return Path(shutil.copytree(checkpoint_folder, tmp_path / "copy"))
    return write_model(tmp_path / "copy")


def loaded(folder: Path, dtype: str = "float32") -> object:
    return load(EngineSettings(str(folder), "cpu", dtype))  # type: ignore[arg-type]


def change(folder: Path, spoil: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    spoil(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
@pytest.mark.parametrize(
    "name", [WEIGHTS, "tokenizer.json", "config.json", "palimpsest.json", "generation_config.json", "anything"]
)
def test_a_pipe_is_refused_and_nobody_waits_for_it(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(CheckpointBroken, match="is a pipe or a device"):
        locate(str(folder))
    with pytest.raises(CheckpointBroken, match="is a pipe or a device"):
        adopt.add(folder, "mine")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_a_pipe_has_no_header(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / WEIGHTS)
    with pytest.raises(CheckpointBroken, match="is a pipe or a device"):
        read_header(tmp_path / WEIGHTS)


SPARSE = """
import resource, sys
from pathlib import Path
from palimpsest_engine import PalimpsestError
from palimpsest_engine.checkpoint.header import digest, read_header
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_header(Path(sys.argv[1]))
except PalimpsestError as error:
    print(error)
if sys.argv[2:]:
    print(digest(Path(sys.argv[1])))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sparse files, and kilobytes")
@pytest.mark.parametrize(
    ("size", "header", "said"),
    [
        (7 * 2**30, 7 * 2**30 - 8, "has a header of 7,516,192,760 bytes; 100,000,000 are possible"),
        (7 * 2**30, 2**40, "is truncated or not a safetensors file"),
        (7 * 2**30, 0, "has a damaged safetensors header"),
    ],
)
def test_a_sparse_file_is_not_read_into_memory(tmp_path: Path, size: int, header: int, said: str) -> None:
    with (tmp_path / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", header))
        file.truncate(size)
    command = [sys.executable, "-c", SPARSE, str(tmp_path / WEIGHTS)]
    told, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said in told
    assert int(grown) < 64


@pytest.mark.skipif(sys.platform != "linux", reason="sparse files, and kilobytes")
def test_hashing_takes_no_memory(tmp_path: Path) -> None:
    with (tmp_path / WEIGHTS).open("wb") as file:
        file.truncate(2**28)
    command = [sys.executable, "-c", SPARSE, str(tmp_path / WEIGHTS), "hash"]
    *_, sha256, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert sha256 == digest(tmp_path / WEIGHTS)
    assert int(grown) < 64


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("which", ["norm.weight", "q_proj.weight", "embed_tokens.weight"])
@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_weights_that_are_no_numbers_are_refused(folder: Path, value: float, which: str, dtype: str) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        name = next(each for each in tensors if each.endswith(which))
        tensors[name].view(-1)[3] = value

    change(folder, spoil)
    with pytest.raises(CheckpointBroken, match=rf"{which} in .* holds numbers that are not finite"):
        loaded(folder, dtype)


@pytest.mark.parametrize("kind", [torch.int16, torch.int8, torch.uint8, torch.bool, torch.int64])
def test_whole_numbers_are_no_weights(folder: Path, kind: torch.dtype) -> None:
    change(folder, lambda tensors: tensors.update({name: each.to(kind) for name, each in tensors.items()}))
    with pytest.raises(UnsupportedCheckpoint, match="weights in F64, F32, F16, BF16 are loaded"):
        loaded(folder)


@pytest.mark.parametrize(
    "nested",
    [
        {"auto_map": {"AutoModel": "evil.Model"}},
        {"text_config": {"auto_map": {"AutoModel": "evil.Model"}}},
        {"extra": [{"deeper": {"auto_map": None}}]},
        {"a": {"b": {"c": [[{"auto_map": {}}]]}}},
    ],
)
def test_code_is_refused_at_any_depth(folder: Path, nested: dict[str, object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key, value in nested.items():
        config[key] = {**config[key], **value} if isinstance(config.get(key), dict) else value  # type: ignore[dict-item]
    (folder / "config.json").write_text(json.dumps(config))
    for attempt in (lambda: loaded(folder), lambda: adopt.add(folder, "mine")):
        with pytest.raises(UnsupportedCheckpoint, match=r"run code of its own \(auto_map"):
            attempt()


def test_the_folders_load_as_they_are(folder: Path) -> None:
    assert loaded(folder)
    assert issubclass(CheckpointBroken, PalimpsestError)

"""Adding the user's own files: what is checked, what is recorded, what is refused."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from palimpsest_engine import CheckpointBroken, CheckpointMissing, UnsupportedCheckpoint
from palimpsest_engine.checkpoint import catalogue, store
from palimpsest_engine.checkpoint.adopt import add
from palimpsest_engine.checkpoint.locate import EMBEDDED, locate
from palimpsest_engine.errors import DataError

GGUF = b"GGUF" + (3).to_bytes(4, "little") + bytes(16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "My model (v2).gguf"
    path.write_bytes(GGUF)
    return path


def test_a_file_is_recorded_where_it_is(file: Path, models: Path) -> None:
    model = add(file)
    assert (model.name, model.path, model.problem) == ("My-model-v2", file, "")
    assert (model.record.kind, model.record.licence, model.record.files[0].sha256) == ("added", None, None)
    assert [path.name for path in (models / model.name).iterdir()] == ["model.json"]
    assert locate("My-model-v2") == file


def test_a_folder_is_recorded_where_it_is(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(EMBEDDED, tmp_path / "copy"))
    model = add(folder, "small")
    assert (model.name, model.path, model.problem) == ("small", folder, "")
    assert {each.name for each in model.record.files} == {"config.json", "model.safetensors"}
    (folder / "model.safetensors").unlink()
    assert "is gone" in model.problem


def test_a_relative_path_is_recorded_whole(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert add(Path(file.name), "x").path == file


def test_a_file_of_the_catalogue_is_known_by_its_hash(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = catalogue.File("x.gguf", len(GGUF), hashlib.sha256(GGUF).hexdigest())
    entry = catalogue.Entry("known", "Known", "a/known", None, (stated,), "MIT")
    monkeypatch.setattr(catalogue, "entries", lambda: (entry,))
    model = add(file)
    assert (model.name, model.record.licence, model.record.files[0].sha256) == ("known", "MIT", stated.sha256)
    other = file.with_name("other.gguf")
    other.write_bytes(GGUF[:-1] + b"x")
    assert add(other).name == "other"
    with pytest.raises(DataError, match="is not that model"):
        add(other, "known")


def test_a_name_that_is_taken_is_refused(file: Path) -> None:
    add(file, "x")
    with pytest.raises(DataError, match="There is a model x already"):
        add(file, "x")
    with pytest.raises(DataError, match="cannot be a model's name"):
        add(file, "../x")
    with pytest.raises(DataError, match="is the name of a model in the catalogue"):
        add(file, "qwen2.5-coder-7b")


@pytest.mark.parametrize(
    ("name", "data", "error", "said"),
    [
        ("x.gguf", b"GGUF", CheckpointBroken, "truncated"),
        ("x.gguf", b"GGUF" + (9).to_bytes(4, "little") + bytes(16), UnsupportedCheckpoint, "GGUF of version 9"),
        ("x.gguf", b"PK\x03\x04" + bytes(20), UnsupportedCheckpoint, "is a pickle"),
        ("x.gguf", b"\x80\x02" + bytes(20), UnsupportedCheckpoint, "is a pickle"),
        ("pytorch_model.bin", b"anything", UnsupportedCheckpoint, "is a pickle"),
        ("model.safetensors", b"anything", UnsupportedCheckpoint, "add its folder"),
        ("x.txt", b"", UnsupportedCheckpoint, "is not a GGUF file"),
    ],
)
def test_files_that_are_no_model_are_refused(
    tmp_path: Path, models: Path, name: str, data: bytes, error: type[Exception], said: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=said):
        add(tmp_path / name)
    assert not models.exists()


def test_folders_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match="no file or folder"):
        add(tmp_path / "nothing")
    with pytest.raises(CheckpointBroken, match=r"lacks config.json"):
        add(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UnsupportedCheckpoint, match="as a pickle"):
        add(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"12345678" * 4)
    with pytest.raises(CheckpointBroken):
        add(tmp_path)
    (tmp_path / "config.json").write_text('{"auto_map": {}}')
    with pytest.raises(UnsupportedCheckpoint, match="auto_map"):
        add(tmp_path)
    assert store.names() == []

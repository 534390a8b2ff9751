"""The denoiser that comes with the package: whole, for a file of the catalogue, and asked for by that file alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from palimpsest_engine import EngineSettings
from palimpsest_engine.checkpoint import catalogue, denoiser, store
from palimpsest_engine.checkpoint.load import load
from palimpsest_engine.errors import CheckpointBroken, CheckpointMissing

from ..causal import write_model

FOLDERS = sorted(denoiser.SHIPPED.glob("*/"))


@pytest.fixture(autouse=True)
def no_models(tmp_path, monkeypatch):
    monkeypatch.setenv("PALIMPSEST_MODELS", str(tmp_path / "models"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_shipped_denoiser_is_whole_and_says_where_it_is_from(folder):
    note = denoiser.read_note(folder)
    known = {file.sha256 for entry in catalogue.entries() for file in entry.files}
    assert note["base_sha256"] in known
    assert sum(path.stat().st_size for path in denoiser.parts_of(folder)) < 40 * 2**20
    said = (folder / "README.md").read_text("utf-8")
    assert note["base_sha256"] in said
    assert "Apache-2.0" in said
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text("utf-8").splitlines()]
    assert rows
    assert (folder / "ATTRIBUTION.txt.xz").stat().st_size > 0


def sparse(path: Path, size: int) -> Path:
    """A file of a size that takes no room."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.fixture
def base():
    """(Its folder, the SHA-256 and the size of the file it is for)."""
    (folder,) = FOLDERS
    wanted = denoiser.read_note(folder)["base_sha256"]
    (size,) = {file.size for entry in catalogue.entries() for file in entry.files if file.sha256 == wanted}
    return folder, wanted, size


def test_a_file_of_another_size_is_not_even_hashed(tmp_path, monkeypatch, base):
    monkeypatch.setattr(denoiser, "digest", lambda path: pytest.fail("it was hashed"))
    assert denoiser.shipped(sparse(tmp_path / "a.gguf", base[2] - 1)) is None
    assert denoiser.shipped(tmp_path) is None


def test_the_hash_decides(tmp_path, monkeypatch, base):
    folder, wanted, size = base
    path = sparse(tmp_path / "a.gguf", size)
    for found, expected in ((wanted, folder), ("0" * 64, None)):
        monkeypatch.setattr(denoiser, "digest", lambda path, found=found: found)
        assert denoiser.shipped(path) == expected


def test_a_model_that_was_verified_when_it_was_fetched_is_not_hashed_again(tmp_path, monkeypatch, base):
    folder, wanted, size = base
    monkeypatch.setattr(denoiser, "digest", lambda path: pytest.fail("it was hashed"))
    place = store.folder_of("coder")
    files = (store.StoredFile("a.gguf", size, wanted),)
    store.write_record(place, store.Record("coder", "hub", "somewhere", None, files, "a.gguf"))
    assert denoiser.shipped(sparse(place / "a.gguf", size)) == folder


def test_a_left_to_right_model_without_a_denoiser_has_no_canvas(tmp_path):
    folder = write_model(tmp_path / "model")
    for adapter in (None, "none"):
        loaded = load(EngineSettings(str(folder), device="cpu", dtype="float32", adapter=adapter))
        assert not loaded.spec.denoises
        assert not hasattr(loaded.model.model, "decoder")


def test_a_denoiser_of_another_model_loads_nothing(tmp_path, base):
    folder = write_model(tmp_path / "model")
    with pytest.raises(
        CheckpointBroken, match=r"was trained for the file with the SHA-256 .* another one \(a folder\)"
    ):
        load(EngineSettings(str(folder), device="cpu", dtype="float32", adapter=str(base[0])))
    with pytest.raises(CheckpointMissing, match="There is no folder"):
        load(EngineSettings(str(folder), device="cpu", dtype="float32", adapter=str(tmp_path / "nowhere")))

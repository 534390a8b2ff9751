"""The store of models: records, the user's choice, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from palimpsest_engine import CheckpointBroken, CheckpointMissing
from palimpsest_engine.checkpoint import store
from palimpsest_engine.checkpoint.store import Record, StoredFile
from palimpsest_engine.errors import DataError


def put(name: str, data: bytes = b"GGUF", load: str | None = "x.gguf") -> store.Installed:
    """Install a model of one file."""
    folder = store.folder_of(name)
    folder.mkdir(parents=True)
    (folder / "x.gguf").write_bytes(data)
    files = (StoredFile("x.gguf", len(data), "00"),)
    store.write_record(folder, Record(name, "hub", "a/x", "1" * 40, files, load, "MIT"))
    model = store.find(name)
    assert model is not None
    return model


def test_an_empty_store_has_no_models_and_no_choice(models: Path) -> None:
    assert (store.installed(), store.names(), store.chosen(), store.find("x")) == ([], [], None, None)
    assert not models.exists()


def test_a_model_is_found_with_its_record(models: Path) -> None:
    model = put("x")
    assert model.path == models / "x" / "x.gguf"
    assert (model.record.licence, model.record.size, model.problem) == ("MIT", 4, "")
    assert store.installed() == [model]


def test_a_checkpoint_is_its_folder(models: Path) -> None:
    assert put("x", load=None).path == models / "x"


def test_the_folder_is_in_the_user_s_data_unless_the_environment_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PALIMPSEST_MODELS")
    assert store.root().parts[-2:] == ("palimpsest", "models")
    monkeypatch.setenv("PALIMPSEST_MODELS", "~/elsewhere")
    assert store.root() == Path.home() / "elsewhere"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "embedded", "x.part", "chosen.json", "-x", "é", "a" * 101]
)
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="cannot be a model's name"):
        store.folder_of(name)
    assert store.find(name) is None


def test_files_that_changed_are_named(models: Path) -> None:
    model = put("x")
    model.path.write_bytes(b"GGUF and more")
    assert model.problem == f"{model.path} has 13 bytes, not the 4 of its record."
    model.path.unlink()
    assert model.problem == f"{model.path} is gone."


def test_the_choice_is_kept_and_taken_back() -> None:
    store.choose("x")
    assert store.chosen() == "x"
    store.choose(None)
    assert store.chosen() is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 2, "name": "x"}', '{"format": 1, "name": 3}']
)
def test_a_damaged_choice_is_an_error_that_says_how_to_mend_it(models: Path, text: str) -> None:
    models.mkdir()
    (models / "chosen.json").write_text(text)
    with pytest.raises(CheckpointBroken, match="palimpsest models use NAME"):
        store.chosen()
    store.choose("x")
    assert store.chosen() == "x"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "name": "x"}', '{"format": 1, "files": [{"odd": 1}]}'])
def test_a_damaged_record_is_an_error_and_the_other_models_go_on(models: Path, text: str) -> None:
    put("x")
    other = put("y")
    (models / "x" / "model.json").write_text(text)
    with pytest.raises(CheckpointBroken, match="palimpsest models remove x"):
        store.find("x")
    assert store.installed() == [other]
    assert store.names() == ["x", "y"]


def test_removing_takes_the_model_its_half_download_and_the_choice(models: Path) -> None:
    put("x")
    (models / "x.part").mkdir()
    (models / "x.part" / "half").write_bytes(b"1234")
    store.choose("x")
    assert store.remove("x") > 8
    assert store.chosen() is None
    assert [path.name for path in models.iterdir()] == ["chosen.json"]
    with pytest.raises(CheckpointMissing, match="palimpsest models list"):
        store.remove("x")


def test_removing_an_added_model_leaves_the_user_s_file(models: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(b"GGUF")
    record = Record("mine", "added", str(mine), None, (StoredFile("mine.gguf", 4),), "mine.gguf")
    store.write_record(store.folder_of("mine"), record)
    found = store.find("mine")
    assert found is not None
    assert found.path == mine
    store.remove("mine")
    assert mine.exists()
    assert store.find("mine") is None


def test_a_record_is_plain_json(models: Path) -> None:
    put("x")
    assert json.loads((models / "x" / "model.json").read_text()) == {
        "format": 1,
        "name": "x",
        "kind": "hub",
        "source": "a/x",
        "revision": "1" * 40,
        "files": [{"name": "x.gguf", "size": 4, "sha256": "00"}],
        "load": "x.gguf",
        "licence": "MIT",
    }

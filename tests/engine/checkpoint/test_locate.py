"""Names of checkpoints: which path each one means, and what is said of those that mean none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from palimpsest_engine import CheckpointMissing
from palimpsest_engine.checkpoint import store
from palimpsest_engine.checkpoint.locate import EMBEDDED, is_embedded, locate
from palimpsest_engine.checkpoint.store import Record, StoredFile
from palimpsest_engine.errors import DataError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with a folder and a GGUF file; the store has the model `mine`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.gguf").write_bytes(b"GGUF")
    (tmp_path / "file.bin").write_bytes(b"PK")
    folder = store.folder_of("mine")
    folder.mkdir(parents=True)
    (folder / "m.gguf").write_bytes(b"GGUF")
    store.write_record(folder, Record("mine", "hub", "a/m", None, (StoredFile("m.gguf", 4),), "m.gguf"))
    return tmp_path


def test_no_name_is_the_embedded_one_until_another_is_chosen(here: Path, models: Path) -> None:
    assert locate(None) == EMBEDDED
    assert is_embedded(None)
    store.choose("mine")
    assert locate(None) == models / "mine" / "m.gguf"
    assert not is_embedded(None)
    assert locate("embedded") == EMBEDDED
    assert is_embedded("embedded")
    store.choose("embedded")
    assert locate(None) == EMBEDDED
    assert is_embedded(None)


def test_paths_are_written_as_paths(here: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate("./folder") == Path("folder")
    assert locate(f"../{here.name}/folder").samefile(here / "folder")
    assert locate(str(here / "folder")) == here / "folder"
    assert locate("./file.gguf") == Path("file.gguf")
    assert locate(".") == Path()
    monkeypatch.setenv("HOME", str(here))
    assert locate("~/folder") == here / "folder"
    (here / "mine").mkdir()
    assert locate("mine") == models / "mine" / "m.gguf"
    assert locate("./mine") == Path("mine")


@pytest.mark.parametrize(
    "name",
    [
        "google/diffusiongemma-26B-A4B-it",
        "qwen2.5-coder-0.5b",
        "plain",
        "a/b/c",
        "weights.gguf",
        "a/weights.gguf",
        "~nobody-has-this-name/a",
        "...",
        ".hidden/a",
        "-",
    ],
)
def test_no_name_means_what_lies_where_the_program_runs(here: Path, name: str) -> None:
    path = here / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gguf":
        path.write_bytes(b"GGUF")
    else:
        shutil.copytree(EMBEDDED, path)
    with pytest.raises(CheckpointMissing):
        locate(name)
    assert locate(str(path)) == path


def test_the_folder_of_all_models_does_not_depend_on_the_working_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALIMPSEST_MODELS", "models")
    with pytest.raises(DataError, match="PALIMPSEST_MODELS has to be an absolute path, not models"):
        locate("mine")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("qwen2.5-coder-0.5b", r"`palimpsest models pull qwen2.5-coder-0.5b` fetches it \(491 MB\)"),
        (
            "diffusiongemma-26b",
            r"`palimpsest models pull diffusiongemma-26b` fetches it \(its size is not known here\)",
        ),
        ("qwen2.5-coder-05b", r"Did you mean qwen2.5-coder-0.5b"),
        ("Mine2", r"Did you mean mine\?"),
        (
            "nothing-like-it",
            r"There is no model nothing-like-it. The path of .* begins with ./, ../ or ~. `palimpsest models list`",
        ),
        ("./file.bin", r"is a file; a checkpoint is a folder"),
        ("no/such", r"no model of the id no/such in the local Hugging Face cache.*`palimpsest models list`"),
        ("./no/such", r"There is no checkpoint folder and no GGUF file ./no/such"),
    ],
)
def test_names_that_mean_nothing_are_explained(here: Path, name: str, said: str) -> None:
    with pytest.raises(CheckpointMissing, match=said):
        locate(name)


def test_a_model_whose_file_is_gone_says_what_to_do(here: Path, models: Path) -> None:
    (models / "mine" / "m.gguf").unlink()
    with pytest.raises(
        CheckpointMissing, match=r"mine cannot be used: .*m.gguf is gone. `palimpsest models pull mine`"
    ):
        locate("mine")


def test_an_added_model_whose_file_is_gone_says_what_to_do(here: Path) -> None:
    record = Record("own", "added", str(here / "file.gguf"), None, (StoredFile("file.gguf", 4),), "file.gguf")
    store.write_record(store.folder_of("own"), record)
    assert locate("own") == here / "file.gguf"
    (here / "file.gguf").unlink()
    with pytest.raises(CheckpointMissing, match=r"is gone\. Put it back, or run `palimpsest models remove own`"):
        locate("own")


def test_a_choice_whose_model_is_gone_says_what_to_do(here: Path) -> None:
    store.choose("vanished")
    with pytest.raises(CheckpointMissing, match="chosen model vanished is not on this machine any more"):
        locate(None)

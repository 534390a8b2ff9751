"""A calibration beside a model is read, or refused in one sentence; one that comes with the package is for one file only."""

import json

import pytest

from palimpsest_engine import CheckpointBroken
from palimpsest_engine.checkpoint import calibration_file, denoiser
from palimpsest_engine.checkpoint.calibration_file import SHIPPED, beside, calibration_of, read_calibration
from palimpsest_engine.checkpoint.catalogue import entries
from palimpsest_engine.checkpoint.locate import EMBEDDED

GOOD = {
    "format": "palimpsest-calibration-1",
    "model": "a",
    "sha256": "0" * 64,
    "measured": "2026-11-27, 800 places, python",
    "intercept": -0.5,
    "weights": {"total": 0.2},
    "languages": {"python": 0.0},
    "precisions": [[0.6, 0.4], [0.8, 0.7]],
}


def written(path, **changes):
    path.write_text(json.dumps(GOOD | changes), "utf-8")
    return path


def test_one_lies_in_the_folder_or_beside_the_file(tmp_path):
    weights = tmp_path / "m.gguf"
    weights.write_bytes(b"GGUF")
    assert calibration_of(tmp_path) is None
    assert calibration_of(weights) is None
    written(beside(weights))
    written(beside(tmp_path), intercept=1)
    assert (calibration_of(weights).intercept, calibration_of(tmp_path).intercept) == (-0.5, 1)
    assert calibration_of(weights).precisions == ((0.6, 0.4), (0.8, 0.7))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "palimpsest-calibration-2"},
        {"weights": [1]},
        {"weights": {"total": "much"}},
        {"weights": {"total": None}},
        {"weights": {f"w{number}": 0.0 for number in range(101)}},
        {"intercept": "0"},
        {"intercept": 1e300},
        {"languages": ["python"]},
        {"precisions": [[0.6]]},
        {"precisions": [[6, 0.1]]},
        {"precisions": {"0.6": 0.1}},
        {"model": "a\u001b[31m"},
        {"sha256": "no"},
        {"more": 1},
    ],
)
def test_a_value_that_cannot_be_is_refused_in_one_sentence(tmp_path, changes):
    path = written(tmp_path / "calibration.json", **changes)
    with pytest.raises(CheckpointBroken) as caught:
        calibration_of(tmp_path)
    assert str(path) in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "calibration.json").write_text("{", "utf-8")
    with pytest.raises(CheckpointBroken):
        calibration_of(tmp_path)


def test_one_of_the_package_is_for_the_file_with_its_hash_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(calibration_file, "SHIPPED", tmp_path)
    entry = next(entry for entry in entries() if entry.files and entry.files[0].sha256)
    written(tmp_path / "a.json", sha256=entry.files[0].sha256)
    weights = tmp_path / "m.gguf"
    weights.touch()
    monkeypatch.setattr(denoiser, "sha256_of", lambda source: entry.files[0].sha256)
    assert calibration_of(weights) is None  # it has not that file's size, so it is not even hashed
    with weights.open("r+b") as file:
        file.truncate(entry.files[0].size)
    assert calibration_of(weights).intercept == -0.5


def test_those_that_come_with_the_package_can_be_read_and_name_known_files():
    known = {file.sha256 for entry in entries() for file in entry.files}
    for path in [*SHIPPED.glob("*.json")]:
        assert read_calibration(path).languages
        assert json.loads(path.read_text("utf-8"))["sha256"] in known
    assert calibration_of(EMBEDDED).languages.keys() == {"python"}

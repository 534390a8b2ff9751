"""Find and read the calibration of a model: a file of numbers beside its weights, or one that comes with the package."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from palimpsest_engine.checkpoint.calibration import Calibration
from palimpsest_engine.checkpoint.denoiser import is_file_of
from palimpsest_engine.checkpoint.locate import read_json
from palimpsest_engine.checkpoint.rules import Rule, Unfit, checked, each, number, one_of, pair, table, text
from palimpsest_engine.errors import CheckpointBroken

FORMAT = "palimpsest-calibration-1"
SHIPPED = Path(__file__).parents[1] / "calibrations"
_NAME = text(40, r"[\w+#-]*")
_SHARE, _NUMBER = number(0, 1), number(-1e6, 1e6)
_FILE: dict[str, Rule] = {
    "format": one_of(FORMAT),
    "model": text(200),
    "sha256": text(64, "[0-9a-f]{64}"),
    "measured": text(2_000),
    "intercept": _NUMBER,
    "weights": table(_NAME, _NUMBER, 100),
    "languages": table(_NAME, _NUMBER, 200),
    "precisions": each(pair(_SHARE, _SHARE), 0, 100),
}


def beside(source: Path) -> Path:
    """Return where the calibration of a model may lie: in its folder, or beside its file."""
    return source / "calibration.json" if source.is_dir() else source.with_name(source.name + ".calibration.json")


def read_calibration(path: Path) -> Calibration:
    """Read a calibration. Raises CheckpointBroken for a file that is none."""
    raw = read_json(path)
    try:
        values = checked(raw, _FILE)
    except Unfit as error:
        raise CheckpointBroken(f"{path} is not a calibration that this version understands: {error}.") from None
    return Calibration(**{each.name: values[each.name] for each in fields(Calibration) if each.name in values})


def calibration_of(source: Path) -> Calibration | None:
    """Return the calibration of a model in a folder or a file: the one beside it, or one for this very file that comes
    with the package; None if nobody measured it. Raises CheckpointBroken for one that cannot be read."""
    if beside(source).is_file():
        return read_calibration(beside(source))
    if source.is_file():
        for path in sorted(SHIPPED.glob("*.json")):
            if is_file_of(source, read_json(path)["sha256"]):
                return read_calibration(path)
    return None

"""Keep a run's folder: `state.pt`, written whole or not at all, `curve.jsonl`, and its recipes.

`recipe.json` is what the run was begun with; `recipe-from-N.json` what it was resumed with at step N, where that differs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from palimpsest_train.atomic import whole
from palimpsest_train.errors import TrainingError
from palimpsest_train.recipe import Recipe, from_json

STATE, CURVE = "state.pt", "curve.jsonl"


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Replace `state.pt`; on any error the one before stays, and no part of the new one does."""
    try:
        with whole(folder / STATE) as part, part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        raise TrainingError(
            f"Step {state['step']} could not be saved in {folder}: {why(error)}. "
            "The state saved before is untouched; make room and run the same command again."
        ) from error


def why(error: Exception) -> str:
    """Say what the system said, in a few words."""
    return (isinstance(error, OSError) and error.strerror) or str(error).splitlines()[0].rstrip(".")


def read_state(folder: Path) -> dict[str, Any]:
    """Return the saved state; `TrainingError` if it cannot be read or is none of this trainer's."""
    try:
        state: dict[str, Any] = torch.load(folder / STATE, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise TrainingError(f"{folder} holds no training run: there is no {STATE} in it.") from None
    except Exception as error:  # torch raises a dozen kinds on a damaged file
        raise TrainingError(
            f"{folder / STATE} cannot be read ({why(error)}); put a copy of it there, or start in another folder."
        ) from error
    if not isinstance(state, dict) or not {"model", "optimisers", "step", "seconds"} <= set(state):
        raise TrainingError(f"{folder / STATE} is not the state of a training run.")
    return state


def recipes(folder: Path) -> list[tuple[int, Recipe]]:
    """Return (first step, recipe) of each stretch of a run, in order."""
    later = {int(path.stem.rpartition("-")[2]): path for path in folder.glob("recipe-from-*.json")}
    paths = [(0, folder / "recipe.json"), *sorted(later.items())]
    try:
        return [(step, from_json(path.read_text("utf-8"), str(path))) for step, path in paths]
    except FileNotFoundError:
        raise TrainingError(f"{folder} holds no training run: there is no recipe.json in it.") from None


def begin(folder: Path, recipe: Recipe) -> None:
    """Begin an empty run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(recipe.said(), "utf-8")
    for path in (folder / CURVE, *folder.glob("recipe-from-*.json")):
        path.unlink(missing_ok=True)


def go_on(folder: Path, step: int, recipe: Recipe) -> None:
    """Drop what was logged after the saved step, a last line that a kill cut short included; note another recipe."""
    for first, _ in recipes(folder)[1:]:
        if first >= step:
            (folder / f"recipe-from-{first}.json").unlink()
    if recipes(folder)[-1][1] != recipe:
        (folder / f"recipe-from-{step}.json").write_text(recipe.said(), "utf-8")
    rows = [line for line in read_curve(folder) if line["step"] <= step]
    with whole(folder / CURVE) as part:
        part.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Return the rows of the curve; a line that was not written to its end is none."""
    path, rows = folder / CURVE, []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
    return rows


def append_curve(folder: Path, row: dict[str, float]) -> None:
    """Add a row to the curve."""
    try:
        with (folder / CURVE).open("a", encoding="utf-8") as curve:
            curve.write(json.dumps(row) + "\n")
    except OSError as error:
        raise TrainingError(
            f"The curve in {folder} could not be written: {why(error)}. The state saved last is whole; "
            "make room and run the same command again."
        ) from error

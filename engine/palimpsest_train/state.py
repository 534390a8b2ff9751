"""The saved state of a run: written whole or not at all, read back only into the run it belongs to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from palimpsest_train.errors import TrainingError

STATE = "state.pt"


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Replace `state.pt`; on any error the one before stays, and no part of the new one does."""
    part = folder / f"{STATE}.part"
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / STATE)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        part.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise TrainingError(
            f"Step {state['step']} could not be saved in {folder}: {reason}. "
            "The state saved before is untouched; make room and run the same command again."
        ) from error


def read_state(folder: Path) -> dict[str, Any]:
    """The saved state; `TrainingError` if it cannot be read or is none of this trainer's."""
    try:
        state: dict[str, Any] = torch.load(folder / STATE, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises a dozen kinds on a damaged file
        raise TrainingError(
            f"{folder / STATE} cannot be read ({str(error).splitlines()[0]}); "
            "put a copy of it there, or start again in another folder."
        ) from error
    if not isinstance(state, dict) or not {"model", "optimisers", "step", "seconds"} <= set(state):
        raise TrainingError(f"{folder / STATE} is not the state of a training run.")
    return state


def kept_curve(folder: Path, step: int) -> None:
    """Drop from the curve what came after the saved step, and a last line that a full disk or a kill cut short."""
    curve = folder / "curve.jsonl"
    kept = []
    for line in curve.read_text("utf-8").splitlines() if curve.exists() else []:
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    part = folder / "curve.jsonl.part"
    part.write_text("".join(kept), "utf-8")
    part.replace(curve)

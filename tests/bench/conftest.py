"""Fixtures of the benchmark's tests: the engine's tiny models and the command line in this process."""

from __future__ import annotations

import importlib.resources
import json
import re
from pathlib import Path

from ..cli.conftest import Palimpsest, palimpsest
from ..engine.conftest import checkpoint, checkpoint_folder, model, tiny

__all__ = [
    "DOCUMENT",
    "EVERYTHING",
    "PAGE",
    "SCHEMA",
    "Palimpsest",
    "checkpoint",
    "checkpoint_folder",
    "model",
    "palimpsest",
    "tiny",
]

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text("utf-8")
SCHEMA = json.loads(re.findall(r"```json\n(.*?)```", PAGE.split("## `palimpsest bench --json`")[1], re.S)[-1])
EVERYTHING = json.loads((Path(__file__).parent / "everything.json").read_text("utf-8"))
DOCUMENT = importlib.resources.files("palimpsest_bench").joinpath("document.txt").read_text("utf-8")

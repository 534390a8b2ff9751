"""Kernels compile for every architecture they are meant for, and keep what they work on in registers; no GPU is needed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = 99 * 1024  # bytes that a program may share on the architectures with the least

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


@pytest.mark.parametrize(("which", "least"), [("sampler", 6), ("layer", 6), ("experts", 6), ("linears", 4)])
def test_kernels_compile_and_do_not_spill(which, least, tmp_path):
    surroundings = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    surroundings["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", Path(__file__).with_name("launches.py"), which],
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) >= least
    assert {name: each["local"] for name, each in found.items() if each["local"]} == {}
    assert max(each["shared"] for each in found.values()) <= SHARED

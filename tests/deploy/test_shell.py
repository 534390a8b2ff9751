"""The shell scripts of this repository, and the one that the flake makes: read by shellcheck, where that is installed."""

from __future__ import annotations

import subprocess

import pytest

from deploy.dockerfile import ROOT

FOLDERS = (".ci", "deploy", "release", ".devcontainer")
SCRIPTS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.read_bytes()[:30].partition(b"\n")[0].endswith((b"bash", b"/sh"))
)


def test_the_scripts_are_found():
    assert {".ci/run", "deploy/stand-in", "release/try"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_has_nothing_to_say(script, program):
    done = subprocess.run([program("shellcheck"), script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")

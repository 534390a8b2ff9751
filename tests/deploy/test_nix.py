"""The flake, evaluated by Nix over a stand-in for nixpkgs (`nixpkgs/flake.nix`), so nothing is fetched and nothing is built.

That nixpkgs has the packages of those names, and that they work together, is not shown.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.dockerfile import ROOT

Nix = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def nix(tmp_path: Path, program: Callable[[str], str]) -> Nix:
    """Return what runs a command on a copy of the flake, in a store of its own."""
    found = program("nix")
    flake = tmp_path / "flake"
    (flake / "constraints").mkdir(parents=True)
    for name in ("flake.nix", "constraints/newest.txt"):
        shutil.copy(ROOT / name, flake / name)
    settings = "experimental-features = nix-command flakes\nbuild-users-group =\nflake-registry =\n"
    environment = os.environ | {
        "HOME": str(tmp_path),
        "NIX_CONFIG": settings,
        "NIX_REMOTE": "",
        **{f"NIX_{name}_DIR": str(tmp_path / "nix" / name.lower()) for name in ("STORE", "STATE", "LOG", "CONF")},
    }
    options = ["--offline", "--no-write-lock-file", "--override-input", "nixpkgs", f"path:{ROOT}/tests/deploy/nixpkgs"]

    def run(*arguments: str, spoil: tuple[str, str] = ("", "")) -> subprocess.CompletedProcess[str]:
        (flake / "flake.nix").write_text((ROOT / "flake.nix").read_text().replace(*spoil))
        command = [found, *arguments, *options]
        return subprocess.run(command, cwd=flake, env=environment, capture_output=True, text=True, check=False)

    return run


def test_nix_accepts_every_output(nix):
    done = nix("flake", "check", "--no-build", "path:.")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (("pkgs.zlib", "pkgs.zlip"), "zlip"),
        (("palimpsest pkgs", "palimpsest"), "not a derivation"),
        (("in\n", "\n"), "syntax"),
    ],
)
def test_a_flake_with_a_fault_is_refused(nix, spoil, complaint):
    done = nix("flake", "check", "--no-build", "path:.", spoil=spoil)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_the_command_is_a_script_that_the_package_can_be_built_with(nix, program, tmp_path):
    """nixpkgs runs shellcheck over it when it builds the package."""
    done = nix("eval", "--raw", "path:.#packages.x86_64-linux.default.text")
    assert done.returncode == 0, done.stderr
    script = tmp_path / "palimpsest"
    script.write_text(f"#!/usr/bin/env bash\nset -o errexit -o nounset -o pipefail\n{done.stdout}")
    read = subprocess.run([program("shellcheck"), script], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stdout) == (0, "")


def test_the_command_gives_uv_the_tested_versions_and_its_own_arguments(nix, tmp_path):
    script = nix("eval", "--raw", "path:.#packages.x86_64-linux.default.text").stdout
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    uv.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euc", script, "palimpsest", "fill", "a file.py"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    arguments = done.stdout.splitlines()
    assert arguments[-3:] == ["palimpsest", "fill", "a file.py"]
    constraints = Path(arguments[arguments.index("--constraints") + 1])
    assert constraints.read_text() == (ROOT / "constraints" / "newest.txt").read_text()
    assert arguments[arguments.index("--from") + 1] == f"palimpsest-ls[api] @ file://{constraints.parents[1]}"

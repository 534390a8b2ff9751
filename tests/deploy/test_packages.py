"""The Nix flake and the Homebrew formula: their syntax, and that they name what there is. Homebrew is not run; for Nix, see
`test_nix.py`."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
import tree_sitter_nix
import tree_sitter_ruby
from tree_sitter import Language, Parser

from deploy.dockerfile import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FLAKE = (ROOT / "flake.nix").read_text()
SCRIPTS = ROOT / "deploy" / "homebrew"
URL = "https://example.org/releases/palimpsest_ls-0.1.0.tar.gz"


def parses(grammar: object, text: str) -> bool:
    return not Parser(Language(grammar)).parse(text.encode()).root_node.has_error


@pytest.fixture
def sdist(tmp_path: Path) -> Path:
    """An archive that has what the formula installs by."""
    file = tmp_path / URL.rpartition("/")[2]
    with tarfile.open(file, "w:gz") as archive:
        entry = tarfile.TarInfo("palimpsest_ls-0.1.0/constraints/newest.txt")
        archive.addfile(entry, io.BytesIO())
    return file


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = SCRIPTS / "formula.py"
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


def test_the_flake_can_be_parsed():
    assert parses(tree_sitter_nix.language(), FLAKE)
    assert not parses(tree_sitter_nix.language(), FLAKE.replace("in\n", "\n", 1)), "the check knows faults"


def test_the_flake_names_what_there_is():
    name = PROJECT["project"]["name"]
    (extra,) = re.findall(rf"{name}\[(\w+)\] @", FLAKE)
    assert extra in PROJECT["project"]["optional-dependencies"]
    for path in re.findall(r"\$\{self\}/([\w./]+)", FLAKE):
        assert (ROOT / path).exists()


def test_the_formula_of_a_release_has_the_hash_of_its_file(sdist):
    done = run(sdist, URL, "https://example.org")
    assert done.returncode == 0, done.stderr
    assert parses(tree_sitter_ruby.language(), done.stdout)
    assert f'url "{URL}"' in done.stdout
    assert f'sha256 "{hashlib.sha256(sdist.read_bytes()).hexdigest()}"' in done.stdout
    assert "@URL@" not in done.stdout
    assert f'license "{PROJECT["project"]["license"]}"' in done.stdout


def test_ruby_and_rubocop_accept_the_formula(sdist, program, tmp_path):
    """With Homebrew's settings, but without its rules for formulae, which come with it alone."""
    file = tmp_path / "palimpsest.rb"
    file.write_text(run(sdist, URL, "https://example.org").stdout)
    read = [program("ruby"), "-wc", file], [program("rubocop"), "--config", ROOT / "tests/deploy/rubocop.yml", file]
    for command in read:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("url", [URL.replace("https", "http"), URL.replace("0.1.0", "0.2.0")])
def test_a_formula_of_another_file_is_refused(sdist, url):
    done = run(sdist, url, "https://example.org")
    assert (done.returncode, done.stdout) == (1, "")
    assert url in done.stderr


def test_a_formula_without_the_tested_versions_is_refused(tmp_path):
    file = tmp_path / URL.rpartition("/")[2]
    with tarfile.open(file, "w:gz"):
        pass
    assert "has no constraints/newest.txt" in run(file, URL, "https://example.org").stderr


def test_the_source_archive_has_what_the_formula_installs_by():
    assert "/constraints" in PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]

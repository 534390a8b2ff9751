"""The packages of a release agree with each other and with their metadata. `make packages` builds them and looks inside."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import palimpsest_engine

ROOT = Path(__file__).parents[1]
NODE = ("editors/vscode", "server/palimpsest_canvas/web")


@pytest.mark.parametrize("folder", NODE)
@pytest.mark.parametrize("file", ["package.json", "package-lock.json"])
def test_packages_of_node_have_the_version_of_the_engine(folder: str, file: str) -> None:
    assert json.loads((ROOT / folder / file).read_text("utf-8"))["version"] == palimpsest_engine.__version__


@pytest.mark.parametrize("folder", NODE)
def test_the_lock_of_a_package_of_node_has_its_version(folder: str) -> None:
    lock = json.loads((ROOT / folder / "package-lock.json").read_text("utf-8"))
    assert lock["packages"][""]["version"] == palimpsest_engine.__version__


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("editors/emacs/palimpsest.el", r"^;; Version: (\S+)$"),
        ("CHANGELOG.md", r"^## \[(\d[^\]]*)\]"),
        ("editors/vscode/CHANGELOG.md", r"^## (\d\S*)"),
    ],
)
def test_the_newest_version_of_a_page_is_that_of_the_engine(file: str, line: str) -> None:
    found = re.search(line, (ROOT / file).read_text("utf-8"), re.M)
    assert found is not None
    assert found[1] == palimpsest_engine.__version__


def test_the_address_of_the_repository_is_said_once() -> None:
    """All links of the description lead there, so that one search and replace decides it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    address = project["project"]["urls"]["Repository"]
    replaced = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]
    assert [each["replacement"] for each in replaced if f"]({address}/" not in each["replacement"]] == []


def test_the_description_has_no_link_that_only_the_repository_knows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    text = (ROOT / "README.md").read_text("utf-8")
    for each in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    assert len(re.findall(r"\]\(https://", text)) > 20
    assert re.findall(r"\]\((?!https://)[^)]*\)", text) == []
    assert re.findall(r"(?:href|src)=[\"'](?!https://)[^\"']*", text) == []


def test_every_licence_is_allowed_and_on_the_page() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "release/dependencies.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

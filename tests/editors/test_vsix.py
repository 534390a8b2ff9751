"""The package of the extension for VS Code: what it has to bring along."""

from __future__ import annotations

import json
import posixpath
import re
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from editors.programs import Unavailable, node, vscode

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.editors


@pytest.fixture(scope="module")
def package(cache: Path) -> Path:
    """The package, built anew if a source of it is newer; that runs tsc and eslint, too."""
    try:
        return vscode.extension(node.get(cache))
    except Unavailable as error:
        pytest.skip(f"because {error}")


def test_the_package_has_the_licences_of_all_that_is_bundled(package: Path) -> None:
    with zipfile.ZipFile(package) as files:
        notices = files.read("extension/out/THIRD-PARTY-NOTICES.txt").decode()
        bundled = files.read("extension/out/client.js").decode()
    parts = dict(re.findall(r"(?m)^(\S+) [\d.]+ \(([\w.-]+)\)\n\n\S", notices))
    assert {"vscode-languageclient", "vscode-jsonrpc", "vscode-languageserver-protocol", "semver"} <= parts.keys()
    assert "SEMVER_SPEC_VERSION" in bundled
    assert notices.count("Copyright") >= len(parts)


def test_the_page_in_the_marketplace_shows_pictures_of_the_repository(package: Path) -> None:
    with zipfile.ZipFile(package) as files:
        page = files.read("extension/readme.md").decode()
        home = json.loads(files.read("extension/package.json"))["homepage"]
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert pictures
    for picture in pictures:
        assert picture.startswith(f"{home}/raw/HEAD/")
        # A browser resolves the dots before it asks.
        path = posixpath.normpath(urlsplit(picture).path).removeprefix(f"{urlsplit(home).path}/raw/HEAD/")
        assert (ROOT / path).is_file(), picture


def test_the_package_has_all_that_the_manifest_names(package: Path) -> None:
    with zipfile.ZipFile(package) as files:
        manifest = json.loads(files.read("extension/package.json"))
        packed = {name.removeprefix("extension/") for name in files.namelist()}
    steps = [step for each in manifest["contributes"]["walkthroughs"] for step in each["steps"]]
    named = {manifest["icon"], manifest["main"].removeprefix("./"), *(step["media"]["markdown"] for step in steps)}
    assert named <= packed
    assert not {name for name in packed if name.startswith(("src/", "test/", "node_modules/"))}

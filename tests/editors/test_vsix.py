"""The package of the extension for VS Code: what it has to bring along."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from editors.programs import Unavailable, node, vscode

pytestmark = pytest.mark.editors


def test_the_package_has_the_licences_of_all_that_is_bundled(cache: Path) -> None:
    try:
        package = vscode.extension(node.get(cache))
    except Unavailable as error:
        pytest.skip(f"because {error}")
    with zipfile.ZipFile(package) as files:
        notices = files.read("extension/out/THIRD-PARTY-NOTICES.txt").decode()
        bundled = files.read("extension/out/client.js").decode()
    parts = dict(re.findall(r"(?m)^(\S+) [\d.]+ \(([\w.-]+)\)\n\n\S", notices))
    assert {"vscode-languageclient", "vscode-jsonrpc", "vscode-languageserver-protocol", "semver"} <= parts.keys()
    assert "SEMVER_SPEC_VERSION" in bundled
    assert notices.count("Copyright") >= len(parts)

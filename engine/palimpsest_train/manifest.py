"""Read an earlier manifest, to fetch the same versions and to say whether the same archives came; builds nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from palimpsest_train.corpus import Report
from palimpsest_train.errors import CorpusError


def _sources(path: Path) -> list[dict[str, Any]]:
    try:
        sources = json.loads(path.read_text("utf-8"))["sources"]
        return [{key: s[key] for key in ("group", "name", "version", "archives")} for s in sources]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"the manifest {path} cannot be read: {error}") from error


def pins(path: Path) -> dict[str, dict[str, str]]:
    """Return the version of each package by group and name; packages without archives (Python's library) have none."""
    versions: dict[str, dict[str, str]] = {}
    for source in _sources(path):
        if source["archives"]:
            versions.setdefault(source["group"], {})[source["name"]] = source["version"]
    return versions


def compare(report: Report, path: Path) -> int:
    """Count the packages of the report's groups that are missing or have other archives than in the manifest."""
    groups = {source.group for source in report.sources}
    here = {(source.group, source.name): source.archives for source in report.sources}
    there = {(s["group"], s["name"]): s["archives"] for s in _sources(path) if s["group"] in groups}
    return sum(here.get(key) != there.get(key) for key in here | there)

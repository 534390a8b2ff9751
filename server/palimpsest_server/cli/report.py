"""Formats the result of `palimpsest fill`: a unified diff for people and `git apply`, JSON for programs; pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from palimpsest_engine import Fill, Span
from palimpsest_server.cli.files import TextFile
from palimpsest_server.cli.patch import quoted
from palimpsest_server.protocol import positions

FORMAT = 1
ENCODING = positions.Encoding.Utf16

_POSITION = {
    "type": "object",
    "properties": {"line": {"type": "integer", "minimum": 0}, "character": {"type": "integer", "minimum": 0}},
    "required": ["line", "character"],
    "additionalProperties": False,
}
_PROPERTIES: dict[str, Any] = {
    "format": {"const": FORMAT},
    "file": {"type": "string"},
    "language": {"type": ["string", "null"]},
    "model": {"type": "string"},
    "seed": {"type": "integer", "minimum": 0},
    "nfe": {"type": "integer", "minimum": 0},
    "ms": {"type": "number", "minimum": 0},
    "encoding": {"const": ENCODING.value},
    "edits": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "range": {
                    "type": "object",
                    "properties": {"start": _POSITION, "end": _POSITION},
                    "required": ["start", "end"],
                    "additionalProperties": False,
                },
                "text": {"type": "string"},
            },
            "required": ["range", "text"],
            "additionalProperties": False,
        },
    },
    "syntax": {
        "type": "object",
        "properties": {
            "status": {"enum": ["valid", "no worse", "worse", "not checked"]},
            "reason": {"type": "string"},
        },
        "required": ["status", "reason"],
        "additionalProperties": False,
    },
    "treatment": {"enum": ["none", "repaired", "cut", "rejected"]},
    "reason": {"type": "string"},
    "settled": {"type": "boolean"},
    "confidence": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "written": {"type": "boolean"},
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "palimpsest fill --json",
    "type": "object",
    "properties": _PROPERTIES,
    "required": list(_PROPERTIES),
    "additionalProperties": False,
}


def fill_json(
    file: TextFile,
    language: str | None,
    model: str,
    seed: int,
    fill: Fill,
    edits: Sequence[tuple[Span, str]],
    written: bool,
) -> str:
    """Return one line of JSON, as `SCHEMA` describes it."""
    answer = {
        "format": FORMAT,
        "file": file.path,
        "language": language,
        "model": model,
        "seed": seed,
        "nfe": fill.nfe,
        "ms": round(fill.ms, 3),
        "encoding": ENCODING.value,
        "edits": [{"range": _range(file.text, span), "text": text} for span, text in edits],
        "syntax": {"status": fill.verdict.status, "reason": fill.verdict.reason},
        "treatment": fill.treatment,
        "reason": fill.reason,
        "settled": fill.settled,
        "confidence": round(fill.confidences[0].probability, 4) if fill.confidences else None,
        "written": written,
    }
    return json.dumps(answer) + "\n"


def _range(text: str, span: Span) -> dict[str, dict[str, int]]:
    where = positions.range_at(text, span.start, span.end, ENCODING)
    return {
        "start": {"line": where.start.line, "character": where.start.character},
        "end": {"line": where.end.line, "character": where.end.character},
    }


def unified_diff(name: str, old: str, new: str) -> str:
    """Return a diff for `git apply`: only `\\n` ends a line, and a carriage return belongs to its line.

    name: as `patch.name_of` gives it.
    """
    changes = difflib.unified_diff(_lines(old), _lines(new), quoted(f"a/{name}"), quoted(f"b/{name}"))
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in changes)


def _lines(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]

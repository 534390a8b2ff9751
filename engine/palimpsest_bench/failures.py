"""Failures in one sentence, for the figures that could not be measured."""

from __future__ import annotations

from palimpsest_engine import PalimpsestError


def sentence(error: Exception) -> str:
    """Say what failed: our own errors as they are, others by type and first line."""
    if isinstance(error, PalimpsestError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

"""Name what can go wrong while a corpus is built or a model trained, as sentences for the person at the terminal."""

from __future__ import annotations


class CorpusError(Exception):
    """One sentence that says what failed and what to do; nothing half-written was left behind."""


class TrainingError(Exception):
    """One sentence that says what failed and what to do; the run's saved state is whole."""

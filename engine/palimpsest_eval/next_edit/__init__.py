"""Measure next edits: which are offered after a change, and which are due. Knows no finder and no model."""

"""Measures how well a selection is rewritten as an instruction says: by running the result."""

"""Find what has to change after a change, and say what to where syntax decides it. Knows trees, no model."""

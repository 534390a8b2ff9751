"""Hold the state of one connection."""

"""Find, verify and load checkpoints and adapters."""

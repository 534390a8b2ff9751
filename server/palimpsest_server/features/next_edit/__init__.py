"""Answer requests for the next edit: what has to change after a change."""

"""Hold everything that only a GPU runs."""

"""Measure the engine and the server: `palimpsest bench`."""

"""Measure a real server process through the protocol."""

"""Measurements of a real server process, through the protocol."""

"""Speak LSP as bytes, positions and a life cycle; know nothing of the product."""

"""Offer code actions and run their commands."""

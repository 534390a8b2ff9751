"""Measures what a checkpoint's fills are worth: problems, systems under test, a sandbox, statistics, reports."""

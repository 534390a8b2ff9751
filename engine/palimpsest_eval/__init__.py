"""Measure the quality of a checkpoint's fills: problems, systems under test, a sandbox, statistics, reports."""

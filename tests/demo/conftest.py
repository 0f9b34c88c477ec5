"""What is not collected here."""

collect_ignore = ["engine_side.py"]
"""Runs in the engine's environment; --doctest-modules would import it."""

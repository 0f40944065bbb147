"""Hostile calls and damaged files for `tools/fuzz.py`."""

"""Benchmarks for asv; README.md says how to run them."""

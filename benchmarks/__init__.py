"""Scripts that make the numbers in docs/: run them from the root of a checkout, as ``python -m benchmarks.NAME``."""

"""What the speed claims in the README run: each `python -m benchmarks.NAME` prints a table and keeps it as JSON."""

"""The measurements behind docs/speed.md. Each `python -m benchmarks.NAME` prints a table and stores it as JSON."""

from glat.lib import process

process.tune()  # as `glat` is

"""Benchmarks for asv. ``time_`` are seconds; ``track_`` are ratios, bytes, or seconds of a process: lower is better.

If FASTBP_BENCHMARKS_BRIEF is set, everything is small and runs once: a test checks that all still work.
"""

import os

BRIEF = "FASTBP_BENCHMARKS_BRIEF" in os.environ

"""What asv runs. ``time_`` are seconds; ``track_`` are ratios, bytes, or seconds of a process: lower is better.

With FASTBP_BENCHMARKS_BRIEF set everything is small and runs once: for the test that none has rotted.
"""

import os

BRIEF = "FASTBP_BENCHMARKS_BRIEF" in os.environ

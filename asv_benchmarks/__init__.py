"""Airspeed velocity benchmarks; ``python -m asv_benchmarks`` prints their ratios without asv."""

"""Airspeed velocity benchmarks; ``python -m asv_benchmarks.peers`` prints their tables without asv."""

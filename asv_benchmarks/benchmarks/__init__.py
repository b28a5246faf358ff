"""What asv runs. ``time_`` are seconds, ``track_`` are ratios to a peer (lower is better) or seconds of a process."""

"""Inverted dropout by a hash of key, layer, row and column: no split among threads or calls can change a mask.

The hash is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA
2014): each row gets a stream of its own. Nothing is kept for the way back, which draws the same mask again.
"""

from __future__ import annotations

STREAM, LAYER_STEP, STEP_STEP = 0x9E3779B97F4A7C15, 0xD1342543DE82EF95, 0xA0761D6478BD642F
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
UNITS = 2**53  # thresholds are whole numbers of these

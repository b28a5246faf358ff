"""Ranks of methods over sets, and differences of paired scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

PLACES = 4  # scores that are the same as printed share a rank


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """Return the rank of each method by its score, 1 for the highest; those with equal scores share their mean rank."""
    rounded = {name: round(score, PLACES) for name, score in scores.items()}
    found = {}
    for name, score in rounded.items():
        ahead = sum(other > score for other in rounded.values())
        level = sum(other == score for other in rounded.values())
        found[name] = ahead + (level + 1) / 2
    return found


def mean_ranks(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean rank of each method over those sets on which every method has a score."""
    methods = {name: None for of_set in scores.values() for name in of_set}
    whole = [ranks(of_set) for of_set in scores.values() if of_set.keys() == methods.keys()]
    return {name: float(np.mean([of_set[name] for of_set in whole])) if whole else math.nan for name in methods}


def paired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return the mean of `first` minus `second` split by split, and its standard error; NaN with one split."""
    differences = np.subtract(first, second)
    if len(differences) < 2:
        return float(differences.mean()), math.nan
    return float(differences.mean()), float(differences.std(ddof=1) / math.sqrt(len(differences)))

"""Many networks at once: training side by side, ensembles, cross-validation, searches."""

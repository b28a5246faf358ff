"""Many networks at once: ensembles, cross-validation, searches."""

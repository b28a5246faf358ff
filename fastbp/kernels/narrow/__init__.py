"""The training step and the predictions that are compiled for one narrow network."""

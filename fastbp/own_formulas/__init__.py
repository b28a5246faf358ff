"""Activations and losses of a user's own: plain functions of numbers, which become operations of the compiled pass."""

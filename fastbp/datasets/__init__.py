"""Data to train on: the digits shipped with the package, made-up points, files; and test rows set aside."""

from .built_in import load_digits, quadrants, stratified_split
from .dataset import Dataset
from .readers import load

__all__ = ["Dataset", "load", "load_digits", "quadrants", "stratified_split"]

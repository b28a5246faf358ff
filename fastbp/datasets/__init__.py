"""Data sets: the digits shipped with the package, random points, readers of files; and a stratified split."""

from .built_in import load_digits, quadrants, stratified_split
from .dataset import Dataset
from .readers import load

__all__ = ["Dataset", "load", "load_digits", "quadrants", "stratified_split"]

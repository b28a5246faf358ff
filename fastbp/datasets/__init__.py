"""Data sets: the digits shipped with the package, random points, readers of files; and a stratified split."""

from typing import TYPE_CHECKING, Any

from ..lazy_names import load as _load
from .built_in import load_digits, quadrants, stratified_split

if TYPE_CHECKING:
    from .dataset import Dataset
    from .readers import load

__all__ = ["Dataset", "load", "load_digits", "quadrants", "stratified_split"]

_WHERE = {"Dataset": "dataset", "load": "readers"}  # 12 ms of the readers' modules


def __getattr__(name: str) -> Any:
    return _load(__name__, _WHERE, name)


def __dir__() -> list[str]:
    return sorted(__all__)

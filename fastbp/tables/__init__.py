"""Tables as they are: columns, their encoder, the recipe, and models from raw rows to answers, in one file.

NumPy is not imported here: the parser of the command line reads `TASKS`.
"""

from typing import TYPE_CHECKING, Any

from ..lazy_names import load as _load

if TYPE_CHECKING:
    from .columns import Columns
    from .model import TableModel

__all__ = ["CLASSES", "NUMBERS", "TASKS", "Columns", "TableModel"]

CLASSES, NUMBERS = TASKS = ("classes", "numbers")

_WHERE = {"Columns": "columns", "TableModel": "model"}


def __getattr__(name: str) -> Any:
    return _load(__name__, _WHERE, name)

"""The models that commands read: files of one network, and of a table's model."""

from __future__ import annotations

from ..model import npz_file
from ..network import MLP, load
from ..tables import TableModel


def read_model(path: str) -> MLP | TableModel:
    """Return what a file holds; raise CheckpointError for any other file."""
    arrays, metadata = npz_file.read(path)
    return TableModel.of(path, arrays, metadata) if "table" in metadata else load(path)


def class_names(net: MLP) -> tuple[str, ...]:
    """Return the names of the classes, or of the outputs; a single output stands for 0 and 1."""
    if net.classes == 1:
        return "0", "1"
    return net.class_names or tuple(map(str, range(net.classes)))

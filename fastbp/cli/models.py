"""The models that commands read: files of one network, of an ensemble, and of a table's model."""

from __future__ import annotations

from ..model import npz_file
from ..model_selection.ensemble import Ensemble
from ..network import MLP, load
from ..tables import TableModel


def read_model(path: str) -> MLP | TableModel:
    """Return what a file holds; raise CheckpointError for any other file."""
    arrays, metadata = npz_file.read(path)
    return TableModel.of(path, arrays, metadata) if "table" in metadata else load(path)


def read_any_model(path: str) -> MLP | Ensemble | TableModel:
    """Return what a file holds, an ensemble too."""
    _, metadata = npz_file.read(path)
    return Ensemble.load(path) if "networks" in metadata else read_model(path)


def class_names(net: MLP) -> tuple[str, ...]:
    """Return the names of the classes, or of the outputs; a single output stands for 0 and 1."""
    if net.classes == 1:
        return "0", "1"
    return net.class_names or tuple(map(str, range(net.classes)))

"""The command ``fastbp export``: a model as a file that other programs run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from ..model_selection.ensemble import Ensemble
from ..network import MLP
from ..tables import TableModel
from .models import read_any_model
from .output import check_out

AnyModel = MLP | Ensemble | TableModel


def export(args: argparse.Namespace) -> None:
    """Run ``fastbp export``."""
    suffix = os.path.splitext(args.file)[1].lower()
    if suffix not in WRITERS:
        raise ValueError(f"FILE: got {args.file!r}, expected a name that ends in {', '.join(WRITERS)}")
    check_out("FILE", args.file, args.model)
    WRITERS[suffix](read_any_model(args.model), args.file)
    print(f"model saved as {args.file}")


# ---- one writer for each suffix, which imports what it needs ----


def _onnx(model: AnyModel, path: str) -> None:
    try:
        model.to_onnx(path)
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ValueError(str(error)) from None


def _c_source(model: AnyModel, path: str) -> None:
    _only_network(model, path).to_c(path)


def _safetensors(model: AnyModel, path: str) -> None:
    _only_network(model, path).to_safetensors(path)


def _only_network(model: AnyModel, path: str) -> MLP:
    if isinstance(model, MLP):
        return model
    got = "an ensemble" if isinstance(model, Ensemble) else "a table's model"
    raise ValueError(f"{path}: got {got}, expected a single network; a file that ends in .onnx takes any model")


WRITERS: dict[str, Callable[[AnyModel, str], None]] = {
    ".onnx": _onnx,
    ".c": _c_source,
    ".safetensors": _safetensors,
}

"""Packages that are extras: what is said where one of them is missing."""

from __future__ import annotations


def missing(error: ModuleNotFoundError, what: str, package: str, install: str) -> ModuleNotFoundError:
    """Return the error that names an extra package, or the same error where the missing module is another one's.

    Parameters
    ----------
    error : ModuleNotFoundError
        What the import raised.
    what : str
        What needs the package.
    package : str
        Its name in an import.
    install : str
        What pip is told to install.

    Examples
    --------
    >>> missing(ModuleNotFoundError(name="onnx.helper"), "to_onnx", "onnx", "'fastbp[onnx]'")
    ModuleNotFoundError("to_onnx: needs onnx: pip install 'fastbp[onnx]'")
    """
    if (error.name or "").partition(".")[0] != package:
        return error
    name = {"sklearn": "scikit-learn"}.get(package, package)
    return ModuleNotFoundError(f"{what}: needs {name}: pip install {install}", name=package)

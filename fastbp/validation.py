"""The boundary: a user's arguments become arrays that are safe to pass to kernels, or a clear error.

Compiled code checks nothing, so everything is checked here, once per call: an unchecked label would write beyond an
array's memory. Every error names the argument, the value that was passed and what was expected.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import frames

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
IN_MEMORY = ("__array_interface__", "__array_struct__", "__cuda_array_interface__", "__dlpack__")
MAX_SIZE = np.iinfo(np.intp).max // 16  # the most numbers whose bytes can be counted, with room to spare


def real_array(name: str, value: ArrayLike, ndim: int | None = None) -> Array:
    """Return `value` as an array of any real dtype and memory layout; an array is not copied.

    Columns of frames, and series, may have dtypes that NumPy lacks, or hold Python's numbers.
    """
    if type(value) is np.ndarray:
        array = value
    elif isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: got a masked array, expected a plain one: fill its gaps first, with .filled(...)")
    elif (found := frames.array_of(name, value)) is not None:
        array = found
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:  # ragged nested lists
            kind = type(value).__name__
            raise ValueError(f"{name}: got {kind} that is not rectangular, expected an array") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {array.dtype}, expected real numbers")
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: got {array.ndim} dimensions, shape {array.shape}, expected {ndim}")
    return array


def sliced(value: Any) -> bool:
    """Return True for an object whose rows are read by slicing, such as a data set of h5py or an array of Zarr.

    It has a shape, a NumPy dtype and slicing, but gives no access to memory. Objects of pandas, which slice by label,
    are excluded.
    """
    if isinstance(value, np.ndarray) or not all(hasattr(value, name) for name in ("shape", "dtype", "__getitem__")):
        return False
    if any(hasattr(value, name) for name in ("tocsr", "iloc", *IN_MEMORY)):
        return False
    try:
        return isinstance(np.dtype(value.dtype), np.dtype)
    except TypeError:
        return False


def kernel_array(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return the array, copied if necessary, of this dtype and as kernels need it: C-contiguous, aligned, writable."""
    if array.dtype == dtype and array.dtype.isnative and array.flags.carray:
        return array
    with np.errstate(over="ignore"):  # to infinity, like any result of the kernels that is too large
        return np.require(array, dtype, ["C", "A", "W"])


def compute_dtype(*arrays: Array) -> np.dtype[Any]:
    """Return float64 if NumPy's promotion of the operands needs more than float32, else float32."""
    return FLOATS[np.result_type(*arrays).itemsize > 4 or all(array.dtype.kind in "biu" for array in arrays)]


def shape(name: str, array: Array, expected: tuple[int, ...]) -> None:
    """Raise ValueError unless the array has the expected shape."""
    if array.shape != expected:
        raise ValueError(f"{name}: got shape {array.shape}, expected {expected}")


def finite(name: str, array: Array) -> None:
    """Raise ValueError if the array holds NaN or infinity; the message names the first place."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        where = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        place = f" at {list(where)}" if where else ""
        raise ValueError(f"{name}: got {array[where]}{place}, expected finite numbers")


def output(name: str, out: Array, expected: tuple[int, ...], dtype: np.dtype[Any], *inputs: Array) -> Array:
    """Check an array that results are written to, and return it. It may be strided: then it is filled from a copy."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        kind = "a masked array" if isinstance(out, np.ma.MaskedArray) else type(out).__name__
        raise TypeError(f"{name}: got {kind}, expected a plain array")
    if out.dtype != dtype:
        raise TypeError(f"{name}: got dtype {out.dtype}, expected {dtype}")
    shape(name, out, expected)
    if not out.flags.writeable:
        raise ValueError(f"{name}: got a read-only array, expected a writable one")
    for operand in inputs:
        if np.shares_memory(out, operand):
            raise ValueError(f"{name}: got an array that overlaps an input, expected one with memory of its own")
    return out


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """Return an integer of at least `least` as int: Python's or NumPy's, but no bool."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: got {value!r}, expected a whole number of at least {least}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: got {value!r}, expected a whole number of at least {least}") from None
    if number < least:
        raise ValueError(f"{name}: got {number}, expected at least {least}")
    return number


def hidden_layer(value: Any, count: int) -> int:
    """Return which of so many hidden layers is meant, from 0; -1 means the last."""
    number = whole_number("layer", value, least=-max(count, 1))
    if count == 0:
        raise ValueError(f"layer: got {number}, but the network has no hidden layer")
    if number >= count:
        raise ValueError(f"layer: got {number}, expected {-count} to {count - 1}: there are {count} hidden layers")
    return number % count


def _as_float(name: str, value: Any, expected: str) -> float:
    """Return a real number as float: Python's or NumPy's, but no bool, text or duration."""
    of_numpy = isinstance(value, (np.ndarray, np.generic))
    if (value.dtype.kind in "iuf" and value.ndim == 0) if of_numpy else not isinstance(value, (bool, str, bytes)):
        try:
            return float(value)
        except OverflowError:  # an int beyond float64
            return math.inf
        except (TypeError, ValueError):
            pass
    raise TypeError(f"{name}: got {value!r}, expected {expected}")


def rate(name: str, value: Any, dtype: np.dtype[Any]) -> float:
    """Return a number of at least 0 that is finite in the compute dtype."""
    number = _as_float(name, value, "a number of at least 0")
    if not 0 <= number <= float(np.finfo(dtype).max):
        raise ValueError(f"{name}: got {number}, expected a number of at least 0 that is finite in {dtype}")
    return number


def number(name: str, value: Any, least: float = 0.0, most: float = math.inf, *, below: bool = False) -> float:
    """Return a finite number from `least` to `most`; if `below`, it must be less than `most`."""
    if most == math.inf:
        expected = f"a finite number of at least {least:g}"
    else:
        expected = f"a number from {least:g} to {'below ' * below}{most:g}"
    result = _as_float(name, value, expected)
    if not least <= result <= most or result == math.inf or (below and result == most):
        raise ValueError(f"{name}: got {result}, expected {expected}")
    return result


def shares(name: str, value: Any, layers: int) -> float | tuple[float, ...]:
    """Return a share from 0 to below 1 for all hidden layers, or a tuple of one for each."""
    values = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if not isinstance(values, (list, tuple)):
        return number(name, value, 0.0, 1.0, below=True)
    if len(values) != layers:
        raise ValueError(
            f"{name}: got {len(values)} shares, expected one number, or {layers}: one for each hidden layer"
        )
    return tuple(number(f"{name}[{i}]", share, 0.0, 1.0, below=True) for i, share in enumerate(values))


def number_field(owner: Any, name: str, least: float = 0.0, most: float = math.inf, *, below: bool = False) -> None:
    """Check a field of a dataclass by `number`, and store the float in it, even if the dataclass is frozen."""
    object.__setattr__(owner, name, number(name, getattr(owner, name), least, most, below=below))


def truth(name: str, value: Any) -> bool:
    """Return a bool, from Python's or NumPy's, or from 1 or 0. Anything else is refused: "no" would count as True."""
    whole = isinstance(value, (int, np.bool_, np.integer)) and not isinstance(value, np.timedelta64)  # an np.integer
    if not whole or value not in (0, 1):
        got = repr(value) if np.isscalar(value) else type(value).__name__
        raise TypeError(f"{name}: got {got}, expected True or False")
    return bool(value)


def as_list(value: Any) -> list[Any] | None:
    """Return the items of a sequence or other iterable; None for anything else, such as an array without dimensions."""
    try:
        return list(value)
    except TypeError:
        return None


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """Return one of the options."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name}: got {value!r}, expected {' or '.join(map(repr, options))}")
    return str(value)


def names(name: str, value: Any, options: Collection[str], count: int) -> str | tuple[str, ...]:
    """Return one of the options, or a tuple of one for each of `count` hidden layers."""
    if isinstance(value, str):
        return choice(name, value, tuple(options))
    several = value.ndim > 0 if isinstance(value, np.ndarray) else isinstance(value, (list, tuple))
    if not several:
        expected = f"{' or '.join(map(repr, options))}, or a sequence of one for each hidden layer"
        raise TypeError(f"{name}: got {value!r}, expected {expected}")
    values = list(value)
    if len(values) != count:
        raise ValueError(f"{name}: got {len(values)} names, expected {count}, one for each hidden layer")
    return tuple(choice(f"{name}[{i}]", each, tuple(options)) for i, each in enumerate(values))


def layer_sizes(value: Any) -> tuple[int, ...]:
    """Return `MLP.sizes` as a tuple of int."""
    values = None if isinstance(value, (str, bytes)) else as_list(value)
    if values is None:
        raise TypeError(f"sizes: got {value!r}, expected a sequence of the input's features and every layer's outputs")
    sizes = tuple(whole_number(f"sizes[{i}]", size) for i, size in enumerate(values))
    if len(sizes) < 2:
        raise ValueError(f"sizes: got {sizes}, expected at least two: the input's features and the outputs")
    if sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes)) > MAX_SIZE:
        raise ValueError(f"sizes: got {sizes}, expected a network that fits into memory")
    return sizes


def float_dtype(value: Any) -> np.dtype[Any]:
    """Return float32 or float64, from anything that `numpy.dtype` accepts except None."""
    try:
        dtype = np.dtype("none" if value is None else value)  # NumPy takes None for float64
    except TypeError:
        raise TypeError(f"dtype: got {value!r}, expected float32 or float64") from None
    if dtype not in FLOATS:
        raise ValueError(f"dtype: got {dtype}, expected float32 or float64")
    return FLOATS[FLOATS.index(dtype)]


def per_feature(name: str, value: ArrayLike | None, features: int, dtype: np.dtype[Any]) -> Array | None:
    """Return a number, or one for each feature, as an array (features,) of the compute dtype; None for None."""
    if value is None:
        return None
    array = real_array(name, value)
    if array.dtype.kind == "b":
        raise TypeError(f"{name}: got {value!r}, expected a number or one for each feature")
    if array.shape not in ((), (features,)):
        raise ValueError(f"{name}: got shape {array.shape}, expected a number or shape ({features},)")
    finite(name, array)
    largest = float(np.abs(array).max(initial=0))
    if largest > float(np.finfo(dtype).max):
        raise ValueError(f"{name}: got {largest}, expected numbers that are finite in {dtype}")
    return np.full(features, array, dtype)


def matrix_of_rows(name: str, value: ArrayLike, features: int) -> Array:
    """Check X (n, features) and return it: sparse matrices as CSR, whose rows can be selected; others unchanged."""
    dense = isinstance(value, np.ndarray)
    sparse = not dense and hasattr(value, "tocsr")
    array: Any = real_array(name, value) if dense or not (sparse or sliced(value)) else value
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name}: got dtype {array.dtype}, expected real numbers")
    shape = array.shape
    if len(shape) != 2 or shape[1] != features:
        raise ValueError(f"{name}: got shape {shape}, expected (n_samples, {features})")
    if shape[0] == 0:
        raise ValueError(f"{name}: got no rows, shape {shape}, expected at least one")
    rows: Array = array.tocsr() if sparse else array  # a CSR matrix has the attributes that are needed
    return rows


def row_indices(name: str, value: ArrayLike, rows: int) -> NDArray[np.int64]:
    """Return row indices, int64, from indices in any order, also repeated ones, or from a mask of all `rows` rows."""
    array = real_array(name, value, ndim=1)
    if array.dtype.kind == "b":
        shape(name, array, (rows,))
        array = np.flatnonzero(array)
    if array.size == 0:
        raise ValueError(f"{name}: got none, expected at least one row")
    if array.dtype.kind == "f":
        raise TypeError(f"{name}: got dtype {array.dtype}, expected whole numbers, or a mask")
    wrong = (array < 0) | (array >= rows)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"{name}: got {array[i]} at [{i}], expected indices from 0 to {rows - 1}")
    return np.require(array, np.int64, ["C", "A", "W"])


def labels(name: str, value: ArrayLike, rows: int, classes: int, dtype: np.dtype[Any]) -> Array:
    """Check classification targets.

    Returns
    -------
    array
        Class indices, given as (rows,) or (rows, 1), as int64 (rows,); or probabilities (rows, classes) in `dtype`.
    """
    array = real_array(name, value)
    if array.shape == (rows, 1) and classes > 1:
        array = array[:, 0]
    if array.ndim == 2:
        return probabilities(name, array, rows, classes, dtype)
    if array.shape != (rows,):
        expected = f"({rows},) class indices or ({rows}, {classes}) probabilities"
        raise ValueError(f"{name}: got shape {array.shape}, expected {expected}")
    wrong = ~((array >= 0) & (array < classes))
    if array.dtype.kind == "f":
        wrong |= array != np.floor(array)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"{name}: got {array[i]} at [{i}], expected whole numbers from 0 to {classes - 1}")
    return np.require(array, np.int64, ["C", "A", "W"])


def probabilities(name: str, array: Array, rows: int, classes: int, dtype: np.dtype[Any]) -> Array:
    """Return probabilities (rows, classes) in `dtype`; rows must sum to 1 within the rounding of their own dtype."""
    shape(name, array, (rows, classes))
    finite(name, array)
    if (array < 0).any():
        where = tuple(int(index) for index in np.argwhere(array < 0)[0])
        raise ValueError(f"{name}: got {array[where]} at {list(where)}, expected probabilities of at least 0")
    sums = array.sum(axis=1, dtype=np.float64)
    rounding = max(np.finfo(array.dtype).eps, np.finfo(np.float64).eps) if array.dtype.kind == "f" else 0.0
    tolerance = 4 * classes * float(rounding)
    wrong = np.abs(sums - 1.0) > tolerance
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ValueError(f"{name}: got row {i} with sum {sums[i]:.9g}, expected rows of probabilities that sum to 1")
    return kernel_array(array, dtype)


def targets(name: str, value: ArrayLike, rows: int, outputs: int, dtype: np.dtype[Any], kind: str) -> Array:
    """Labels where `kind` is "classes"; else (rows, outputs) in the compute dtype: "shares" from 0 to 1, "counts" not
    below 0, or any "numbers"."""
    if kind == "classes":
        return labels(name, value, rows, outputs, dtype)
    array = real_array(name, value)
    if array.shape != (rows, outputs) and not (outputs == 1 and array.shape == (rows,)):
        either = f"({rows},) or " if outputs == 1 else ""
        raise ValueError(f"{name}: got shape {array.shape}, expected {either}({rows}, {outputs})")
    array = kernel_array(array.reshape(rows, outputs), dtype)
    finite(name, array)
    wrong = (array < 0) | (array > 1) if kind == "shares" else array < 0
    if kind != "numbers" and wrong.any():
        where = tuple(int(index) for index in np.argwhere(wrong)[0])
        expected = "numbers from 0 to 1" if kind == "shares" else "numbers of at least 0"
        raise ValueError(f"{name}: got {array[where]} at {list(where)}, expected {expected}")
    return array


def sample_weight(name: str, value: ArrayLike | None, rows: int, dtype: np.dtype[Any]) -> Array | None:
    """Return the weights (rows,) in the compute dtype, all at least 0; None for None."""
    if value is None:
        return None
    given = real_array(name, value)
    shape(name, given, (rows,))
    array = kernel_array(given, dtype)
    finite(name, array)
    if given.any() and not array.any():
        raise ValueError(f"{name}: got weights that are all 0 in {dtype}, expected larger ones, or zeros")
    if (array < 0).any():
        i = int(np.argmax(array < 0))
        raise ValueError(f"{name}: got {array[i]} at [{i}], expected weights of at least 0")
    return array

"""SciPy's sparse matrices as X: the bits of the dense array, and never as a dense one whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastbp import MLP
from support.comparisons import assert_same_bits
from support.processes import run_python

sparse = pytest.importorskip("scipy.sparse")

SIZES = (23, 9, 5)
N = 70
KINDS = {"csr_matrix": "csr_matrix", "csr_array": "csr_array", "csc_matrix": "csc_matrix", "csc_array": "csc_array"}
OTHERS = ("coo_matrix", "coo_array", "lil_array", "dok_array", "bsr_array", "dia_array")
DATA = ("u1", "i1", "i4", "i8", "f4", "f8", "?", "g")


def dense(dtype: Any = "f4", seed: int = 7) -> Any:
    """Three of four are 0; two rows and a column are empty."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((N, SIZES[0])) < 0.25, rng.integers(1, 100, (N, SIZES[0])), 0).astype(dtype)
    if X.dtype.kind == "f":
        X = X / X.dtype.type(7)
    X[[0, 33]], X[:, 11] = 0, 0
    return X


def labels(n: int = N) -> Any:
    return np.arange(n) % SIZES[-1]


def network(**options: Any) -> MLP:
    return MLP(SIZES, **{"seed": 3, "activation": "tanh", "input_scale": 1 / 64, **options})


def everything(X: Any, Xv: Any, **options: Any) -> list[Any]:
    """What a network makes of X in every call that takes it."""
    net, y = network(**options), labels()
    g, of_rows = net.gradient(X, y, l2=0.5), net.sample_gradients(X, y)
    results = [net.logits(X), net.predict(X), net.predict_proba(X), np.array([net.score(X, y), net.loss(X, y), g.loss])]
    results += [*g.weights, *g.biases, g.inputs, *of_rows.weights, of_rows.inputs]
    for shuffle in (False, True):
        history = net.fit(X, y, epochs=2, batch_size=16, shuffle=shuffle, validation_data=(Xv, y), early_stopping=9)
        results += [np.array([history.loss, history.validation_loss, history.validation_score])]
    net.partial_fit(X, y, 16, optimizer="adam")
    net.partial_fit(X, y, 16, optimizer="adam")
    return [*results, net.parameters]


def same(actual: list[Any], expected: list[Any]) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", DATA)
def test_the_bits_of_the_dense_array(kind: str, dtype: str) -> None:
    X, Xv = dense(kind), dense(kind, seed=8)
    for options in ({}, {"input_shift": np.linspace(-1, 1, SIZES[0])}, {"input_scale": None}):
        expected = everything(X, Xv, dtype=dtype, **options)
        for name in KINDS:
            form = getattr(sparse, name)
            given = form(X), form(Xv)
            assert given[0].dtype == X.dtype
            same(everything(*given, dtype=dtype, **options), expected)


@pytest.mark.parametrize("name", OTHERS)
def test_other_forms_are_taken_as_csr(name: str) -> None:
    X = dense()
    net = network()
    assert_same_bits(net.logits(getattr(sparse, name)(X)), net.logits(X))


def odd_forms(X: Any) -> dict[str, Any]:
    """CSR matrices of the same numbers, stored in uncommon ways."""
    plain = sparse.csr_matrix(X)
    backwards = plain.copy()
    for begin, end in zip(plain.indptr[:-1], plain.indptr[1:], strict=True):
        backwards.indices[begin:end] = plain.indices[begin:end][::-1]
        backwards.data[begin:end] = plain.data[begin:end][::-1]
    backwards.has_sorted_indices = False
    zeros = sparse.csr_matrix(np.where(X == 0, 1, X))
    zeros.data[np.flatnonzero(X.reshape(-1) == 0)] = 0
    rows, columns = np.nonzero(X)
    twice = sparse.csr_matrix(plain.shape, dtype=X.dtype)  # each number in two parts, one behind the other
    twice.indices, twice.indptr = np.repeat(columns, 2), 2 * plain.indptr
    twice.data = np.stack([X[rows, columns] - 1, np.ones(len(rows), X.dtype)], axis=1).reshape(-1)
    long = plain.copy()
    long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
    read_only = plain.copy()
    for array in (read_only.data, read_only.indices, read_only.indptr):
        array.flags.writeable = False
    assert not backwards.has_sorted_indices
    assert zeros.nnz == X.size
    assert not twice.has_canonical_format
    return {"unsorted": backwards, "explicit zeros": zeros, "duplicates": twice,
            "int64 indices": long, "read-only": read_only,
            "a view of rows": sparse.vstack([plain, plain], format="csr")[N:],
            "strided": sparse.csr_matrix(np.repeat(X, 2, axis=0))[::2],
            "transposed": sparse.csc_matrix(X.T).T}  # fmt: skip


@pytest.mark.parametrize("form", odd_forms(dense("i4")))
def test_uncommon_storage(form: str) -> None:
    X, Xv = dense("i4"), dense("i4", seed=8)
    odd = odd_forms(X)[form]
    kept = odd.data.copy(), odd.indices.copy(), odd.indptr.copy()
    same(everything(odd, odd_forms(Xv)[form]), everything(X, Xv))
    for array, before in zip((odd.data, odd.indices, odd.indptr), kept, strict=True):
        np.testing.assert_array_equal(array, before)  # the user's matrix is as it was


def test_a_matrix_of_nothing() -> None:
    same([network().logits(sparse.csr_array((N, SIZES[0])))], [network().logits(np.zeros((N, SIZES[0])))])


def test_other_losses_and_weights() -> None:
    X, t, w = dense(), np.random.default_rng(1).normal(size=(N, 5)), np.arange(N) / N
    nets = [network(loss="huber", activation="gelu") for _ in range(2)]
    for net, given in zip(nets, (X, sparse.csc_array(X)), strict=True):
        net.fit(given, t, epochs=2, batch_size=16, sample_weight=w, dropout=0.25, optimizer="adam", max_grad_norm=0.5)
    assert_same_bits(nets[0].parameters, nets[1].parameters)


# ---- memory ----

FEATURES, MANY = 1000, 50_000  # 200 MB, were it dense


def large(form: str) -> Any:
    rng = np.random.default_rng(0)
    columns = rng.integers(0, FEATURES, 2 * MANY)
    return sparse.csr_array(
        (np.ones(2 * MANY, "f4"), columns, np.arange(0, 2 * MANY + 1, 2)), (MANY, FEATURES)
    ).asformat(form)


CALLS: dict[str, Callable[[MLP, Any, Any], object]] = {
    "fit": lambda net, X, y: net.fit(X, y, epochs=1, batch_size=500, validation_data=(X, y)),
    "fit with Adam": lambda net, X, y: net.fit(X, y, epochs=1, batch_size=500, optimizer="adam", shuffle=False),
    "predict": lambda net, X, y: net.predict(X), "loss": lambda net, X, y: net.loss(X, y),
}  # fmt: skip


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_it_is_never_dense_as_a_whole(form: str) -> None:
    X, y, net = large(form), np.arange(MANY) % 3, MLP((FEATURES, 3), seed=0)
    for name, call in CALLS.items():
        tracemalloc.start()
        try:
            call(net, X, y)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 20e6, (name, peak)  # another form of it takes a megabyte, a stage and its dense rows 4


def test_more_numbers_than_any_memory_holds() -> None:
    """10^13 numbers: the first rows are looked at, and the first is wrong; a wrong shape is not even made CSR."""
    n, features = 10**7, 10**6
    indptr = np.concatenate([[0], np.ones(n, np.int64)])
    X = sparse.csr_array((np.array([np.nan], "f4"), np.array([5]), indptr), (n, features))
    net = MLP((features, 1), loss="mean_squared_error", seed=0)
    with pytest.raises(ValueError, match=r"^X: .*row 0\b"):
        net.predict(X)
    with pytest.raises(ValueError, match=r"^X: .*row 0\b"):
        net.fit(X, np.zeros(n, "f4"), batch_size=1, shuffle=False)
    with pytest.raises(ValueError, match=r"^X: got shape \(1000000000000, 1000001\)"):
        net.predict(sparse.coo_array((10**12, features + 1)))


# ---- what is refused ----

TAKES_X: list[Callable[[MLP, Any, Any], object]] = [
    lambda net, X, y: net.predict(X), lambda net, X, y: net.gradient(X, y), lambda net, X, y: net.score(X, y),
    lambda net, X, y: net.sample_gradients(X, y), lambda net, X, y: net.partial_fit(X, y, 16),
    lambda net, X, y: net.fit(X, y, batch_size=16), lambda net, X, y: net.fit(X, y, batch_size=16, shuffle=False),
]  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_by_row(value: float, name: str) -> None:
    form, y = getattr(sparse, name), labels()
    for row, column in ((0, 0), (33, 4), (N - 1, SIZES[0] - 1)):
        X = dense("f8")
        X[row, column] = value
        net = network()
        before, state = net.parameters.copy(), net.rng.bit_generator.state
        for call in TAKES_X:
            with pytest.raises(ValueError, match=rf"^X: got NaN or infinity in row {row}\b"):
                call(net, form(X), y)
        with pytest.raises(ValueError, match=rf"^validation_data\[0\]: got NaN or infinity in row {row}\b"):
            net.fit(form(dense("f8")), y, validation_data=(form(X), y))
        assert_same_bits(net.parameters, before)
        assert net.rng.bit_generator.state == state


def test_numbers_too_large_for_the_compute_dtype() -> None:
    for kind, value in (("f8", 1e300), ("g", np.longdouble("1e300"))):
        X = dense(kind)
        X[7, 3] = value
        with pytest.raises(ValueError, match=r"^X: got NaN or infinity in row 7\b"):
            network().predict(sparse.csr_array(X))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (sparse.csr_array((N, SIZES[0] + 1)), ValueError), (sparse.csr_array((N, SIZES[0] - 1)), ValueError),
        (sparse.csc_matrix((0, SIZES[0])), ValueError), (sparse.csr_array(dense().T), ValueError),
        (sparse.coo_array(dense()[1]), ValueError), (sparse.csr_array(dense().astype(complex)), TypeError),
    ],
)  # fmt: skip
def test_a_wrong_shape_or_dtype_is_refused(wrong: Any, error: type[Exception]) -> None:
    net = network()
    before = net.parameters.copy()
    for call in TAKES_X:
        with pytest.raises(error, match="^X: got .*expected"):
            call(net, wrong, labels())
    with pytest.raises(error, match=r"^validation_data\[0\]: got .*expected"):
        net.fit(dense(), labels(), validation_data=(wrong, labels()))
    assert_same_bits(net.parameters, before)


def test_targets_and_weights_are_not_sparse() -> None:
    X, y = sparse.csr_array(dense()), labels()
    for name, given in {"y": {"y": sparse.csr_array(np.eye(5)[y])}, "sample_weight": {"sample_weight": sparse.csr_array(
            np.ones((N, 1)))}}.items():  # fmt: skip
        with pytest.raises((ValueError, TypeError), match=f"^{name}: got .*expected"):
            network().fit(**{"X": X, "y": y, **given})


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="^y: got shape"):
        network().fit(sparse.csr_array(dense()), labels(N - 1))


# ---- without SciPy ----


def test_fastbp_works_where_scipy_is_not() -> None:
    code = """
import sys
sys.modules["scipy"] = None  # an import of it fails
import numpy as np
import fastbp
net = fastbp.MLP((3, 4, 2), seed=0)
net.fit(np.eye(3), [0, 1, 1], epochs=1)
print(len(net.predict(np.eye(3))))
"""
    assert run_python(code).strip() == "3"

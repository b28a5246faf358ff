"""Levels in embedded columns: the same bits however they are stored, and what is no level, refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import fastbp
from support.comparisons import assert_same_bits
from support.embedded import EMBEDDINGS, embedded, rows_for
from support.streams import Sliced

N = 400
LIMIT = 12_000  # bytes: several blocks
SETTINGS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "optimizer": "adam", "progress": False}


def data() -> Any:
    return rows_for(embedded(), N)


def chunks(X: Any, y: Any) -> Callable[[], Iterator[Any]]:
    return lambda: ((X[begin : begin + 100], y[begin : begin + 100]) for begin in range(0, N, 100))


def frame(X: Any) -> pd.DataFrame:
    columns = {name: X[:, j] for j, name in enumerate("abcde")}
    return pd.DataFrame({**columns, "b": X[:, 1].astype(int), "e": X[:, 4].astype("uint8")})


WAYS: dict[str, Callable[[Any], Any]] = {
    "float32": lambda X: X,
    "float64": lambda X: X.astype(np.float64),
    "Fortran order": np.asfortranarray,
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "CSR": scipy.sparse.csr_array,
    "CSC": scipy.sparse.csc_matrix,
    "frame": frame,
    "list": lambda X: X.tolist(),
    "sliced": Sliced,
}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_bits_from_every_kind_of_x(way: str) -> None:
    X, y = data()
    given = WAYS[way](X)
    net, twin = embedded(), embedded()
    assert_same_bits(net.logits(given), twin.logits(X))
    ours, theirs = net.gradient(given, y), twin.gradient(X, y)
    for column in EMBEDDINGS:
        assert_same_bits(ours.embeddings[column], theirs.embeddings[column])
    net.fit(given, y, **SETTINGS)
    twin.fit(X, y, **SETTINGS)
    assert_same_bits(net.parameters, twin.parameters)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int64", "uint64", "float16", "float32", "float64", ">f8"])
def test_levels_of_every_dtype(dtype: str) -> None:
    net = embedded()
    X, _ = data()
    whole = np.abs(np.rint(X))
    assert_same_bits(net.logits(whole.astype(dtype)), net.logits(whole))
    whole[7, 4] = 91
    with pytest.raises(ValueError, match=r"X: got 91(\.0)? in row 7 of column 4, which is embedded; expected whole"):
        net.logits(whole.astype(dtype))


def test_rows_in_blocks_give_the_bits_of_rows_in_memory() -> None:
    X, y = data()
    given = {"shuffle": False, **SETTINGS}
    wanted = embedded()
    wanted.fit(X, y, **given)
    for X_given, y_given, more in (
        (X, y, {"memory_limit": LIMIT}),
        (Sliced(X), y, {"memory_limit": LIMIT}),
        (scipy.sparse.csr_array(X), y, {"memory_limit": LIMIT}),
        (chunks(X, y), None, {}),
    ):
        net = embedded()
        net.fit(X_given, y_given, **given, **more)
        assert_same_bits(net.parameters, wanted.parameters)


def test_a_frames_columns_are_matched_by_name() -> None:
    X, y = data()
    net = embedded()
    net.fit(frame(X), y, **SETTINGS)
    turned = frame(X)[list("edcba")]
    assert_same_bits(net.logits(turned), net.logits(X))
    assert_same_bits(net.gradient(turned, y).inputs, net.gradient(X, y).inputs[:, ::-1])
    turned.loc[3, "e"] = 90
    with pytest.raises(ValueError, match="X: got 90.0 in row 3 of column 'e', which is embedded"):
        net.predict(turned)


# ---- what is no level ----


def with_wrong(X: Any, value: float, row: int = 301, column: int = 4, dtype: Any = np.float64) -> Any:
    wrong: Any = X.astype(dtype)
    wrong[row, column] = value
    return wrong


VALUES = (-1.0, 90.0, 1e30, 2.5, np.nextafter(2.0, 3.0), -1e-300, np.nan, np.inf, -np.inf)


@pytest.mark.parametrize("value", VALUES)
def test_what_is_no_level_is_refused_everywhere(value: float) -> None:
    """Also a number that would be one after the rounding to float32."""
    X, y = data()
    wrong, net = with_wrong(X, value), embedded()
    before = net.parameters.copy()
    message = f"got {np.float64(value)} in row 301 of column 4, which is embedded; expected whole numbers from 0 to 89"
    calls: dict[str, Callable[[], Any]] = {
        "logits": lambda: net.logits(wrong),
        "hidden": lambda: net.hidden(wrong),
        "score": lambda: net.score(wrong, y),
        "loss": lambda: net.loss(wrong, y),
        "gradient": lambda: net.gradient(wrong, y),
        "backward": lambda: net.backward(wrong, np.ones((N, 3))),
        "sample_gradients": lambda: net.sample_gradients(wrong, y),
        "fit": lambda: net.fit(wrong, y, **SETTINGS),
        "fit of rows": lambda: net.fit(wrong, y, rows=[5, 301], **SETTINGS),
        "partial_fit": lambda: net.partial_fit(wrong, y),
        "in blocks": lambda: net.fit(wrong, y, memory_limit=LIMIT, **SETTINGS),
        "validation": lambda: net.fit(X, y, validation_data=(wrong, y), **SETTINGS),
        "fit_many": lambda: fastbp.fit_many([net], wrong, y, **{**SETTINGS, "progress": False}),
        "sparse": lambda: net.logits(scipy.sparse.csr_array(wrong)),
        "sparse fit": lambda: net.fit(scipy.sparse.csr_array(wrong), y, **SETTINGS),
        "sliced": lambda: net.logits(Sliced(wrong)),
        "sliced fit": lambda: net.fit(Sliced(wrong), y, **SETTINGS),
        "Fortran order": lambda: net.logits(np.asfortranarray(wrong)),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError) as refused:
            call()
        assert message.replace("[", "") in str(refused.value), name
    with pytest.raises(ValueError, match="X of chunk 3: got .* in row 1 of column 4, which is embedded"):
        net.fit(chunks(wrong, y), **SETTINGS)
    assert_same_bits(net.parameters, before)
    net.fit(wrong, y, rows=np.arange(300), **SETTINGS)  # the row is not used


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_bound_pass_refuses_it_too(dtype: str) -> None:
    """Rows of a shape that came before are computed by a pass that looks at nothing."""
    net = embedded()
    for n in (1, 200):
        X, _ = rows_for(net, n, dtype)
        for _ in range(3):
            logits = net.logits(X)
        for value in VALUES:
            value = float(np.float32(value)) if dtype == "float32" else value
            if value in range(90):  # rounded
                continue
            with pytest.raises(ValueError, match="in row 0 of column 1, which is embedded"):
                net.logits(with_wrong(X, value, 0, 1, dtype))
        assert_same_bits(net.logits(X), logits)


def test_sliced_rows_are_checked_as_they_are_read() -> None:
    X, y = data()
    net, source = embedded(), Sliced(with_wrong(X, 90.0, dtype=np.float32))
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="X: got 90.0 in row 301 of column 4"):
        net.fit(source, y, memory_limit=LIMIT, **SETTINGS)
    assert_same_bits(net.parameters, before)


@pytest.mark.parametrize("value", VALUES)
def test_rows_that_change_between_the_check_and_the_step_do_no_harm(value: float) -> None:
    """X is read in place, and a callback writes into it: compiled code takes level 0 then."""
    found = []
    for written in (value, float(np.trunc(value)) if 0 <= value < 90 else 0.0):
        X, y = data()
        net = embedded()

        def spoil(network: Any, history: Any, X: Any = X, written: float = written) -> None:
            X[::3, 4] = written

        net.fit(X, y, callbacks=[spoil], **{**SETTINGS, "epochs": 3})
        found.append(net.parameters)
    assert_same_bits(*found)

"""The recipe's numbers, as its docstrings tell them."""

import numpy as np
import pytest

from fastbp.tables.recipe import Recipe

RECIPE = Recipe()


@pytest.mark.parametrize(
    ("rows", "classes", "epochs"),
    [(10, 0, 30), (5000, 2, 30), (40_000, 2, 15), (5_000_000, 0, 3), (10**12, 0, 1), (10**12, 26, 30), (5000, 20, 60)],
)
def test_epochs(rows, classes, epochs):
    assert RECIPE.epochs_of(rows, classes) == epochs
    assert Recipe(epochs=7).epochs_of(rows, classes) == 7


def test_networks_and_batches():
    assert [RECIPE.networks_of(rows) for rows in (2, 7999, 8000)] == [3, 3, 1]
    assert [RECIPE.batch_size(rows) for rows in (1, 960, 1920, 10**6)] == [16, 16, 32, 256]
    assert RECIPE.trainings(100) == 6 and Recipe(networks=5).trainings(10**6) == 10


def test_bins_are_shared_out_to_the_columns():
    plain, binned = RECIPE.encodings
    assert [plain.bins(columns) for columns in (0, 1, 100)] == [0, 0, 0]
    assert [binned.bins(columns) for columns in (0, 1, 8, 100)] == [64, 64, 32, 8]


def test_less_is_dropped_of_many_rows():
    for encoding in RECIPE.encodings:
        dropped = [RECIPE.dropout_of(encoding, rows) for rows in (10, 5000, 10_000, 10**7)]
        np.testing.assert_allclose(dropped, np.array([1, 1, 1 / 2, 1 / 3]) * encoding.dropout, rtol=1e-15)

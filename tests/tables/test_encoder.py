"""The encoder of a table's columns against formulas written out here."""

import json

import numpy as np
import pytest

from fastbp.tables.columns import Columns
from fastbp.tables.encoder import EMBEDDED_WIDTH, MOST_ONE_HOT, Encoder

FLOAT64 = np.dtype(np.float64)
ROUNDINGS = 16 * np.finfo(np.float64).eps


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def texts(*values):
    array = np.empty(len(values), object)
    array[:] = values
    return array


def table(*arrays, names=None):
    return Columns(names, arrays)


def encoded(columns, bins=0, dtype=FLOAT64):
    return Encoder.fit(columns, bins).encode(columns, dtype)


def test_numbers_by_median_and_quartiles(rng):
    x = rng.standard_normal(501) ** 3
    lower, middle, upper = np.percentile(x, [25, 50, 75])
    z = (x - middle) / (upper - lower)
    np.testing.assert_allclose(encoded(table(x))[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=ROUNDINGS, atol=ROUNDINGS)


def test_bins_rise_from_quantile_to_quantile(rng):
    x = rng.standard_normal(400)
    edges = np.percentile(x, [0, 25, 50, 75, 100])
    expected = [np.interp(x, [low, high], [-0.4, 0.4]) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    np.testing.assert_allclose(encoded(table(x), bins=4)[:, 1:], np.transpose(expected), rtol=0, atol=1e3 * ROUNDINGS)


def test_gaps_are_the_median_and_have_a_column():
    x = np.array([1.0, np.nan, 3.0, 5.0, np.nan])
    result = encoded(table(x))
    assert result[:, 1].tolist() == [0, 1, 0, 0, 1]
    assert result[[1, 4], 0].tolist() == [0, 0]


def test_a_gap_that_training_had_none_of_is_the_median():
    x = np.array([1.0, 3.0, 5.0])
    encoder = Encoder.fit(table(x), 2)
    assert encoder.encode(table(np.array([np.nan])), FLOAT64).tolist() == [[0.0, 0.0, 0.0]]


def test_infinities_are_the_ends_of_the_scale(rng):
    x = np.array([-np.inf, *rng.standard_normal(50), np.inf, 1e300, -1e300])
    result = encoded(table(x), bins=4)
    assert np.isfinite(result).all()
    assert result[0, 0] == -3 and result[51, 0] == 3 and result[52, 0] == 3
    assert (result[0, 1:] == -0.4).all() and (result[51, 1:] == 0.4).all()


@pytest.mark.parametrize("values", [np.full(5, 3.0), np.full(5, np.nan), texts(*"aaaaa"), texts(*[None] * 5)])
def test_columns_that_tell_nothing_are_left_out(values, rng):
    other = rng.standard_normal(5)
    assert encoded(table(values, other)).tolist() == encoded(table(other)).tolist()
    assert encoded(table(values)).tolist() == [[0.0]] * 5  # a network has one input at least


def test_numbers_at_the_limits_stay_finite():
    x = np.array([-1.7e308, 0.0, 1.7e308, 5e-324, -5e-324, 1.0])
    assert np.isfinite(encoded(table(x), bins=4)).all()


def test_a_number_that_nearly_all_rows_share_is_scaled_by_its_range():
    x = np.array([0.0] * 20 + [4.0])
    assert encoded(table(x))[-1, 0] == 2 / np.sqrt(1 + 4 / 9)


def test_levels_have_columns_in_the_order_of_their_texts_behind_that_of_others():
    column = texts("b", "a", "b", "a", "c", None)  # c has one row only, and counts as missing
    expected = [[0, 0, 1], [0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 0, 0]]
    assert encoded(table(column)).tolist() == expected


def test_an_unknown_level_is_a_missing_one():
    fitted = table(texts("b", "a", "b", "a", None))
    encoder = Encoder.fit(fitted)
    assert encoder.encode(table(texts("new", None)), FLOAT64).tolist() == [[1, 0, 0], [1, 0, 0]]
    without_gaps = Encoder.fit(table(texts("b", "a", "b", "a")))
    assert without_gaps.encode(table(texts("new", None)), FLOAT64).tolist() == [[0, 0], [0, 0]]


def test_numbers_and_texts_change_into_levels_only():
    levels = Encoder.fit(table(texts("1", "2.5", "1", "2.5")))
    assert levels.encode(table(np.array([2.5, 1.0, np.nan])), FLOAT64).tolist() == [[0, 1], [1, 0], [0, 0]]
    numbers = Encoder.fit(table(np.array([1.0, 2.0, 4.0]), names=("size",)))
    assert numbers.encode(table(texts(None)), FLOAT64).tolist() == [[0.0]]
    with pytest.raises(ValueError, match="X: got 'big' in column 'size', expected numbers as in the fit"):
        numbers.encode(table(texts(None, "big")), FLOAT64)


def test_many_levels_become_numbers_at_the_end(rng):
    many = texts(
        *(f"level {i:03d}" for i in range(MOST_ONE_HOT + 1)), *(f"level {i:03d}" for i in range(MOST_ONE_HOT + 1))
    )
    x = rng.standard_normal(len(many))
    encoder = Encoder.fit(table(many, x))
    assert encoder.embeddings == {1: (MOST_ONE_HOT + 2, EMBEDDED_WIDTH)}
    result = encoder.encode(table(many, x), FLOAT64)
    assert result[:, 1].tolist() == [*range(1, MOST_ONE_HOT + 2)] * 2
    assert encoder.encode(table(texts("new"), np.zeros(1)), FLOAT64)[0, 1] == 0
    few = texts(*(f"level {i:03d}" for i in range(MOST_ONE_HOT)), *(f"level {i:03d}" for i in range(MOST_ONE_HOT)))
    assert Encoder.fit(table(few)).embeddings == {}


def test_ten_thousand_levels(rng):
    many = texts(*map(str, rng.permutation(np.repeat(np.arange(10_000), 2)).tolist()))
    encoder = Encoder.fit(table(many))
    result = encoder.encode(table(many), np.dtype(np.float32))
    ((levels, _),) = encoder.embeddings.values()
    found = dict(zip(many, result[:, 1].tolist(), strict=True))
    assert len(set(found.values())) == len(found) == levels - 1 == 10_000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_row_has_the_bits_of_many(dtype, rng):
    numbers = rng.standard_normal((97, 3)) ** 5
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    columns = table(*numbers.T, texts(*rng.choice(["x", "y", "z", None], 97)))
    encoder = Encoder.fit(columns, 8)
    together = encoder.encode(columns, np.dtype(dtype))
    alone = [encoder.encode(row, np.dtype(dtype)) for row in columns.blocks(1)]
    assert together.dtype == dtype
    assert np.concatenate(alone).tobytes() == together.tobytes()


def test_columns_are_matched_by_name(rng):
    a, b, c = rng.standard_normal((3, 20))
    encoder = Encoder.fit(table(a, b, names=("a", "b")))
    expected = encoder.encode(table(a, b), FLOAT64)
    assert (encoder.encode(table(c, b, a, names=("c", "b", "a")), FLOAT64) == expected).all()
    with pytest.raises(ValueError, match="no column named 'a'"):
        encoder.encode(table(b, c, names=("b", "c")), FLOAT64)
    with pytest.raises(ValueError, match="X: got 1 columns, expected 2 as in the fit"):
        encoder.encode(table(a), FLOAT64)


def test_json_keeps_every_bit(rng):
    columns = table(rng.standard_normal(50) * 1e-300, rng.standard_normal(50), texts(*rng.choice(["ä", "b"], 50)))
    encoder = Encoder.fit(columns, 8)
    again = Encoder.from_metadata(json.loads(json.dumps(encoder.to_metadata())))
    assert again.encode(columns, FLOAT64).tobytes() == encoder.encode(columns, FLOAT64).tobytes()

"""Softmax with cross-entropy: against the reference, at the limits of the dtype, row by row the same bits."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import reference
from fastbp.kernels.target import TARGET
from fastbp.program import run
from fastbp.program.tuning import Tuning, forced
from support.comparisons import assert_same_bits, assert_within
from support.memory import guarded

DTYPES = [np.float32, np.float64]


def class_numbers(dtype: Any) -> list[int]:
    vl = vector(dtype)
    return sorted({1, 2, 3, vl - 1, vl, vl + 1, 2 * vl + 3, 1000})


def vector(dtype: Any) -> int:
    return TARGET.lanes(dtype)


def random_rows(rng: np.random.Generator, dtype: Any, n: int, classes: int, size: float = 3.0) -> tuple[Any, Any, Any]:
    """Logits, labels, and rows of probabilities."""
    z = (size * rng.normal(size=(n, classes))).astype(dtype)
    t = rng.random((n, classes)) + 0.01
    t = (t / t.sum(axis=1, keepdims=True)).astype(dtype)
    return z, rng.integers(0, classes, n), t


def bounds(z: Any, t: Any, dtype: Any) -> tuple[Any, Any]:
    """What rounding may do to the row losses and to ``n dlogits``, to first order, the reference's own included.

    With d = top - z: the sum of the exponentials is off by the rounding of d, weighted by p, by exp (2 ulp) and by
    the additions, over classes or lane by lane and then over the lanes; then come log (2 ulp), the subtraction and
    the products. Probabilities of another dtype are rounded besides.
    """
    eps = float(np.finfo(dtype).eps)
    z, t = np.asarray(z, np.float64), np.asarray(t, np.float64)
    n, classes = z.shape
    p = reference.softmax(z)
    d = np.where(p > 0, z.max(axis=1, keepdims=True) - z, 0.0)
    vl = vector(dtype)
    additions = classes if classes <= vl else classes / vl + math.log2(vl) + 1
    of_sum = (p * d).sum(axis=1) + 2 + additions
    log_sum = -np.log(p.max(axis=1))
    agreement = (t * np.where(t > 0, z.max(axis=1, keepdims=True) - z, 0.0)).sum(axis=1)
    of_losses = of_sum + 2 * log_sum + (additions + 4) * agreement + 1
    of_slopes = p * (of_sum[:, None] + d + 6) + np.abs(p - t) + t
    floor = 4 * float(np.finfo(dtype).smallest_subnormal)
    off = np.abs(t.sum(axis=1) - 1) * log_sum  # rows that sum to 1 within rounding: two ways to read the same formula
    return eps * of_losses + off + floor, eps * of_slopes + n * floor


def check(z: Any, labels: Any) -> tuple[float, Any]:
    n, classes = z.shape
    loss, dlogits = fastbp.softmax_cross_entropy(z, labels)
    expected_loss, expected = reference.softmax_cross_entropy(z, labels)
    assert type(loss) is float
    assert dlogits.dtype == z.dtype
    t = np.eye(classes)[labels] if np.ndim(labels) == 1 else labels
    of_losses, of_slopes = bounds(z, t, z.dtype)
    assert_within(loss, expected_loss, of_losses.mean() + n * np.finfo(np.float64).eps * abs(expected_loss))
    assert_within(dlogits, expected, of_slopes / n)
    row_sums = dlogits.sum(axis=1, dtype=np.float64)
    assert_within(row_sums, np.zeros(n), (of_slopes.sum(axis=1) + np.finfo(z.dtype).eps) / n)
    return loss, dlogits


# ---- against the reference ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", ["1", "2", "3", "VL-1", "VL", "VL+1", "2VL+3", "1000"])
def test_against_the_reference(classes: str, dtype: Any) -> None:
    vl = vector(dtype)
    count = {"VL-1": vl - 1, "VL": vl, "VL+1": vl + 1, "2VL+3": 2 * vl + 3}.get(classes) or int(classes)
    rng = np.random.default_rng(1)
    for n in range(1, 41):
        z, labels, t = random_rows(rng, dtype, n, count, size=float(rng.choice([0.1, 1, 3, 10])))
        check(z, labels)
        if n % 3 == 1:
            check(z, t)


@pytest.mark.parametrize("dtype", DTYPES)
def test_against_central_differences(dtype: Any) -> None:
    """The gradient in the dtype against slopes of the float64 loss."""
    rng = np.random.default_rng(2)
    z, labels, t = random_rows(rng, np.float64, 3, 7, size=2.0)
    z = z.astype(dtype).astype(np.float64)
    h = 1e-5
    for targets in (labels, t):
        _, dlogits = fastbp.softmax_cross_entropy(z.astype(dtype), targets)
        for i, j in np.ndindex(z.shape):
            above, below = z.copy(), z.copy()
            above[i, j] += h
            below[i, j] -= h
            up, down = (fastbp.softmax_cross_entropy(point, targets)[0] for point in (above, below))
            of_losses, _ = bounds(z, np.eye(7)[labels] if targets.ndim == 1 else t, np.float64)
            _, of_slopes = bounds(z, t, dtype)
            # third derivatives of log-sum-exp stay under 0.2, and a row counts for a third of the mean
            allowed = 0.2 / 3 * h * h / 6 + of_losses.mean() / h + of_slopes[i, j] / 3
            assert abs(float(dlogits[i, j]) - (up - down) / (2 * h)) <= allowed


# ---- forms of labels ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_form_of_class_index_is_the_same(dtype: Any) -> None:
    z, labels, _ = random_rows(np.random.default_rng(3), dtype, 33, 5)
    loss, dlogits = fastbp.softmax_cross_entropy(z, labels)
    for kind in ("i1", "u1", "i2", ">i4", "u4", "i8", ">i8", "u8", "f2", "f4", ">f8", "f8", "g"):
        again, slopes = fastbp.softmax_cross_entropy(z, labels.astype(kind))
        assert again == loss
        assert_same_bits(slopes, dlogits)
    for form in (labels.tolist(), np.repeat(labels, 2)[::2], np.ascontiguousarray(labels[::-1])[::-1]):
        assert fastbp.softmax_cross_entropy(z, form)[0] == loss
    two = labels > 2
    as_numbers = fastbp.softmax_cross_entropy(z, two.astype(int))
    assert fastbp.softmax_cross_entropy(z, two)[0] == as_numbers[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1.0, 30.0, 1e4, 1e30])
def test_one_hot_rows_have_the_bits_of_indices(size: float, dtype: Any) -> None:
    rng = np.random.default_rng(4)
    for classes, n in itertools.product(class_numbers(dtype), (1, 7, 40)):
        z, labels, _ = random_rows(rng, dtype, n, classes, size)
        loss, dlogits = fastbp.softmax_cross_entropy(z, labels)
        for kind in (dtype, np.float64, bool):
            again, slopes = fastbp.softmax_cross_entropy(z, np.eye(classes, dtype=kind)[labels])
            assert again == loss
            assert_same_bits(slopes, dlogits)


# ---- limits ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [2, 3, 17, 40])
def test_huge_logits(classes: int, dtype: Any) -> None:
    for huge in (1e4, 1e30):
        z = np.full((3, classes), -huge, dtype)
        z[:, 1] = huge
        huge_here = float(z[0, 1])
        loss, dlogits = fastbp.softmax_cross_entropy(z, [1, 1, 1])
        assert loss == 0.0
        assert_same_bits(dlogits, np.zeros_like(z))
        loss, dlogits = fastbp.softmax_cross_entropy(z[:1], [0])
        assert loss == 2 * huge_here
        assert dlogits[0].tolist() == [-1.0, 1.0] + [0.0] * (classes - 2)
        loss, dlogits = fastbp.softmax_cross_entropy(z[:1], np.eye(classes)[:1])
        assert loss == 2 * huge_here
        assert dlogits[0].tolist() == [-1.0, 1.0] + [0.0] * (classes - 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_logits(dtype: Any) -> None:
    for classes, value in itertools.product(class_numbers(dtype), (0.0, -3.5, 1e4, -1e30)):
        loss, dlogits = check(np.full((4, classes), value, dtype), np.arange(4) % classes)
        assert abs(loss - math.log(classes)) <= 2 * np.spacing(dtype(math.log(classes)))
        assert np.unique(dlogits).size <= 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["indices", "one-hot rows"])
def test_classes_with_a_logit_of_minus_infinity_cost_nothing(form: str, dtype: Any) -> None:
    rng = np.random.default_rng(5)
    for classes in class_numbers(dtype)[1:]:
        z, labels, _ = random_rows(rng, dtype, 6, classes)
        others = (labels + 1) % classes
        z[np.arange(6), others] = -np.inf
        targets = labels if form == "indices" else np.eye(classes)[labels]
        loss, dlogits = fastbp.softmax_cross_entropy(z, targets)
        expected_loss, expected = reference.softmax_cross_entropy(z, targets)
        kept = np.where(np.isinf(z), -1e4, z)  # the same loss, in finite numbers
        of_losses, of_slopes = bounds(kept, np.eye(classes)[labels], dtype)
        assert_within(loss, expected_loss, of_losses.mean())
        assert_within(dlogits, expected, of_slopes / 6)
        assert (dlogits[np.arange(6), others] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["indices", "one-hot rows"])
def test_logits_as_far_apart_as_the_dtype_allows(form: str, dtype: Any) -> None:
    """Their difference overflows; the class that is as good as impossible still costs nothing."""
    z = np.array([[np.finfo(dtype).max, np.finfo(dtype).min, 1.0]], dtype)
    loss, dlogits = fastbp.softmax_cross_entropy(z, [0] if form == "indices" else [[1, 0, 0]])
    assert loss == 0.0
    assert dlogits.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["indices", "one-hot rows"])
def test_a_target_of_minus_infinity_costs_infinity(form: str, dtype: Any) -> None:
    z = np.array([[0.0, -np.inf]], dtype)
    loss, dlogits = fastbp.softmax_cross_entropy(z, [1] if form == "indices" else [[0, 1]])
    assert loss == np.inf
    assert dlogits.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["indices", "rows"])
@pytest.mark.parametrize("wrong", [[math.nan], [math.inf], [math.nan, math.inf, -math.inf], [-math.inf] * 1000])
def test_nan_comes_out_of_nan_and_infinity_in_its_own_row(wrong: list[float], form: str, dtype: Any) -> None:
    rng = np.random.default_rng(6)
    for classes in class_numbers(dtype):
        z, labels, t = random_rows(rng, dtype, 5, classes)
        targets = labels if form == "indices" else t
        values = np.array(wrong[:classes], dtype)
        whole = z.copy()
        whole[3, rng.permutation(classes)[: values.size]] = values
        if not (np.isnan(values).any() or np.isposinf(values).any() or values.size == classes):
            continue  # not a row of nothing but -inf
        loss, dlogits = fastbp.softmax_cross_entropy(whole, targets)
        assert math.isnan(loss)
        assert np.isnan(dlogits[3]).all()
        _, clean = fastbp.softmax_cross_entropy(z, targets)
        assert_same_bits(np.delete(dlogits, 3, axis=0), np.delete(clean, 3, axis=0))


# ---- nothing beyond an operand ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", ["start", "end"])
def test_operands_at_protected_pages(side: str, dtype: Any) -> None:
    rng = np.random.default_rng(7)
    for classes, n in itertools.product(class_numbers(dtype), (1, 2, vector(dtype) + 1)):
        z, labels, t = random_rows(rng, dtype, n, classes)
        check(guarded(z, side), guarded(labels, side))
        check(guarded(z, side), guarded(t, side))


# ---- the same bits ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["indices", "rows"])
def test_a_row_has_the_same_bits_alone_and_in_any_batch(form: str, dtype: Any) -> None:
    rng = np.random.default_rng(8)
    for classes in (3, vector(dtype) + 1, 100):
        z, labels, t = random_rows(rng, dtype, 70, classes)
        targets = labels if form == "indices" else t
        alone = [fastbp.softmax_cross_entropy(z[i : i + 1], targets[i : i + 1]) for i in range(70)]
        for n in range(1, 71):
            loss, dlogits = fastbp.softmax_cross_entropy(z[:n], targets[:n])
            total = 0.0
            for row_loss, _ in alone[:n]:
                total += row_loss
            assert loss == total / n
            rows = np.concatenate([slopes for _, slopes in alone[:n]])
            assert_same_bits(dlogits, rows * dtype(1.0 / n))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["indices", "rows"])
def test_no_split_changes_a_bit(form: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parallel_calls = []
    in_a_team = run._run_in_a_team
    monkeypatch.setattr(run, "_run_in_a_team", lambda *given: (parallel_calls.append(1), in_a_team(*given)))
    z, labels, t = random_rows(np.random.default_rng(9), dtype, 1000, 37)
    targets = labels if form == "indices" else t
    with fastbp.threads.limit(1):
        loss, dlogits = fastbp.softmax_cross_entropy(z, targets)
    assert not parallel_calls
    for threads, parts in itertools.product((1, 2), (2, 3, 7, 8)):
        with forced(Tuning(row_parts=parts, parallel=True)), fastbp.threads.limit(threads):
            again, slopes = fastbp.softmax_cross_entropy(z, targets)
        assert again == loss
        assert_same_bits(slopes, dlogits)
    if fastbp.threads.count() > 1:
        assert parallel_calls

"""``fastbp verify``: are the kernels right, as they were compiled on this machine?

They are compared with what shares no code with them: central differences of an objective written out below, and the
plain NumPy of `fastbp.reference`, each within a bound of ``k eps``. And with themselves, bit for bit: on other numbers
of threads, under other schedules, one row at a time. All data come from fixed seeds.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import functional, reference, threads, validation
from .activations import ACTIVATIONS
from .gradients import GradcheckResult, gradcheck
from .kernels import tile
from .kernels.affine import FEW_ROWS
from .kernels.gemm import BY_ROWS, IN_PLACE, PACKED
from .kernels.simd import TARGET
from .network import MLP, Gradient
from .schedule import Tuning, forced

Array = NDArray[Any]
DTYPES = ("float64", "float32")
CANARY, MARGIN = -12345.0, 64  # around an output: what is written beyond it shows
# Of the tensor's largest entry. Central differences are good to about 4e-11 of the function's value, which is up to
# a thousand times that entry here; wrong formulas are off by far more.
NUMERIC_TOLERANCE = 1e-6
KINK = 1e-3  # rows with a hidden sum so near 0 are left out: rounding, or the step of a difference, may cross it
TRAINING_KINK = 1e-5  # the same for whole runs in float32, whose sums of order 1 are off by about 1e-6

# What a schedule may choose without changing a bit; the programs of a network are remembered by these objects.
ALONE = Tuning(parallel=False)
BLOCKINGS = (
    Tuning(kc=1),
    Tuning(kc=7, nc=1, access=PACKED, a_in_place=False),
    Tuning(kc=5, access=BY_ROWS),
    Tuning(access=BY_ROWS, parallel=False),
    Tuning(access=IN_PLACE, a_in_place=True),
    Tuning(kc=6, access=IN_PLACE, a_in_place=False, parallel=True),
    Tuning(access=PACKED, a_in_place=True),
)
SPLITS = (
    Tuning(parallel=True),
    Tuning(parallel=True, slabs=True),
    Tuning(parallel=True, slabs=False),
    Tuning(parallel=True, row_parts=2),
    Tuning(parallel=True, column_parts=2),
    Tuning(parallel=True, slabs=True, row_parts=5),
    Tuning(parallel=True, slabs=False, row_parts=2, kc=9, access=PACKED),
    Tuning(slabs=True, row_parts=3, kc=4),
)


@dataclass(frozen=True)
class Check:
    """One check of the kernels in one dtype; true if it passed.

    Attributes
    ----------
    name, dtype : str
    cases : int
        Comparisons made.
    worst : float or None
        The largest error as a share of its bound, infinity where NaN came; None where only bits were compared.
    failures : int
        Cases that failed.
    left_out : int
        Rows or entries left out for being near a kink of the ReLU.
    seconds : float
    detail : str
        The first failure, in words; empty if there is none.

    Examples
    --------
    >>> print(Check("affine layers", "float64", 120, 0.25, 0, 0, 1.5, ""))
    affine layers           float64     120 cases   worst error 0.25 of its bound    ok
    """

    name: str
    dtype: str
    cases: int
    worst: float | None
    failures: int
    left_out: int
    seconds: float
    detail: str

    @property
    def ok(self) -> bool:
        return self.failures == 0 and self.cases > 0

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        found = "same bits" if self.worst is None else f"worst error {self.worst:.2g} of its bound"
        found = found if self.ok else f"{self.failures:,} wrong"
        line = f"{self.name:<22}  {self.dtype}  {self.cases:>6,} cases   {found:<31}  {'ok' if self.ok else 'FAILED'}"
        line += f" ({self.left_out:,} left out at kinks)" if self.left_out else ""
        return line if self.ok else f"{line}\n    {self.detail}"


class _Tally:
    """What one check has seen so far."""

    def __init__(self) -> None:
        self.cases = self.failures = self.left_out = 0
        self.worst: float | None = None
        self.detail = ""

    def fail(self, detail: str) -> None:
        self.failures += 1
        self.detail = self.detail or detail

    def within(self, what: str, actual: Any, expected: Any, bound: Any) -> None:
        """One case: ``|actual - expected| <= bound``, entry by entry."""
        self.cases += 1
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        if actual.shape != expected.shape:
            self.fail(f"{what}: got shape {actual.shape}, expected {expected.shape}")
            return
        error = np.abs(actual - expected)
        share = np.where(error == 0, 0.0, error / bound)
        share[np.isnan(share)] = math.inf
        largest = float(share.max(initial=0.0))
        self.worst = max(self.worst or 0.0, largest)
        if largest > 1:
            at = np.unravel_index(int(share.argmax()), share.shape)
            where = f"[{', '.join(map(str, at))}]" if at else "the value"
            self.fail(f"{what}: got {actual[at]:.9g} at {where}, expected {expected[at]:.9g}; "
                      f"the error is {largest:.3g} times its bound")  # fmt: skip

    def same(self, what: str, actual: Array, expected: Array) -> None:
        """One case: the same bits."""
        self.cases += 1
        if actual.dtype != expected.dtype or actual.shape != expected.shape:
            self.fail(f"{what}: got {actual.dtype} {actual.shape}, expected {expected.dtype} {expected.shape}")
        elif actual.tobytes() != expected.tobytes():
            bits = f"u{actual.dtype.itemsize}"
            first, second = (np.ascontiguousarray(a).reshape(-1).view(bits) for a in (actual, expected))
            wrong = np.flatnonzero(first != second)
            self.fail(f"{what}: other bits in {wrong.size} of {actual.size} numbers, first in number {wrong[0]}")

    def numeric(self, what: str, result: GradcheckResult) -> None:
        """One case: a gradient that agrees with central differences."""
        self.cases += 1
        self.left_out += result.skipped
        share = result.error / result.rtol
        self.worst = max(self.worst or 0.0, math.inf if math.isnan(share) else share)
        if not result:
            self.fail(f"{what}: {result}")


def verify(report: Callable[[Check], object] | None = None, names: Collection[str] | None = None) -> list[Check]:
    """Check the compiled kernels on this machine, in float64 and float32.

    Parameters
    ----------
    report : callable, optional
        Called with each check as soon as it is done.
    names : collection of str, optional
        Which of `CHECKS` to carry out; all of them by default.

    Returns
    -------
    list of Check
        Each of them is true if it passed. An exception within a check makes it fail and is its `detail`.

    Raises
    ------
    TypeError, ValueError
        `report` is no callable; `names` is no collection, is empty, or holds anything but names of `CHECKS`.

    Examples
    --------
    >>> all(verify(names=["one-hot targets"]))
    True
    """
    if report is not None and not callable(report):
        raise TypeError(f"report: got {type(report).__name__}, expected a callable")
    chosen = _chosen(names)
    threads.layer()  # starts the pool: until then short work stays on one thread
    checks = []
    for name, dtype in itertools.product(chosen, DTYPES):
        checks.append(_carried_out(name, dtype))
        if report is not None:
            report(checks[-1])
    return checks


def _chosen(names: Collection[str] | None) -> list[str]:
    if names is None:
        return list(CHECKS)
    chosen = [names] if isinstance(names, str) else validation.as_list(names)
    if chosen is None:
        raise TypeError(f"names: got {names!r}, expected a collection of names of checks")
    if not chosen:  # no check at all would look like one that passed
        raise ValueError(f"names: got none, expected at least one of {', '.join(CHECKS)}")
    for name in chosen:
        if not isinstance(name, str) or name not in CHECKS:
            raise ValueError(f"names: got {name!r}, expected any of {', '.join(CHECKS)}")
    return chosen


def _carried_out(name: str, dtype: str) -> Check:
    tally, start = _Tally(), time.perf_counter()
    try:
        with np.errstate(all="ignore"):
            CHECKS[name](tally, np.dtype(dtype))
    except Exception as error:  # a wrong kernel may break what is built on it
        tally.fail(f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - start
    detail = tally.detail if tally.cases else tally.detail or "nothing was compared"
    return Check(name, dtype, tally.cases, tally.worst, tally.failures, tally.left_out, seconds, detail)


def _told(way: Tuning) -> str:
    return ", ".join(f"{name} {value}" for name, value in vars(way).items() if value is not None) or "nothing forced"


# ---- the functions, at the edges of vectors and tiles ----


def _eps(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps)


def _edges(dtype: np.dtype[Any]) -> Iterator[tuple[int, int, int]]:
    """Shapes (n, fan_in, fan_out): around the rows of tiles and the lanes of vectors, longer than a stretch, empty."""
    lanes = TARGET.vector_bytes // dtype.itemsize
    high, half = tile.MAIN.rows, tile.HALF.rows
    rows = {1, 2, FEW_ROWS, FEW_ROWS + 1, half - 1, half, half + 1, high - 1, high, high + 1, 2 * high - 1, 41}
    columns = {1, lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 2 * lanes, 2 * lanes + 1, 3 * lanes, 4 * lanes + 1,
               8 * lanes + 1}  # fmt: skip
    yield from itertools.product(sorted(rows), (1, half, high + 1, lanes + 1, 37), sorted(columns))
    yield from ((0, 3, 2), (3, 0, 2), (3, 2, 0), (5, 2500, 3), (23, 1300, 35), (300, 70, 90), (1, 130, 1100))


def _product_bound(A: Array, B: Array, more: Any = 0.0) -> Array:
    """``k eps (|A||B| + |more|)``, k the number of terms and a few: for sums in any order, rounded throughout."""
    A64, B64 = np.abs(A.astype(np.float64)), np.abs(B.astype(np.float64))
    bound: Array = (A.shape[1] + 3) * _eps(A.dtype) * (A64 @ B64 + np.abs(more))
    return bound


def check_affine(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """Forward, with ReLU, and backward, as the schedule chooses and with B read in each way."""
    rng = np.random.default_rng(1)
    ways = (Tuning(), Tuning(kc=5, access=PACKED, a_in_place=False), Tuning(access=IN_PLACE, a_in_place=True),
            Tuning(access=BY_ROWS))  # fmt: skip
    for n, fan_in, fan_out in _edges(dtype):
        shapes = (n, fan_in), (fan_in, fan_out), (fan_out,), (n, fan_out)
        X, W, b, dH = (rng.normal(size=shape).astype(dtype) for shape in shapes)
        H, H_bound = reference.affine_forward(X, W, b), _product_bound(X, W, b)
        expected = reference.affine_backward(dH, X, W)
        bounds = (_product_bound(dH, W.T), _product_bound(X.T, dH), _product_bound(np.ones((1, n), dtype), dH)[0])
        for way in ways:
            what = f"{n} x {fan_in} by {fan_in} x {fan_out}, {_told(way)}"
            with forced(way):
                _check_forward(tally, what, X, W, b, H, H_bound)
                found = functional.affine_backward(dH, X, W)
            for name, actual, wanted, bound in zip(("dX", "dW", "db"), found, expected, bounds, strict=True):
                tally.within(f"affine_backward {name}, {what}", actual, wanted, bound)


def _check_forward(tally: _Tally, what: str, X: Array, W: Array, b: Array, expected: Array, bound: Array) -> None:
    memory = np.full(expected.size + 2 * MARGIN, CANARY, X.dtype)
    H = memory[MARGIN : MARGIN + expected.size].reshape(expected.shape)
    functional.affine_forward(X, W, b, out=H)
    tally.within(f"affine_forward, {what}", H, expected, bound)
    if not ((memory[:MARGIN] == CANARY).all() and (memory[MARGIN + expected.size :] == CANARY).all()):
        tally.fail(f"affine_forward, {what}: writes beyond its output")
    rectified = functional.affine_relu_forward(X, W, b)
    tally.within(f"affine_relu_forward, {what}", rectified, reference.relu_forward(expected), bound)


def check_elementwise(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """ReLU both ways, NaN, infinity, -0 and denormals among its numbers, and the SGD update."""
    rng = np.random.default_rng(2)
    lanes = TARGET.vector_bytes // dtype.itemsize
    special = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, np.finfo(dtype).smallest_subnormal], dtype)
    for count in (*range(1, 4 * lanes + 3), functional.LEAST_WORTH_SPLITTING + 13):
        x, dy, W = (rng.normal(size=count).astype(dtype) for _ in range(3))
        at = rng.integers(0, count, min(count, 2 * len(special)))
        x[at] = np.resize(special, len(at))
        what = f"{count} numbers"
        tally.same(f"relu_forward, {what}", functional.relu_forward(x), reference.relu_forward(x).astype(dtype))
        tally.same(f"relu_backward, {what}", functional.relu_backward(dy, x),
                   reference.relu_backward(dy, x).astype(dtype))  # fmt: skip
        for learning_rate, l2 in ((0.1, 0.0), (0.3, 0.01)):
            learning_rate, l2 = float(dtype.type(learning_rate)), float(dtype.type(l2))
            updated = W.copy()
            functional.sgd_update(updated, dy, learning_rate, l2)
            # Two roundings with a fused multiply-add, four without.
            bound = 3 * _eps(dtype) * (np.abs(W) + learning_rate * (np.abs(dy) + l2 * np.abs(W)))
            tally.within(f"sgd_update, {what}", updated, reference.sgd_update(W, dy, learning_rate, l2), bound)


def check_softmax(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """Loss and gradient of the logits; logits of order 1, and so far apart that their exponentials vanish."""
    rng = np.random.default_rng(3)
    lanes = TARGET.vector_bytes // dtype.itemsize
    classes = {1, 2, 3, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 1, 3 * lanes - 1, 100}
    rows = (1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes + 3, 301)
    for count, n, spread in itertools.product(sorted(classes), rows, (1.0, 40.0, 5000.0)):
        z = (spread * rng.normal(size=(n, count))).astype(dtype)
        labels = rng.integers(0, count, n)
        for targets in (labels, _probabilities(rng, n, count).astype(dtype)):
            what = f"softmax_cross_entropy, {n} x {count}, logits of order {spread:g}"
            loss, dlogits = functional.softmax_cross_entropy(z, targets)
            expected_loss, expected = reference.softmax_cross_entropy(z, targets)
            # exp and log are off by 2 ulp, a sum has a term a class, and shifting a logit rounds it once.
            k = (count + 16) * _eps(dtype)
            shift = np.ptp(z.astype(np.float64), axis=1, keepdims=True)
            tally.within(f"{what}: loss", loss, expected_loss, k * (1 + shift.mean()))
            share = reference.softmax(z)
            wanted = np.abs(expected * n - share)
            tiny = float(np.finfo(dtype).smallest_normal)
            tally.within(f"{what}: dlogits", dlogits, expected, k * ((1 + shift) * share + wanted + tiny) / n + tiny)


def _probabilities(rng: np.random.Generator, n: int, classes: int) -> Array:
    """Rows of multiples of 1/64, so that they sum to 1 exactly in either dtype."""
    return rng.multinomial(64, np.full(classes, 1 / classes), n) / 64


# ---- networks ----


class _Case(NamedTuple):
    """A network and what it is asked for."""

    sizes: tuple[int, ...]
    n: int
    activation: str = "relu"
    form: str = "labels"
    l2: float = 0.0
    scaled: bool = False

    def __str__(self) -> str:
        scaled = ", inputs scaled" if self.scaled else ""
        return f"{'-'.join(map(str, self.sizes))} {self.activation}, {self.n} rows, {self.form}, l2 {self.l2}{scaled}"

    @property
    def terms(self) -> int:
        """Of all the sums that an entry of the gradient goes through, with some for the softmax."""
        return self.n + 2 * sum(self.sizes) + 16


class _Drawn(NamedTuple):
    """A case with its numbers, which float32 holds exactly, so that both dtypes get the same."""

    case: _Case
    net: MLP
    X: Array
    y: Array
    left_out: int


def _draw(case: _Case, dtype: np.dtype[Any], seed: int = 0) -> _Drawn:
    rng = np.random.default_rng([seed, len(case.sizes), case.n])
    features = case.sizes[0]
    scaling: dict[str, Any] = {"input_shift": np.arange(features) / 8, "input_scale": 0.5} if case.scaled else {}
    net = MLP(case.sizes, case.activation, dtype=dtype, seed=seed, **scaling)
    parameters = np.concatenate([part.ravel() for pair in _started(case, rng) for part in pair])
    net.parameters = parameters.astype(np.float32)
    candidates = rng.normal(size=(2 * case.n + 20, features)).astype(np.float32).astype(dtype)
    far = np.flatnonzero(_nearest_kink(net, candidates) >= KINK)[: case.n]
    y = rng.integers(0, case.sizes[-1], case.n)
    y = _probabilities(rng, case.n, case.sizes[-1]).astype(dtype) if case.form == "probabilities" else y
    return _Drawn(case, net, np.ascontiguousarray(candidates[far]), y, int(far[-1]) + 1 - case.n)


def _started(case: _Case, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """Weights that keep sums of order 1, and biases that are not 0, so that they can be missed."""
    for fan_in, fan_out in itertools.pairwise(case.sizes):
        yield rng.normal(0.0, fan_in**-0.5, (fan_in, fan_out)), rng.normal(0.0, 0.5, fan_out)


def _nearest_kink(net: MLP, X: Array) -> Array:
    """How near to 0 each row brings a hidden unit, before its ReLU."""
    nearest = np.full(len(X), np.inf)
    if net.activation == "relu":
        h = (X.astype(np.float64) - _or(net.input_shift, 0.0)) * _or(net.input_scale, 1.0)
        for W, b in list(zip(net.weights, net.biases, strict=True))[:-1]:
            h = h @ W.astype(np.float64) + b
            nearest = np.minimum(nearest, np.abs(h).min(axis=1))
            h = np.maximum(h, 0.0)
    return nearest


def _or(value: Array | None, otherwise: float) -> Any:
    return otherwise if value is None else value.astype(np.float64)


def objective(net: MLP, weights: Sequence[Array], biases: Sequence[Array], X: Array, t: Array, l2: float) -> float:
    """The loss as a textbook has it: what is differentiated numerically. `t` are rows of probabilities."""
    h = (X - _or(net.input_shift, 0.0)) * _or(net.input_scale, 1.0)
    for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
        h = h @ W + b
        if net.activation == "relu" and layer < len(weights) - 1:
            h = np.maximum(h, 0.0)
    h = h - h.max(axis=1, keepdims=True)
    losses = np.log(np.exp(h).sum(axis=1)) - (t * h).sum(axis=1)
    return float(losses.mean() + l2 / 2 * sum((W * W).sum() for W in weights))


def _cases(sizes: Iterable[tuple[int, ...]], rows: Iterable[int]) -> Iterator[_Case]:
    for shape, n, activation, form, l2 in itertools.product(
        sizes, rows, ACTIVATIONS, ("labels", "probabilities"), (0.0, 0.02)
    ):
        yield _Case(shape, n, activation, form, l2, scaled=(l2 > 0) == (form == "labels"))


WIDE = ((6, 5), (13, 35, 4), (9, 35, 12, 5), (7, 18, 23), (33, 90, 70, 10))


def check_numeric(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """Gradients of weights, biases and inputs against central differences of `objective`, all in float64; those of
    float32 against the float64 ones of the same numbers."""
    for case in _cases(((3, 4), (4, 9, 3), (3, 8, 5, 4)), (1, 13, 37)):
        _check_numeric(tally, case, dtype)
    for case in _cases(((3, 4), (3, 7, 3), (3, 6, 5, 3)), (300,)):
        if case.scaled:
            _check_numeric(tally, case, dtype)


def _check_numeric(tally: _Tally, case: _Case, dtype: np.dtype[Any]) -> None:
    drawn = _draw(case, dtype)
    net, X = drawn.net, drawn.X
    tally.left_out += drawn.left_out
    g = net.gradient(X, drawn.y, case.l2)
    if dtype == np.float32:
        double = _draw(case, np.dtype(np.float64))
        _compare(tally, drawn, g, double.net.gradient(double.X, double.y, case.l2))
        return
    t = _one_hot(drawn)
    parts = [*net.weights, *net.biases, X]
    layers = len(net.weights)
    loss = objective(net, parts[:layers], parts[layers:-1], X, t, case.l2)
    tally.within(f"{case}: loss", g.loss, loss, case.terms * _eps(dtype) * (1 + loss))
    for number, (name, analytic) in enumerate(_tensors(g)):
        # An entry of dX is a part of one row's loss: of the sum over rows, not of the mean, it is of order 1.
        factor = case.n if name == "inputs" else 1

        def function(value: Array, number: int = number, factor: int = factor) -> float:
            moved = [value if i == number else part for i, part in enumerate(parts)]
            return factor * objective(net, moved[:layers], moved[layers:-1], moved[-1], t, case.l2)

        result = gradcheck(function, factor * analytic, parts[number], rtol=NUMERIC_TOLERANCE)
        tally.numeric(f"{case}: {name}", result)


def _tensors(g: Gradient) -> list[tuple[str, Array]]:
    return [*((f"weights[{i}]", dW) for i, dW in enumerate(g.weights)),
            *((f"biases[{i}]", db) for i, db in enumerate(g.biases)), ("inputs", g.inputs)]  # fmt: skip


def _compare(tally: _Tally, drawn: _Drawn, found: Gradient, wanted: Gradient) -> None:
    """Each tensor relative to its largest entry, with what is lost where ``softmax - t`` cancels: 155-fold at most."""
    case = drawn.case
    k = case.terms * _eps(drawn.net.dtype)
    tally.within(f"{case}: loss", found.loss, wanted.loss, k * (1 + wanted.loss))
    share, t = reference.softmax(_logits(drawn)), _one_hot(drawn)
    k *= (share + t).max() / np.abs(share - t).max()
    for (name, actual), (_, expected) in zip(_tensors(found), _tensors(wanted), strict=True):
        tally.within(f"{case}: {name}", actual, expected, k * np.abs(expected).max())


def _logits(drawn: _Drawn) -> Array:
    net = drawn.net
    scaled = reference.scale_inputs(drawn.X, net.input_shift, net.input_scale)
    return reference.forward(net.weights, net.biases, scaled, net.activation)[-1]


def _one_hot(drawn: _Drawn) -> Array:
    return np.eye(drawn.case.sizes[-1])[drawn.y] if drawn.y.ndim == 1 else drawn.y


def check_gradient(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """`MLP.gradient`, `loss`, `logits` and `predict_proba` against the reference."""
    for case in _cases(WIDE, (1, 13, 37, 300)):
        drawn = _draw(case, dtype)
        net, X, y = drawn.net, drawn.X, drawn.y
        tally.left_out += drawn.left_out
        wanted = Gradient(*reference.gradient(net.weights, net.biases, X, y, case.l2, case.activation,
                                              net.input_shift, net.input_scale))  # fmt: skip
        _compare(tally, drawn, net.gradient(X, y, case.l2), wanted)
        k = case.terms * _eps(dtype)
        tally.within(f"{case}: loss alone", net.loss(X, y, case.l2), wanted.loss, k * (1 + wanted.loss))
        logits = _logits(drawn)
        tally.within(f"{case}: logits", net.logits(X), logits, k * np.abs(logits).max())
        shares = reference.softmax(logits)
        tally.within(f"{case}: predict_proba", net.predict_proba(X), shares, k * np.abs(logits).max())


def check_training(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """Three epochs with a short last minibatch against the reference: parameters, and the loss of each epoch."""
    for case in _cases(((6, 5), (7, 11, 4), (6, 9, 8, 3), (5, 7, 23)), (29,)):
        _, net, X, y, _ = _draw(case, dtype)
        Ws, bs, losses, nearest = _trained_plainly(case, net, X, y)
        if dtype == np.float32 and nearest < TRAINING_KINK:  # rounding may take the other side of the kink
            tally.left_out += 1
            continue
        history = net.fit(X, y, epochs=3, batch_size=8, learning_rate=0.25, l2=case.l2, shuffle=False, progress=False)
        k = 12 * case.terms * _eps(dtype)  # 12 steps
        tally.within(f"{case}: losses", history.loss, losses, k * (1 + np.max(losses)))
        for i, (W, b) in enumerate(zip(Ws, bs, strict=True)):
            tally.within(f"{case}: weights[{i}]", net.weights[i], W, k * np.abs(W).max())
            tally.within(f"{case}: biases[{i}]", net.biases[i], b, k * np.abs(b).max())


def _trained_plainly(case: _Case, net: MLP, X: Array, y: Array) -> tuple[list[Array], list[Array], list[float], float]:
    """The reference's weights, biases and mean loss of each epoch, and how near to a kink it came."""
    Ws, bs = list(net.weights), list(net.biases)
    losses, nearest = [], math.inf
    shadow = MLP(case.sizes, case.activation, dtype="float64", input_shift=net.input_shift, input_scale=net.input_scale)
    for _ in range(3):
        total = 0.0
        for begin in range(0, case.n, 8):
            rows = np.arange(begin, min(begin + 8, case.n))
            shadow.parameters = np.concatenate([part.ravel() for pair in zip(Ws, bs, strict=True) for part in pair])
            nearest = min(nearest, float(_nearest_kink(shadow, X[rows]).min()))
            Ws, bs, seen = reference.train(Ws, bs, X, y, rows, 8, 0.25, case.l2, case.activation, net.input_shift,
                                           net.input_scale)  # fmt: skip
            total += len(rows) * float(seen[0])
        losses.append(total / case.n)
    return Ws, bs, losses, nearest


# ---- the same bits ----


def _results(case: _Case, dtype: np.dtype[Any]) -> Iterator[tuple[str, Array]]:
    """Everything that a network computes, training with a short last minibatch too."""
    _, net, X, y, _ = _draw(case, dtype)
    g = net.gradient(X, y, case.l2)
    yield from _tensors(g)
    yield "gradient's loss", np.array(g.loss)
    yield "loss", np.array(net.loss(X, y, case.l2))
    yield "logits", net.logits(X)
    yield "predict_proba", net.predict_proba(X)
    history = net.fit(X, y, epochs=2, batch_size=max(1, case.n * 2 // 5), learning_rate=0.1, l2=case.l2,
                      progress=False)  # fmt: skip
    yield "parameters after training", net.parameters
    yield "training's losses", np.array(history.loss)


def _functions(shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Iterator[tuple[str, Array]]:
    rng = np.random.default_rng(4)
    n, fan_in, fan_out = shape
    X, W, b, dH = (rng.normal(size=shape).astype(dtype)
                   for shape in ((n, fan_in), (fan_in, fan_out), (fan_out,), (n, fan_out)))  # fmt: skip
    yield "affine_forward", functional.affine_forward(X, W, b)
    yield "affine_relu_forward", functional.affine_relu_forward(X, W, b)
    yield from zip(("dX", "dW", "db"), functional.affine_backward(dH, X, W), strict=True)
    loss, dlogits = functional.softmax_cross_entropy(dH, np.arange(n) % fan_out)
    yield from (("softmax_cross_entropy", np.array(loss)), ("dlogits", dlogits))


def _bit_cases(dtype: np.dtype[Any]) -> list[tuple[str, Callable[[], Iterator[tuple[str, Array]]]]]:
    cases = [_Case((6, 5), 13, l2=0.02), _Case((13, 35, 9, 5), 37, form="probabilities"),
             _Case((9, 40, 35, 23), 300, l2=0.02), _Case((40, 20, 4), 29, "identity", scaled=True)]  # fmt: skip
    shapes = [(1, 30, 50), (5, 70, 3), (37, 50, 67), (300, 33, 40), (15, 1300, 35)]
    return [
        *((str(case), lambda case=case: _results(case, dtype)) for case in cases),
        *((f"affine {shape}", lambda shape=shape: _functions(shape, dtype)) for shape in shapes),
    ]


def _same_under(tally: _Tally, dtype: np.dtype[Any], ways: Iterable[tuple[Tuning, int | None]]) -> None:
    """Each way, a tuning and a limit of threads, against one thread and the schedule's own blocking."""
    cases = _bit_cases(dtype)
    with forced(ALONE), threads.limit(1):
        expected = [[(name, value.copy()) for name, value in results()] for _, results in cases]
    for way, limit in ways:
        for (what, results), wanted in zip(cases, expected, strict=True):
            with forced(way), threads.limit(limit):
                for (name, actual), (_, value) in zip(results(), wanted, strict=True):
                    tally.same(f"{name}, {what}, {_told(way)}, threads: {limit or 'all'}", actual, value)


def check_blockings(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """Other stretches of k and of columns, other ways to read the operands."""
    _same_under(tally, dtype, ((way, None) for way in BLOCKINGS))


def check_threads(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """Parallel against serial, each way of splitting work, one thread against several; thrice, for races."""
    limits = (1, 2, 3, None) if threads.count() > 2 else (1, None)
    ways = [(way, limit) for way in SPLITS for limit in limits]
    _same_under(tally, dtype, ways + 2 * [way for way in ways if way[1] != 1])


def check_rows(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """Rows alone and in batches of every size up to two tiles."""
    for sizes, activation in itertools.product(WIDE, ACTIVATIONS):
        case = _Case(sizes, 64, activation)  # a power of two: the mean over rows is an exact division
        _, net, X, y, _ = _draw(case, dtype)
        logits, probabilities, dX = net.logits(X), net.predict_proba(X), net.gradient(X, y).inputs
        for count in range(1, 2 * tile.MAIN.rows + 2):
            tally.same(f"{case}: logits of {count} rows", net.logits(X[:count]), logits[:count])
            tally.same(f"{case}: predict_proba of {count} rows", net.predict_proba(X[-count:]), probabilities[-count:])
        for i in range(case.n):
            row, what = slice(i, i + 1), f"{case}: row {i} alone"
            tally.same(f"{what}, logits", net.logits(X[row]), logits[row])
            tally.same(f"{what}, inputs", net.gradient(X[row], y[row]).inputs / dtype.type(case.n), dX[row])


def check_fused(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """A step of `fit` against `gradient` and `sgd_update`."""
    ways = itertools.cycle((Tuning(), *BLOCKINGS, *SPLITS))
    for case in _cases(WIDE, (1, 13, 37, 300)):
        _, net, X, y, _ = _draw(case, dtype)
        g = net.gradient(X, y)
        expected = [array.copy() for array in (*net.weights, *net.biases)]
        for i, (array, slope) in enumerate(zip(expected, (*g.weights, *g.biases), strict=True)):
            functional.sgd_update(array, slope, 0.1, case.l2 if i < len(g.weights) else 0.0)
        start = net.parameters.copy()
        for way in itertools.islice(ways, 3):  # the next three of them for each case
            net.parameters = start
            with forced(way):
                net.fit(X, y, epochs=1, batch_size=case.n, learning_rate=0.1, l2=case.l2, shuffle=False, progress=False)
            for actual, value in zip((*net.weights, *net.biases), expected, strict=True):
                tally.same(f"{case}, {_told(way)}", actual, value)


def check_one_hot(tally: _Tally, dtype: np.dtype[Any]) -> None:
    """Class indices against one-hot rows of probabilities."""
    for sizes, n in itertools.product(WIDE, (1, 13, 37)):
        case = _Case(sizes, n, l2=0.02)
        _, net, X, y, _ = _draw(case, dtype)
        twin, rows = _draw(case, dtype).net, np.eye(sizes[-1], dtype=dtype)[y]
        ours, theirs = _tensors(net.gradient(X, y)), _tensors(twin.gradient(X, rows))
        for (name, own), (_, other) in zip(ours, theirs, strict=True):
            tally.same(f"{case}: {name}", other, own)
        for either, targets in ((net, y), (twin, rows)):
            either.fit(X, targets, epochs=2, batch_size=5, learning_rate=0.1, l2=0.02, shuffle=False, progress=False)
        tally.same(f"{case}: parameters after training", twin.parameters, net.parameters)


CHECKS: dict[str, Callable[[_Tally, np.dtype[Any]], None]] = {
    "affine layers": check_affine,
    "ReLU and SGD update": check_elementwise,
    "softmax with loss": check_softmax,
    "numeric gradients": check_numeric,
    "reference gradients": check_gradient,
    "reference training": check_training,
    "fused update": check_fused,
    "one-hot targets": check_one_hot,
    "rows alone": check_rows,
    "blockings": check_blockings,
    "threads and splits": check_threads,
}

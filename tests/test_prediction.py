"""Passes that are kept: the same bits and errors as those of any X, whatever happens between two calls."""

from __future__ import annotations

import copy
import gc
import itertools
import os
import pickle
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, prediction
from fastbp.inputs.in_memory import rows_of
from fastbp.kernels import coefficients as co
from fastbp.program.memory import workspace
from fastbp.program.passes import forward
from fastbp.program.run import Operands
from fastbp.program.run import bound as bound_program
from fastbp.program.tuning import Tuning, forced, tuning
from support.comparisons import assert_same_bits

SIZES = (6, 9, 4)
MANY = prediction.COPIED_BYTES // (SIZES[0] * 4) + 1  # rows that are read where they lie
SCALINGS: list[dict[str, Any]] = [
    {},
    {"input_scale": 0.1},
    {"input_shift": 3.0},
    {"input_shift": 2.5, "input_scale": 0.3},
]
LAYOUTS = {
    "in place": lambda X: X, "Fortran order": np.asfortranarray, "backwards": lambda X: X[::-1].copy()[::-1],
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "read-only": lambda X: np.frombuffer(X.tobytes(), X.dtype).reshape(X.shape),
    "unaligned": lambda X: np.frombuffer(b"1" + X.tobytes(), X.dtype, offset=1).reshape(X.shape),
}  # fmt: skip


def rows(n: int = 3, features: int = SIZES[0], dtype: Any = np.float32, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).random((n, features)) * 9 - 3).astype(dtype)


def unbound(net: MLP, X: Any, answered: bool = False) -> Any:
    """What a network returns where nothing is kept."""
    return prediction.in_blocks(net.model, rows_of(net.model, "X", X), answered, 1)


def passes(net: MLP) -> list[Any]:
    return [each for free in net.model.bound_passes.values() for each in free]


def bound(X: Any, **settings: Any) -> MLP:
    """A network that has a pass for rows like X."""
    net = MLP(SIZES, seed=0, **settings)
    for _ in range(2):  # it comes once, and again
        net.logits(X)
    assert len(passes(net)) == 1
    return net


def changed(X: Any, value: float) -> Any:
    X = X.copy()
    X[-1, 2] = value
    return X


# ---- the same as for any X ----


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_of_all_dtypes_and_layouts(dtype: str, scaling: dict[str, float]) -> None:
    for kind in ("f4", "f8", ">f4", ">f8", "f2", "u1", "i1", "i8", "u8", "?", "g"):
        net = MLP(SIZES, seed=0, dtype=dtype, **scaling)
        for n in (1, 3, MANY):
            for layout in LAYOUTS.values():
                X = layout(rows(n, dtype="i8" if kind == "?" else "f8").astype(kind))
                for _ in range(3):
                    assert_same_bits(net.logits(X), unbound(net, X))
                    assert_same_bits(net.predict_proba(X), unbound(net, X, answered=True))
                    np.testing.assert_array_equal(net.predict(X), unbound(net, X).argmax(1))
        assert bool(passes(net)) == (kind not in ("f2", "g")), kind


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson_deviance", "half_squared_error"])
def test_the_bits_of_other_losses(loss: str) -> None:
    net = MLP((6, 9, 1), "gelu", loss, seed=0)
    X = rows(5)
    expected = unbound(net, X), unbound(net, X, answered=True)
    for _ in range(3):
        assert_same_bits(net.logits(X), expected[0])
        assert_same_bits(net.outputs(X), expected[1])
        predicted = expected[0] > 0 if net.model.loss.classifies else expected[1]
        np.testing.assert_array_equal(net.predict(X), predicted[:, 0])
    assert len(passes(net)) == 2


def test_lists_are_read_as_arrays_are() -> None:
    X = rows(2, dtype=float)
    net = bound(X)
    for value in (X.tolist(), list(X), [tuple(row) for row in X]):
        assert_same_bits(net.logits(value), unbound(net, X))
    assert len(net.model.bound_passes) == 1
    whole = X.astype(int).tolist()
    for _ in range(3):
        assert_same_bits(net.logits(whole), unbound(net, X.astype(int)))


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("count", [3, MANY])
def test_nan_and_infinity_are_refused_by_row_and_without_a_warning(
    count: int, kind: str, scaling: dict[str, float]
) -> None:
    X = rows(count, dtype=kind)
    net = bound(X, **scaling)
    for value in (np.nan, np.inf, -np.inf, *([1e300] if kind == "float64" else [])):
        with pytest.raises(ValueError, match=rf"^X: got NaN or infinity in row {count - 1}, expected"):
            net.logits(changed(X, value))
    large = changed(X, 1e30)  # its square is infinite in float32
    assert_same_bits(net.logits(large), unbound(net, large))
    assert_same_bits(net.logits(X), unbound(net, X))


def test_what_only_looks_alike_is_refused_as_ever() -> None:
    X = rows()
    net = bound(X)
    refused: list[tuple[Any, str]] = [
        (X.astype(complex), "dtype complex128"), (X.astype(object), "dtype object"), (X.astype("U8"), "dtype <U8"),
        (X.view([("a", "f4")]), r"dtype \[\('a'"), (X.astype("M8[s]"), "dtype datetime64"),
        (np.ma.array(X), "masked"), (X.T, "shape"), (X[:, :5], "shape"), (X[0], "shape"), (X[None], "shape"),
        (X[:0], "no rows"), (X[:, :0], "shape"), ([[1.0], [1.0, 2.0]], "list that is not rectangular"),
        ([], "shape"), ([["a"] * 6], "dtype <U1"),
    ]  # fmt: skip
    for value, message in refused:
        with pytest.raises((ValueError, TypeError), match=rf"^X: got .*{message}") as refusal:
            net.logits(value)
        assert not isinstance(refusal.value.__context__, LookupError)
    assert len(passes(net)) == 1


def test_subclasses_of_arrays_and_sparse_rows_go_the_long_way() -> None:
    class Subclass(np.ndarray[Any, Any]):
        pass

    X = rows()
    net = bound(X)
    assert type(net.logits(X.view(Subclass))) is np.ndarray
    assert_same_bits(net.logits(X.view(Subclass)), unbound(net, X))


# ---- what belongs to whom ----


def test_results_belong_to_the_caller() -> None:
    X, other = rows(), rows(seed=1)
    net = bound(X)
    first = net.logits(X)
    assert first.flags.owndata and first.flags.writeable and first.flags.c_contiguous
    kept = first.copy()
    second = net.logits(other)
    assert_same_bits(first, kept)
    second[...] = 7
    assert_same_bits(net.logits(X), kept)
    np.testing.assert_array_equal(X, rows())


def test_threads_have_memory_of_their_own() -> None:
    X = [rows(4, seed=seed) for seed in range(4)]
    net = bound(X[0])
    expected = [unbound(net, each) for each in X]
    wrong: list[int] = []

    def predict(number: int) -> None:
        for _ in range(300):
            if not np.array_equal(net.logits(X[number]), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 1 <= len(passes(net)) <= len(threads)


def test_a_call_within_a_call_has_memory_of_its_own() -> None:
    """As from a signal's handler, or from another thread while a pass runs without the GIL."""
    X = rows()
    net = bound(X)
    [free] = net.model.bound_passes.values()
    first = free.pop()
    for _ in range(2):
        assert_same_bits(net.logits(X), unbound(net, X))
    [second] = passes(net)
    assert second is not first
    free.append(first)
    assert_same_bits(first(X), unbound(net, X))


def test_a_bound_program_shares_its_workspace_with_nobody() -> None:
    X, model = rows(20), MLP(SIZES, seed=0).model
    program = forward(model.network, 20, model.dtype, 1, False, Tuning())
    answers = [np.empty(20 * SIZES[-1], np.float32) for _ in range(2)]
    spaces = [workspace(model.dtype, 1, program.workspace).memory]
    for answer in answers:
        activations = np.empty(program.activations, np.float32)
        call: Any = bound_program(program, Operands(X.reshape(-1), model.parameters, activations, answer)).carry_out
        call()
        spaces.append(call.memory[1].memory)
    assert_same_bits(*answers)
    assert not any(np.shares_memory(one, other) for one, other in itertools.combinations(spaces, 2))


def test_a_pass_keeps_its_program_when_others_have_taken_its_place() -> None:
    X = rows()
    net = bound(X)
    expected = net.logits(X)
    model = net.model
    program = weakref.ref(forward(model.network, len(X), model.dtype, 1, False, tuning()))
    forward.cache_clear()  # as after 256 programs of others: the pass must not read the table of one that is gone
    gc.collect()
    assert program() is not None
    assert_same_bits(net.logits(X), expected)


def test_a_pass_that_is_interrupted_is_dropped() -> None:
    X = rows()
    net = bound(X)
    [free] = net.model.bound_passes.values()

    def interrupted(X: Any) -> Any:
        raise KeyboardInterrupt

    free[:] = [interrupted]
    with pytest.raises(KeyboardInterrupt):
        net.logits(X)
    assert not passes(net)
    assert_same_bits(net.logits(X), unbound(net, X))


# ---- what changes between two calls ----


def test_parameters_are_read_where_they_lie() -> None:
    X = rows(20)
    net = bound(X)
    net.parameters = np.linspace(-1, 1, net.parameters.size)
    net.weights[0][0, 0] = 5
    assert_same_bits(net.logits(X), unbound(net, X))
    before = net.logits(X)
    net.fit(X, np.arange(20) % 4, epochs=2, progress=False)
    assert not np.array_equal(net.logits(X), before)
    assert_same_bits(net.logits(X), unbound(net, X))


REPLACED: list[tuple[str, dict[str, Any], Any]] = [
    ("parameters", {}, lambda model: model.parameters[::-1].copy()),
    ("input_shift", {}, lambda model: np.full(6, 2, np.float32)),
    ("input_shift", {"input_shift": 1.0}, lambda model: None),
    ("input_scale", {"input_shift": 1.0}, lambda model: np.arange(6, dtype=np.float32)),
    ("coefficients", {"activation": "leaky_relu"}, lambda model: co.row(model.dtype, leaky_slope=0.5)),
    ("network", {}, lambda model: MLP(SIZES, "tanh").model.network),
]


@pytest.mark.parametrize(("name", "settings", "value"), REPLACED)
def test_what_is_assigned_to_a_model_counts_at_once(name: str, settings: dict[str, Any], value: Any) -> None:
    X = rows()
    net = bound(X, **settings)
    before = net.logits(X)
    setattr(net.model, name, value(net.model))
    assert not passes(net)
    for _ in range(3):
        assert not np.array_equal(net.logits(X), before)
        assert_same_bits(net.logits(X), unbound(net, X))
    assert len(passes(net)) == 1


def test_a_larger_call_between_leaves_the_memory_of_a_pass_alone() -> None:
    X = rows()
    net = bound(X)
    expected = net.logits(X)
    for n in (65, 5000):
        net.logits(rows(n))
        MLP((200, 300, 100), seed=0).logits(rows(n, 200))
        assert_same_bits(net.logits(X), expected)


def test_forced_choices_and_limits_of_threads() -> None:
    X = rows()
    net = bound(X)
    expected = net.logits(X)
    choices = [Tuning(), Tuning(kc=2), Tuning(parallel=True), Tuning(parallel=True, row_parts=2)]
    for choice in choices:
        with forced(choice):
            for number in (1, 2, None):
                with fastbp.threads.limit(number):
                    for _ in range(3):
                        assert_same_bits(net.logits(X), expected)
    kept = {like[-2:] for like, free in net.model.bound_passes.items() if free}
    assert {(1, choice) for choice in choices} <= kept, "a choice has a pass of its own"
    if fastbp.threads.count() > 1:
        assert {(2, choice) for choice in choices[2:]} <= kept, "and a number of threads"


def test_passes_of_a_team() -> None:
    """With X where it lies or copied, by several threads of the caller's, of which one at a time has the team."""
    several = fastbp.threads.count()
    X = [rows(count, seed=count) for count in (8, MANY, 2 * MANY)]
    net = MLP(SIZES, seed=0)
    expected = [unbound(net, each, answered=True) for each in X]
    wrong: list[int] = []

    def predict(number: int) -> None:
        with forced(Tuning(parallel=True, row_parts=2)):
            for _ in range(200):
                if not np.array_equal(net.predict_proba(X[number]), expected[number]):
                    wrong.append(number)

    predict(1)
    [(_, _, _, threads, _)] = net.model.bound_passes
    assert threads == several
    callers = [threading.Thread(target=predict, args=(number % len(X),)) for number in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
    assert {like[0][0] for like in net.model.bound_passes} == {len(each) for each in X}


def test_a_pass_keeps_no_rows() -> None:
    X = rows(MANY)
    net = bound(X)
    gone = weakref.ref(X)
    net.logits(X)
    del X
    gc.collect()
    assert gone() is None
    assert passes(net)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_the_same_bits() -> None:
    X = rows()
    net = bound(X)
    expected = net.logits(X)
    [free] = net.model.bound_passes.values()
    for taken in (False, True):  # by another thread, which the child does not have
        mine = free.pop() if taken else None
        pid = os.fork()
        if pid == 0:
            same = False
            try:
                same = all(np.array_equal(net.logits(X), expected) for _ in range(3))
            finally:
                os._exit(3 if same else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        if mine is not None:
            free.append(mine)
    assert_same_bits(net.logits(X), expected)


def test_copies_and_pickles_carry_no_pass_along() -> None:
    X = rows()
    net = bound(X)
    fresh = len(pickle.dumps(MLP.of(copy.copy(net.model))))
    assert len(pickle.dumps(net)) == fresh
    for other in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.model.bound_passes == {}
        for _ in range(3):
            assert_same_bits(other.logits(X), net.logits(X))
        assert not {id(each) for each in passes(other)} & {id(each) for each in passes(net)}
    shared = copy.copy(net)
    shared.model.input_scale = np.full(6, 0.5, np.float32)
    assert len(passes(net)) == 1
    assert not np.array_equal(shared.logits(X), net.logits(X))


# ---- how much is kept ----


def test_few_passes_are_kept_and_none_of_much_memory() -> None:
    net = MLP(SIZES, seed=0)
    for n in range(1, 200):
        for _ in range(3):
            net.logits(rows(n))
        assert len(net.model.bound_passes) <= prediction.BOUND_SHAPES
        assert len(passes(net)) <= prediction.BOUND_SHAPES
    for features, count in ((700, 800), (700, 500), (6, 80_000)):  # much X, and twice many activations
        large = MLP((features, 600, 5), seed=0)
        for _ in range(3):
            large.logits(rows(count, features))
        assert not passes(large)


def test_a_shape_that_comes_once_is_not_kept() -> None:
    net = MLP(SIZES, seed=0)
    for n in range(1, 10):
        net.logits(rows(n))
    assert not passes(net)

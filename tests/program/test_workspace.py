"""No program writes beyond the workspace that it asks for: canaries behind each thread's, whatever the blocking."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.kernels import operations as op
from fastbp.kernels.shapes import BY_ROWS, IN_PLACE, MR, PACKED
from fastbp.program import memory, run
from fastbp.program.memory import Workspace
from fastbp.program.tuning import Tuning, forced
from fastbp.verify.bits import BLOCKINGS
from fastbp.verify.cases import described
from support.memory import CANARY

DTYPES = ("float32", "float64")
SIZES = [(2, 50, 4), (4, 16, 3), (64, 100, 10), (37, 1000, 5), (300, 17, 9, 23), (5, 700, 3), (2100, 33, 7)]
BATCHES = [1, 2, 3, 5, 7, 33, 64, 150, 600]
BEHIND = 4096  # bytes of canaries
TUNINGS = [
    *BLOCKINGS,
    Tuning(mc=1, kc=1, nc=1, access=PACKED, a_in_place=False),
    Tuning(mc=3 * MR, kc=17, nc=40, packed_columns=1, access=PACKED, a_in_place=False),
    Tuning(mc=5 * MR, kc=8, packed_columns=1, access=IN_PLACE, a_in_place=True),
    Tuning(kc=3, nc=1, access=IN_PLACE, a_in_place=False),
    Tuning(kc=4000, access=PACKED, a_in_place=False),  # one stretch, longer than any depth
    Tuning(kc=50, nc=64, access=BY_ROWS),
    Tuning(kc=50, row_parts=2, column_parts=2, parallel=True),
    Tuning(slabs=True, row_parts=3, parallel=True),
]
SHAPES = list(itertools.product((1, 2, 3, 4, MR + 1, 50), (1, 9, 1200), (1, 40, 2000)))  # n, fan_in, fan_out

Guarded = Callable[[str], int]


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Guarded:
    """Return a function that checks all workspaces since its last call, and returns how many there were."""
    made: list[tuple[Any, Workspace]] = []

    def new_workspace(dtype: np.dtype[Any], threads: int, size: int) -> Workspace:
        stride = op.OPERAND_BYTES + memory.round_up(size, dtype) * dtype.itemsize + BEHIND
        words = memory.aligned(threads * stride // dtype.itemsize, f"u{dtype.itemsize}").reshape(threads, -1)
        words[...] = CANARY[dtype.itemsize == 8]
        space = Workspace(memory.address(words), stride, threads, size, words.view(dtype))
        made.append((words[:, -BEHIND // dtype.itemsize :], space))
        return space

    def check(what: str) -> int:
        count = len(made)
        for words, space in made:
            touched = np.argwhere(words != CANARY[words.itemsize == 8])
            assert not len(touched), f"{what}: thread, element beyond {space.size}: {touched[:5].tolist()}"
        made.clear()
        return count

    monkeypatch.setattr(run, "workspace", new_workspace)
    monkeypatch.setattr(run, "new_workspace", new_workspace)
    return check


def check_network(guarded: Guarded, sizes: tuple[int, ...], batch: int, dtype: str) -> None:
    rng = np.random.default_rng(batch)
    X, y = rng.normal(size=(batch + batch // 2, sizes[0])).astype(dtype), rng.integers(0, sizes[-1], batch + batch // 2)
    net = MLP(sizes, seed=0, dtype=dtype)
    calls: dict[str, Callable[[], Any]] = {
        "predict": lambda: [net.predict(X[:batch]) for _ in range(3)],  # the second binds a pass, the third uses it
        "gradient": lambda: net.gradient(X[:batch], y[:batch]).loss,
        **{
            optimizer: lambda optimizer=optimizer: net.fit(X, y, 1, batch, 1e-3, optimizer=optimizer, progress=False)
            for optimizer in ("sgd", "adam")
        },
    }
    for name, call in calls.items():
        call()
        assert guarded(f"{name} of {sizes}, {batch} rows, {dtype}") > 0
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_nothing_is_written_beyond_the_workspace(sizes: tuple[int, ...], dtype: str, guarded: Guarded) -> None:
    with fastbp.threads.limit(1):
        for batch in BATCHES:
            check_network(guarded, sizes, batch, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tuning", TUNINGS, ids=described)
def test_nothing_is_written_beyond_it_under_forced_choices(tuning: Tuning, dtype: str, guarded: Guarded) -> None:
    with forced(tuning), fastbp.threads.limit(2 if tuning.parallel else 1):
        networks = [(4, 16, 3), (37, 100, 5), (70, 17, 9, 23), (5, 200, 33)]
        for sizes, batch in itertools.product(networks, (1, 7, 33, 80)):
            check_network(guarded, sizes, batch, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tuning", [Tuning(), *TUNINGS[-8:]], ids=described)
def test_functions_on_arrays_write_nothing_beyond_it(tuning: Tuning, dtype: str, guarded: Guarded) -> None:
    """They ask for no more than a product needs, where a network's loss needs some, too."""
    with forced(tuning), fastbp.threads.limit(2 if tuning.parallel else 1):
        for n, fan_in, fan_out in SHAPES:
            X, W, b = np.ones((n, fan_in), dtype), np.ones((fan_in, fan_out), dtype), np.ones(fan_out, dtype)
            fastbp.affine_relu_forward(X, W, b)
            assert guarded(f"affine_relu_forward of {X.shape} x {W.shape}, {dtype}") == 1
            fastbp.affine_backward(np.ones((n, fan_out), dtype), X, W)
            assert guarded(f"affine_backward of {X.shape} x {W.shape}, {dtype}") == 1

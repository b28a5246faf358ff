"""Steps and predictions compiled for one network: the bits of the general pass, whenever they take over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastbp
from fastbp import MLP, hardware
from fastbp.kernels import background, objects
from fastbp.kernels import operations as op
from fastbp.kernels.losses import LOSSES
from fastbp.kernels.narrow.forms import NarrowStep
from fastbp.learning_rates import Cosine
from fastbp.program import narrow
from fastbp.program.network import StepForm
from fastbp.program.table import Program
from fastbp.program.tuning import Tuning, forced
from fastbp.training import loop, tiers

GENERAL, SPECIALISED = Tuning(), Tuning(specialised=True)
SHARED = Tuning(specialised=True, parallel=True)  # by several threads, where a minibatch has two blocks of rows
SOFTMAX = "softmax_cross_entropy"


class Case(NamedTuple):
    """A network and the settings of a fit."""

    sizes: tuple[int, ...]
    activation: str | tuple[str, ...] = "relu"
    loss: str = SOFTMAX
    dtype: str = "float32"
    probabilities: bool = False
    weighted: bool = False
    rows: int = 103
    options: dict[str, Any] = {}

    def network(self) -> MLP:
        return MLP(self.sizes, self.activation, self.loss, self.dtype, seed=3)

    def data(self) -> tuple[Any, Any, Any]:
        rng = np.random.default_rng(5)
        X, outputs = rng.normal(size=(self.rows, self.sizes[0])).astype(self.dtype), self.sizes[-1]
        targets = LOSSES[self.loss].targets
        if targets == "classes":
            y: Any = rng.integers(0, outputs, self.rows)
            if self.probabilities:
                y = rng.dirichlet(np.ones(outputs), self.rows)
                y[::3] = np.eye(outputs)[0]
        else:
            y = {"shares": rng.random, "numbers": rng.standard_normal, "counts": lambda size: rng.poisson(2, size)}[
                targets
            ]((self.rows, outputs))
        return X, y, rng.random(self.rows) if self.weighted else None

    def fit(self, **more: Any) -> tuple[bytes, list[float], bytes]:
        """Parameters, losses and outputs after some epochs."""
        net, (X, y, weights) = self.network(), self.data()
        settings: dict[str, Any] = {"epochs": 3, "batch_size": 20, "progress": False, **self.options, **more}
        history = net.fit(X, y, sample_weight=weights, **settings)
        return net.parameters.tobytes(), history.loss, net.outputs(X).tobytes()


FEW = (
    Case((2, 50, 4), options={"l2": 0.01}),
    Case((5, 18, 7, 12), ("gelu", "identity"), dtype="float64", probabilities=True, weighted=True,
         options={"optimizer": "adam", "dropout": 0.3, "l2": 0.01, "max_grad_norm": 0.5}),
    # 16 parameters: the optimizer's state begins where the gradient ends.
    Case((3, 3, 1), "tanh", "mean_squared_error", options={"optimizer": "adamw", "l2": 0.01, "batch_size": 70}),
)  # fmt: skip
MANY = (
    Case((4, 16, 3), "tanh", dtype="float64", options={"batch_size": 3, "optimizer": "adamw", "l2": 0.1}),
    Case((64, 16, 10), options={"batch_size": 64, "shuffle": False, "learning_rate": Cosine(0.1, warmup=0.3)}),
    Case((16, 32, 32, 1), "silu", "mean_squared_error", options={"optimizer": "nesterov", "batch_size": 64}),
    Case((9, 35, 23), "selu", probabilities=True, options={"optimizer": "lion", "dropout": 0.5}),
    Case((7, 100, 3), "leaky_relu", "huber", weighted=True, options={"max_grad_norm": 0.1}),
    Case((7, 10, 9, 8, 7, 5), ("mish", "elu", "logistic", "relu"), "quantile", "float64", weighted=True),
    Case((3, 8, 2), "relu", "binary_cross_entropy", options={"batch_size": 1, "l2": 0.1}),
    Case((1, 1, 1), "logistic", "poisson_deviance", options={"batch_size": 1000}),
    Case((128, 128, 128), "relu", options={"batch_size": 103, "optimizer": "momentum"}),
    Case((3, 5, 1), "tanh", "half_poisson_deviance_sum", options={"l2": 0.01, "max_grad_norm": 0.01}),
    Case((3, 5, 2), "tanh", "mean_absolute_error", dtype="float64"),
)


def compiled_parts(sizes: tuple[int, ...]) -> set[str]:
    functions = [function for function in objects._addresses if getattr(function, "sizes", ()) == sizes]
    return {function.part if isinstance(function, NarrowStep) else "predictions" for function in functions}


def same_in_all_tiers(case: Case) -> None:
    with forced(GENERAL):
        expected = case.fit()
    for tier in (SPECIALISED, SHARED):
        with forced(tier):
            actual = case.fit()
        for name, one, other in zip(("parameters", "losses", "outputs"), actual, expected, strict=True):
            assert one == other, f"{name} of {case}"
    assert {"whole", "predictions"} <= compiled_parts(case.sizes)  # else this compares nothing


@pytest.mark.parametrize("case", FEW, ids=str)
def test_all_tiers_give_the_same_bits(case: Case) -> None:
    same_in_all_tiers(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", MANY, ids=str)
def test_all_tiers_give_the_same_bits_in_every_combination(case: Case) -> None:
    same_in_all_tiers(case)


@pytest.fixture
def anew() -> Iterator[None]:
    """Programs are made anew in the test, and after it."""
    narrow.training_step.cache_clear()
    yield
    narrow.training_step.cache_clear()


@pytest.mark.skipif(hardware.processors() == 1, reason="a single processor has nobody to share with")
@pytest.mark.parametrize("cache", [1, 2**30])
def test_threads_share_a_step_of_many_blocks(monkeypatch: pytest.MonkeyPatch, cache: int, anew: None) -> None:
    case = Case((3, 3, 1), "tanh", "mean_squared_error", rows=500, options={"optimizer": "adamw", "batch_size": 400})
    phases, plain = [], narrow._by_several

    def shared(*given: Any) -> Program:
        program = plain(*given)
        phases.append(len(program.phases) - 1)
        return program

    with forced(GENERAL):
        expected = case.fit()
    monkeypatch.setattr(narrow, "_by_several", shared)
    monkeypatch.setattr(narrow, "caches", lambda: hardware.Caches(cache, cache))
    with forced(SHARED), fastbp.threads.limit(2):  # more would have a block each, and need no second stretch
        assert case.fit() == expected
    assert compiled_parts(case.sizes) >= {"rows", "sums"}
    assert (max(phases) > 2) == (cache == 1)


@pytest.mark.parametrize("threads", [1, None])
def test_a_fit_may_change_its_tier_between_any_two_calls(monkeypatch: pytest.MonkeyPatch, threads: int | None) -> None:
    case, rng, seen = FEW[2], np.random.default_rng(0), set()
    with forced(GENERAL):
        expected = case.fit(epochs=20)

    def program(self: tiers.Tiers, rows: int, form: StepForm) -> Any:
        self._tier = int(rng.integers(3))
        seen.add(self._tier)
        return plain(self, rows, form)

    plain = tiers.Tiers.program
    monkeypatch.setattr(tiers.Tiers, "program", program)
    monkeypatch.setattr(loop, "CONTROL_SECONDS", 0.0)  # a call for each step
    with forced(SHARED), fastbp.threads.limit(threads):
        assert case.fit(epochs=20) == expected
    assert seen == set(tiers.TIERS)


@pytest.mark.parametrize(("first", "then"), [(GENERAL, SPECIALISED), (SPECIALISED, GENERAL)], ids=["to", "from"])
def test_a_checkpoint_is_resumed_in_the_other_tier(first: Tuning, then: Tuning, tmp_path: Path) -> None:
    case = FEW[1]
    with forced(GENERAL):
        expected = case.fit(epochs=4)

    def interrupt(net: MLP, history: Any) -> None:
        if len(history.loss) == 2:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"epochs": 4, "checkpoint": tmp_path / "run", "checkpoint_seconds": 0}
    with forced(first), pytest.raises(KeyboardInterrupt):
        case.fit(callbacks=[interrupt], **options)
    with forced(then):
        assert case.fit(callbacks=[lambda net, history: None], **options) == expected


def test_networks_side_by_side_share_a_step() -> None:
    case = FEW[0]
    X, y, _ = case.data()

    def trained() -> list[bytes]:
        nets = [MLP(case.sizes, seed=seed) for seed in range(4)]
        fastbp.fit_many(nets, X, y, epochs=3, batch_size=20, l2=0.01, progress=False)
        return [net.parameters.tobytes() for net in nets]

    with forced(GENERAL):
        expected = trained()
    with forced(SPECIALISED):
        assert trained() == expected


# ---- when it takes over ----


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked for in the background, which never comes."""
    found: list[Any] = []
    monkeypatch.setattr(background, "ask", found.append)
    monkeypatch.setattr(background, "address", lambda function: None)
    monkeypatch.setattr(objects, "in_memory", lambda function: None)
    monkeypatch.setattr(narrow, "_spent", {})
    return found


def test_a_short_fit_asks_for_nothing(asked: list[Any]) -> None:
    FEW[0].fit()
    assert not asked


def test_a_long_fit_asks_for_its_step(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow, "COMPILING_SECONDS", 0.05)
    FEW[0].fit(epochs=3000)
    assert {step.sizes for step in asked} == {(2, 50, 4)}


def test_time_of_earlier_fits_counts(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    step = narrow.step_of(FEW[0].network().model.network, 20, np.dtype("float32"), StepForm("labels"))
    assert step is not None
    assert not narrow.ready(step, 2.0)
    assert not asked
    narrow.spend(step, 2.0)
    assert not narrow.ready(step, 2.0)
    assert asked == [step]


def not_compiled(sizes: tuple[int, ...]) -> bool:
    return narrow.step_of(MLP(sizes).model.network, 20, np.dtype("float32"), StepForm("labels")) is None


def test_wide_and_deep_networks_stay_on_the_general_pass() -> None:
    assert not_compiled((2, 129, 4))
    assert not_compiled((2, 4))
    assert not_compiled((2, *(5,) * 5, 4))
    assert not not_compiled((2, *(5,) * 4, 4))


@pytest.mark.parametrize("value", ["0", "off", "False"])
def test_the_switch_turns_it_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FASTBP_SPECIALISE", value)
    assert not_compiled((2, 50, 4))
    assert narrow.forward_of(MLP((2, 50, 4)).model.network, 100, np.dtype("float32"), True) is None


def test_the_clock_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow, "ready", lambda step, seconds: True)
    monkeypatch.setattr(narrow, "LEAST_SHARED", 0)
    network, dtype, form = FEW[0].network().model.network, np.dtype("float32"), StepForm("labels", fetched=True)

    def taken(batch: int, *seconds: float) -> list[int]:
        tiers._times_of.cache_clear()
        found = []
        for _ in range(2):  # fits
            choice = tiers.Tiers(network, batch, dtype, 2, form)
            for _ in range(5):
                choice.choose(1000, 1e-6)
                codes = choice.program(batch, form).table[:, op.CODE]
                tier = 1 if op.STEP in codes else 2 if op.STEP_SUMS in codes else 0
                choice.took(seconds[tier], batch)
                found.append(tier)
        return found

    assert taken(20, 1.0, 0.5) == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    assert taken(20, 1.0, 2.0) == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    assert taken(200, 1.0, 0.5, 0.4) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert taken(200, 1.0, 0.5, 0.6) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 1]
    assert taken(200, 1.0, 1.5, 1.2) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]


# ---- predictions ----


@pytest.mark.parametrize("case", FEW, ids=str)
def test_predictions_of_any_number_of_rows(case: Case) -> None:
    net, rng = case.network(), np.random.default_rng(1)
    for rows in (1, 2, 7, 8, 9, 31, 33, 64, 500, 20_000):
        X = rng.normal(size=(rows, case.sizes[0])).astype(case.dtype)
        with forced(GENERAL):
            expected = net.outputs(X).tobytes()
        with forced(SPECIALISED):
            for _ in range(3):  # then its pass is bound
                assert net.outputs(X).tobytes() == expected, rows


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_refuse_what_is_not_finite(bad: float) -> None:
    net, X = FEW[0].network(), np.ones((70, 2), "float32")
    X[69, 1] = bad
    with forced(SPECIALISED):
        for _ in range(3):
            with pytest.raises(ValueError, match="row 69"):
                net.outputs(X)


def test_a_network_that_is_warmed_up_predicts_by_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Any] = []
    forward: Callable[..., Any] = narrow.forward
    monkeypatch.setattr(narrow, "forward", lambda *given: used.append(given) or forward(*given))
    net, X = MLP((3, 6, 2), seed=0), np.ones((40, 3), "float32")
    net.outputs(X)
    parts = fastbp.warmup(net, optimizers=["sgd", "adam"])
    assert {"step sgd", "step adaptive", "predictions"} <= set(parts)
    net.outputs(X)
    assert used


def test_rows_that_fill_no_vector_ask_for_nothing(asked: list[Any]) -> None:
    net, X = FEW[0].network(), np.ones((1, 2), "float32").tolist()
    network, dtype = net.model.network, np.dtype("float32")
    assert narrow.forward_of(network, 1, dtype, True) is None
    net.outputs(X)
    assert not narrow._spent
    net.outputs(X * 1000)
    assert list(narrow._spent) == [narrow.forward_of(network, 1000, dtype, True)]


def test_warmup_refuses_settings_that_a_network_has() -> None:
    with pytest.raises(TypeError, match="activations: got 'relu' beside a network"):
        fastbp.warmup(MLP((3, 6, 2)), activations="relu")

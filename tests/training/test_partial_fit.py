"""`partial_fit`, and what is undone where a fit ends in an error."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from fastbp.learning_rates import Constant
from fastbp.optimizers import SGD, Adam, AdamW, Momentum, Optimizer
from fastbp.training import loop
from support.fitting_cases import network, rows, same, trained, undone

# ---- partial_fit ----


def pieces() -> list[tuple[Any, Any]]:
    X, y = rows(60)
    return [(X[begin : begin + 15], y[begin : begin + 15]) for begin in range(0, 60, 15)]


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "adagrad"])
def test_partial_fit_goes_on(optimizer: str) -> None:
    """Calls on parts are the one call on all rows, in order, with as many steps."""
    X, y = rows(60)
    net, twin = network(), network()
    for part in pieces():
        history = net.partial_fit(*part, 5, optimizer=optimizer, l2=0.01)
        assert len(history.loss) == 1
    twin.fit(X, y, epochs=1, batch_size=5, optimizer=optimizer, l2=0.01, shuffle=False)
    same(net, twin)
    anew = network()
    for part in pieces():
        anew.fit(*part, epochs=1, batch_size=5, optimizer=optimizer, l2=0.01, shuffle=False)
    assert (anew.parameters == net.parameters).all() == (optimizer == "sgd")  # fit starts anew each time


def test_fit_between_does_not_touch_what_partial_fit_remembers() -> None:
    first, second, other, _ = pieces()
    net, twin = network(), network()
    for each in (net, twin):
        each.partial_fit(*first, optimizer="adam")
    kept = net.parameters.copy()
    net.fit(*other, epochs=2, optimizer="adam")
    net.parameters[...] = kept
    for each in (net, twin):
        each.partial_fit(*second, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)


@pytest.mark.parametrize("between", ["sgd", "momentum", AdamW(), "rmsprop"])
@pytest.mark.parametrize("max_grad_norm", [None, 1.0])
def test_another_optimizer_starts_anew(between: str | Optimizer, max_grad_norm: float | None) -> None:
    first, second, third, _ = pieces()
    net = network()
    net.partial_fit(*first, 5, optimizer="adam")
    net.partial_fit(*second, 5, optimizer=between, max_grad_norm=max_grad_norm)
    twin = network()
    twin.parameters = net.parameters
    for each in (net, twin):
        each.partial_fit(*third, 5, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_other_settings_of_the_same_optimizer_go_on() -> None:
    first, second, *_ = pieces()
    net, anew = network(), network()
    net.partial_fit(*first, optimizer=Adam(), learning_rate=0.01)
    anew.parameters = net.parameters
    for each in (net, anew):
        each.partial_fit(*second, optimizer=Adam(beta_2=0.9), learning_rate=0.02)
    assert (net.parameters != anew.parameters).any()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_goes_on_by_itself(duplicate: Callable[[MLP], MLP]) -> None:
    first, second, third, _ = pieces()
    net = network()
    net.partial_fit(*first, 5, optimizer="adam")
    twin, straight = duplicate(net), duplicate(net)
    anew = network()
    anew.parameters = net.parameters
    twin.partial_fit(*third, 5, optimizer="adam")  # its own memory: the first's stays
    for each in (net, straight, anew):
        each.partial_fit(*second, 5, optimizer="adam")
    same(net, straight)
    assert (net.parameters != twin.parameters).any()
    assert (net.parameters != anew.parameters).any()


def test_an_optimizer_that_asks_for_other_memory_than_its_form_is_refused() -> None:
    """Compiled code would write behind it, or average elsewhere than the average is looked for."""

    class Small(Adam):
        states = 1

    class SmallMomentum(Momentum):
        states = 0

    class Large(Momentum):
        states = 2

    class Named(SGD):
        form = "adaptive"

    class Formless(Optimizer):
        def coefficients(self, steps: Any, learning_rate: Any) -> Any:
            return {}

    class Silent(SGD):
        def coefficients(self, steps: Any, learning_rate: Any) -> Any:
            return None

    for optimizer in (Small(), SmallMomentum(), Large(), Named(), Formless(), Silent()):
        undone(ValueError, "^optimizer: got .*expected", lambda net, it=optimizer: net.fit(*rows(), optimizer=it))


# ---- what is undone ----


def test_divergence_with_adam_forgets_what_it_remembered() -> None:
    X, y = rows()
    net = network()
    net.partial_fit(X, y, 10, optimizer="adam")
    before = net.parameters.copy()
    with pytest.raises(fastbp.DivergenceError, match="epoch 1 of 1"):
        net.partial_fit(X * np.float32(1e30), y, 10, 1e30, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, before)
    twin = network()
    twin.parameters = before
    for each in (net, twin):
        each.partial_fit(X, y, 10, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)
    assert np.isfinite(net.parameters).all()


def test_divergence_of_fit_with_adam_in_a_later_epoch() -> None:
    X, y = rows()

    def grow(net: MLP, history: Any) -> None:
        if len(history.loss) == 2:
            net.parameters[...] *= np.float32(1e30)
            kept.append(net.parameters.copy())

    kept: list[Any] = []
    net = network()
    with pytest.raises(fastbp.DivergenceError, match="epoch 3 of 5"):
        net.fit(X, y, epochs=5, optimizer="adam", learning_rate=0.01, callbacks=[grow])
    np.testing.assert_array_equal(net.parameters, kept[0])


def spoiled(X: Any) -> Any:
    X = X.copy()
    X[-1, 2] = np.nan  # all minibatches but the last are trained before it is seen
    return X


FORMS: dict[str, Callable[[Any], Any]] = {
    "in place": lambda X: X, "float64": lambda X: X.astype("f8"), "Fortran": np.asfortranarray,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_nan_in_X_undoes_fit(form: str) -> None:
    X, y = rows()
    X = FORMS[form](spoiled(X))
    for options in ({}, {"optimizer": "adam", "dropout": 0.25}, {"shuffle": False, "max_grad_norm": 1.0}):
        undone(ValueError, r"^X: .*row 59\b", lambda net, o=options: net.fit(X, y, epochs=2, batch_size=7, **o))


@pytest.mark.parametrize("remembered", [None, "sgd", "momentum", "adam"])
@pytest.mark.parametrize("form", FORMS)
def test_nan_in_X_undoes_partial_fit(form: str, remembered: str | None) -> None:
    """The optimizer's memory too, were it of that optimizer or of another."""
    X, y = rows()
    X = FORMS[form](spoiled(X))
    for optimizer in ("sgd", "adam"):
        net = network()
        if remembered:
            net.partial_fit(*rows(20), 5, optimizer=remembered)
        call: Callable[[MLP], object] = lambda net, o=optimizer: net.partial_fit(X, y, 7, optimizer=o, dropout=0.25)  # noqa: E731
        undone(ValueError, r"^X: .*row 59\b", call, net)


def test_other_refusals_undo_partial_fit() -> None:
    X, y = rows()
    for name, wrong in {"X": X[:, :5], "y": y[:-1], "sample_weight": np.full(60, -1.0), "batch_size": 0, "l2": -1.0,
                        "dropout": 1.0, "max_grad_norm": 0.0, "learning_rate": Constant(1e300),
                        "optimizer": "newton"}.items():  # fmt: skip
        net = network()
        net.partial_fit(*rows(20), 5, optimizer="adam")
        arguments = {"X": X, "y": y, "optimizer": "momentum", name: wrong}
        undone((ValueError, TypeError), f"^{name}: got .*expected", lambda net, a=arguments: net.partial_fit(**a), net)


def test_ctrl_c_leaves_the_network_as_after_the_steps_that_were_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes as soon as a compiled call is over: the optimizer has then counted that call's steps."""
    first, second, *_ = pieces()
    net, twin = network(), network()
    run = loop.run
    calls = []

    def interrupted(program: Any, operands: Any, course: Any) -> None:
        run(program, operands, course)
        if course.repeats:
            calls.append(course.repeats)
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            net.partial_fit(*first, 5, optimizer="adam")
    assert calls == [3]
    twin.partial_fit(*first, 5, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)
    for each in (net, twin):
        each.partial_fit(*second, 5, optimizer="adam")
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_ctrl_c_within_a_callback_frees_the_network() -> None:
    def interrupt(net: MLP, history: Any) -> None:
        raise KeyboardInterrupt

    net = network()
    with pytest.raises(KeyboardInterrupt):
        net.fit(*rows(), epochs=3, callbacks=[interrupt], early_stopping=1)
    same(net, trained(1))
    assert len(net.fit(*rows(), epochs=2).loss) == 2


@pytest.mark.parametrize("order", [np.arange(9), np.arange(10) + 1, np.arange(10.0), np.arange(10) - 11],
                         ids=["short", "beyond", "floats", "before"])  # fmt: skip
def test_an_order_that_is_none_of_the_rows_is_refused(order: np.ndarray[Any, Any]) -> None:
    """Compiled code gathers rows by it, without asking where they lie."""
    net = MLP((4, 5, 3), seed=0)
    plan = loop.Plan(epochs=1, batch_size=4, learning_rate=Constant(0.1), l2=0.0, optimizer=SGD(),
                         order=lambda rows: order)  # fmt: skip
    with pytest.raises((TypeError, ValueError), match=r"order: got"):
        net.train(np.ones((10, 4)), np.arange(10) % 3, plan)

"""Networks with formulas of a user's own: against NumPy, in all tiers, through files, pickles, children and threads."""

from __future__ import annotations

import copy
import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, Activation, CheckpointError, Ensemble, Loss
from fastbp.kernels import background, objects, own
from fastbp.kernels.functions import Function
from fastbp.model import npz_file
from fastbp.program import narrow
from fastbp.program.network import StepForm
from fastbp.program.tuning import Tuning, forced
from support.comparisons import assert_same_bits
from support.processes import run_python

GENERAL, SPECIALISED = Tuning(), Tuning(specialised=True)
SHARED = Tuning(specialised=True, parallel=True)


def bent(x: Any, a: float) -> Any:
    """Return ``x / (1 + a |x|)``, which no built-in activation is."""
    return x / (1 + a * abs(x))


def bent_slope(x: Any, a: float) -> Any:
    return 1 / (1 + a * abs(x)) ** 2


def tilted(z: Any, t: Any) -> Any:
    """Return a loss that weighs what is too small twice."""
    return (z - t) ** 2 if z > t else 2 * (z - t) ** 2


def tilted_slope(z: Any, t: Any) -> Any:
    return 2 * (z - t) if z > t else 4 * (z - t)


BENT = Activation("bent", bent, bent_slope, a=0.5)
OWN_TANH = Activation("own_tanh", math.tanh, lambda x: 1 - math.tanh(x) ** 2)
TILTED = Loss("tilted", tilted, tilted_slope)


def data(sizes: tuple[int, ...], rows: int = 103) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(rows, sizes[0])), rng.normal(size=(rows, sizes[-1]))


def by_numpy(net: MLP, X: Any, y: Any, steps: int, batch: int, rate: float) -> Any:
    """Return the parameters after steps of gradient descent, by NumPy alone, for activations bent and own_tanh."""
    weights = [array.astype(np.float64) for pair in zip(net.weights, net.biases, strict=True) for array in pair]
    functions = {
        "bent": (lambda x: x / (1 + 0.5 * np.abs(x)), lambda x: 1 / (1 + 0.5 * np.abs(x)) ** 2),
        "own_tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    }
    names = [net.activation] * (len(net.sizes) - 2) if isinstance(net.activation, str) else net.activation
    for step in range(steps):
        h, t = X[step * batch : (step + 1) * batch], y[step * batch : (step + 1) * batch]
        inputs, before = [h], []
        for layer, name in enumerate(names):
            before.append(inputs[-1] @ weights[2 * layer] + weights[2 * layer + 1])
            inputs.append(functions[name][0](before[-1]))
        z = inputs[-1] @ weights[-2] + weights[-1]
        d = np.where(z > t, 2, 4) * (z - t) / z.size
        for layer in reversed(range(len(names) + 1)):
            dw, db = inputs[layer].T @ d, d.sum(0)
            if layer:
                d = (d @ weights[2 * layer].T) * functions[names[layer - 1]][1](before[layer - 1])
            weights[2 * layer] = weights[2 * layer] - rate * dw
            weights[2 * layer + 1] = weights[2 * layer + 1] - rate * db
    return np.concatenate([array.ravel() for array in weights])


@pytest.mark.parametrize("tuning", [GENERAL, SPECIALISED, SHARED], ids=["general", "specialised", "shared"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", [BENT, OWN_TANH, (BENT, OWN_TANH)], ids=["bent", "own_tanh", "both"])
def test_training_is_that_of_numpy(activation: Any, dtype: str, tuning: Tuning) -> None:
    sizes = (6, 20, 12, 2)
    X, y = data(sizes, 120)
    net = MLP(sizes, activation, TILTED, dtype, seed=0)
    expected = by_numpy(net, X, y, 4, 30, 0.05)
    with forced(tuning):
        net.fit(X, y, epochs=1, batch_size=30, learning_rate=0.05, shuffle=False)
    # Four steps of sums over at most 30 rows and 20 units; parameters are of order one.
    np.testing.assert_allclose(net.parameters, expected, rtol=0, atol=4 * 50 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_tiers_and_threads_give_the_same_bits(dtype: str) -> None:
    sizes, found = (7, 33, 9, 3), []
    X, y = data(sizes)
    for tuning in (GENERAL, Tuning(parallel=True), SPECIALISED, SHARED):
        net = MLP(sizes, (BENT, OWN_TANH), TILTED, dtype, seed=0)
        with forced(tuning):
            net.fit(X, y, epochs=2, batch_size=40, optimizer="adam", dropout=0.25, l2=0.01)
            found.append((net.parameters.copy(), net.predict(X)))
    for parameters, predictions in found[1:]:
        assert_same_bits(parameters, found[0][0])
        assert_same_bits(predictions, found[0][1])


def test_gradients_are_those_of_differences() -> None:
    net = MLP((5, 8, 7, 2), (BENT, "gelu"), TILTED, "float64", seed=0)
    X, y = data(net.sizes, 20)

    def loss(parameters: Any) -> float:
        net.parameters = parameters
        return net.loss(X, y)

    start = net.parameters.copy()
    gradient = net.gradient(X, y)
    flat = np.concatenate([array.ravel() for pair in zip(gradient.weights, gradient.biases, strict=True)
                           for array in pair])  # fmt: skip
    assert fastbp.gradcheck(loss, flat, start)


def test_wide_networks_and_few_rows() -> None:
    net = MLP((300, 200, 150, 3), BENT, TILTED, seed=0)
    X, y = data(net.sizes, 300)
    before = net.loss(X, y)
    net.fit(X, y, epochs=3, optimizer="adam")
    assert net.loss(X, y) < before
    whole = net.predict(X)
    for i in (0, 7, 299):
        assert_same_bits(net.predict(X[i : i + 1])[0], whole[i])


@pytest.mark.parametrize(
    ("targets", "output"),
    [("numbers", lambda z: z), ("shares", lambda z: 1 / (1 + np.exp(-z))), ("counts", np.exp)],
)
def test_outputs_follow_from_the_targets(targets: str, output: Any) -> None:
    loss = Loss("own", lambda z, t: (z - t) ** 2, lambda z, t: 2 * (z - t), targets=targets, mean=False)
    net = MLP((3, 4, 2), loss=loss, dtype="float64", seed=0)
    X, _ = data(net.sizes, 20)
    y = np.random.default_rng(0).random((20, 2))
    np.testing.assert_allclose(
        net.predict_proba(X) if targets == "shares" else net.predict(X), output(net.logits(X)), rtol=1e-13
    )
    np.testing.assert_allclose(net.loss(X, y), ((net.logits(X) - y) ** 2).sum(1).mean(), rtol=1e-13)
    net.save(path := os.path.join(os.environ.get("TMPDIR", "/tmp"), f"own-{os.getpid()}.npz"))
    try:
        again = fastbp.load(path, custom={"own": loss})
    finally:
        os.unlink(path)
    assert again.loss(X, y) == net.loss(X, y)


def test_pairs_of_functions_are_taken_by_the_first_ones_name() -> None:
    def square(x: Any) -> Any:
        return x * x

    def slope(x: Any) -> Any:
        return 2 * x

    assert MLP((2, 3, 2), (square, slope)).activation == "square"
    net = MLP((2, 3, 3, 2), ["relu", (square, slope)], (tilted, tilted_slope))
    assert (net.activation, net.loss_name) == (("relu", "square"), "tilted")
    with pytest.raises(ValueError, match="functions without one, such as lambdas, need a name"):
        MLP((2, 3, 2), (lambda x: x, lambda x: 1.0))


def test_names_mean_one_formula_of_a_network() -> None:
    other = Activation("bent", lambda x: 2 * x, lambda x: 2.0)
    with pytest.raises(ValueError, match="got two formulas of the name 'bent'"):
        MLP((2, 3, 3, 2), (BENT, other))
    same = Loss("bent", tilted, tilted_slope)
    with pytest.raises(ValueError, match="loss: got the name 'bent', which the activation has"):
        MLP((2, 3, 2), BENT, same)
    with pytest.raises(ValueError, match="activation: got 1 names, expected 2"):
        MLP((2, 3, 3, 2), [BENT])
    with pytest.raises(ValueError, match=r"activation\[1\]: got 'bend', expected"):
        MLP((2, 3, 3, 2), [BENT, "bend"])
    with pytest.raises(TypeError, match="activation: got"):
        MLP((2, 3, 2), TILTED)
    with pytest.raises(ValueError, match="loss: got"):
        MLP((2, 3, 2), loss=BENT)


# ---- files ----


def saved(folder: Path) -> tuple[MLP, Path]:
    net = MLP((3, 5, 4, 2), (BENT, "relu"), TILTED, seed=0)
    path = folder / "net.npz"
    net.save(path)
    return net, path


def test_a_file_has_names_and_digests_and_needs_the_formulas_again(tmp_path: Path) -> None:
    net, path = saved(tmp_path)
    X, _ = data(net.sizes)
    for bent_again in (BENT, Activation("bent", bent, bent_slope, a=0.5)):
        again = fastbp.load(path, custom={"bent": bent_again, "tilted": (tilted, tilted_slope), "unused": BENT})
        assert_same_bits(again.predict(X), net.predict(X))
        assert (again.activation, again.loss_name) == (net.activation, net.loss_name)
    described = npz_file.read(path)[1]["custom"]
    assert described == {
        "bent": {"digest": BENT.digest, "initializer": "he"},
        "tilted": {"digest": TILTED.digest, "targets": "numbers", "mean": True},
    }


@pytest.mark.parametrize(
    ("custom", "words"),
    [
        (None, r"the activation 'bent', and none is ever imported from a file"),
        ({"bent": BENT}, r"the loss 'tilted'"),
        ([BENT, TILTED], "custom: got list, expected a mapping"),
        ({"bent": "relu", "tilted": TILTED}, r"custom\['bent'\]: got str, expected a fastbp.Activation"),
        ({"bent": TILTED, "tilted": TILTED}, r"custom\['bent'\]: got Loss, expected a fastbp.Activation"),
        ({"bent": (bent, bent_slope), "tilted": TILTED}, "cannot be traced"),  # its constant is missing
        ({"bent": Activation("bent", bent, bent_slope, a=0.25), "tilted": TILTED}, "another formula"),
        ({"bent": Activation("bent", bent, bent_slope, a=0.5, initializer="lecun"), "tilted": TILTED}, "another"),
        ({"bent": BENT, "tilted": Loss("tilted", tilted, tilted_slope, mean=False)}, "another formula"),
    ],
)
def test_a_formula_that_is_missing_or_another_is_an_error(tmp_path: Path, custom: Any, words: str) -> None:
    _, path = saved(tmp_path)
    with pytest.raises(CheckpointError, match=words):
        fastbp.load(path, custom=custom)


HOSTILE = [
    "os.system", "__import__('os').system('echo')", "posix:system", "tests.hostile", "../../hostile", "hostile", "eval",
    "builtins.exec", "numpy.save", "",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_imports_and_runs_nothing(tmp_path: Path, name: str) -> None:
    """The names of a file's formulas are of modules and commands; a module of such a name would leave a trace."""
    net = MLP((3, 5, 2), BENT, TILTED, seed=0)
    path = tmp_path / "net.npz"
    net.save(path)
    arrays, metadata = npz_file.read(path)
    MLP((3, 5, 2)).save(path)
    files = []
    for number, described in enumerate([
        {"digest": "0" * 16}, {"digest": name, "initializer": name, "module": name}, {"targets": name, "value": name},
        name, None, [name], {},
    ]):  # fmt: skip
        for both in (False, True):
            files.append(tmp_path / f"{number}{both}.npz")
            custom = {name: described} | ({"tilted": described} if both else {})
            npz_file.write(files[-1], arrays, {**metadata, "activation": name, "custom": custom})
    (tmp_path / "hostile.py").write_text("open('trace', 'w').close()")
    code = f"""
import os, sys
sys.path.insert(0, {str(tmp_path)!r})
os.chdir({str(tmp_path)!r})
import fastbp
import fastbp.own_formulas.formulas
fastbp.load({str(path)!r})  # which imports what reads a file
pair = (lambda x: x, lambda x: 1.0)
for file in {list(map(str, files))!r}:
    for custom in (None, {{}}, {{"bent": pair}}, {{{name!r}: pair}}, {{"tilted": pair, {name!r}: pair}}):
        before = set(sys.modules)
        try:
            fastbp.load(file, custom=custom)
        except fastbp.CheckpointError:
            pass
        else:
            raise AssertionError(file)
        new = {{module for module in set(sys.modules) - before if not module.startswith(("fastbp", "numpy"))}}
        assert not new, new
assert not os.path.exists("trace")
"""
    run_python(code, {})


def test_ensembles_are_saved_and_loaded(tmp_path: Path) -> None:
    X, y = data((3, 5, 2))
    ensemble = Ensemble([MLP((3, 5, 2), BENT, TILTED, seed=seed) for seed in range(2)])
    ensemble.save(tmp_path / "all.npz")
    custom = {"bent": BENT, "tilted": TILTED}
    assert_same_bits(Ensemble.load(tmp_path / "all.npz", custom=custom).predict(X), ensemble.predict(X))
    with pytest.raises(CheckpointError, match="none is ever imported from a file"):
        Ensemble.load(tmp_path / "all.npz")


def test_pickles_and_copies_need_no_functions() -> None:
    X, y = data((3, 5, 2))
    own_lambda = Activation("own", lambda x: x * x, lambda x: 2 * x)
    net = MLP((3, 5, 2), own_lambda, TILTED, seed=0)
    for again in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net)):
        assert_same_bits(again.predict(X), net.predict(X))
        assert again.activation == "own"
    assert pickle.loads(pickle.dumps(own_lambda)) == own_lambda


def test_a_checkpoint_of_another_formula_is_another_run(tmp_path: Path) -> None:
    X, y = data((3, 5, 2))
    path = tmp_path / "run"
    MLP((3, 5, 2), BENT, TILTED, seed=0).fit(X, y, epochs=2, checkpoint=path)
    other = Activation("bent", bent, bent_slope, a=0.25)
    with pytest.raises(CheckpointError, match="custom is"):
        MLP((3, 5, 2), other, TILTED, seed=0).fit(X, y, epochs=2, checkpoint=path)


@pytest.mark.parametrize(
    ("activation", "loss"), [((BENT, OWN_TANH), TILTED), ("relu", TILTED), ((OWN_TANH, BENT), TILTED)]
)
def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path, activation: Any, loss: Any) -> None:
    X, y = data((3, 5, 4, 2))
    path = tmp_path / "run"

    def stop(net: MLP, history: Any) -> None:
        if len(history.loss) == 2:
            raise InterruptedError

    fitted, resumed = (MLP((3, 5, 4, 2), activation, loss, seed=0) for _ in range(2))
    fitted.fit(X, y, epochs=3)
    with pytest.raises(InterruptedError):
        MLP((3, 5, 4, 2), activation, loss, seed=0).fit(
            X, y, epochs=3, checkpoint=path, checkpoint_seconds=0, callbacks=[stop]
        )
    resumed.fit(X, y, epochs=3, checkpoint=path, checkpoint_seconds=0)
    assert_same_bits(resumed.parameters, fitted.parameters)


def test_fits_side_by_side() -> None:
    X, y = data((3, 5, 2))
    networks = [MLP((3, 5, 2), BENT, TILTED, seed=seed) for seed in range(3)]
    alone = MLP((3, 5, 2), BENT, TILTED, seed=1)
    fastbp.fit_many(networks, X, y, epochs=3, batch_size=20)
    alone.fit(X, y, epochs=3, batch_size=20)
    assert_same_bits(networks[1].parameters, alone.parameters)


# ---- compiled code ----


def test_the_cache_and_children_have_formulas_by_their_digest(tmp_path: Path) -> None:
    """A process of its own compiles; another finds it all in the cache, under another name."""
    code = """
import sys
import numpy as np
import fastbp
own = fastbp.Activation("{name}", lambda x: x * abs(x), lambda x: 2 * abs(x))
net = fastbp.MLP((4, 6, 2), own, seed=0)
X = np.random.default_rng(0).normal(size=(40, 4))
net.fit(X, np.arange(40) % 2, epochs=1, batch_size=8)
print("fastbp.kernels.compiler" in sys.modules, net.parameters.tobytes().hex())
"""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (run_python(code.format(name=name), environment).split() for name in ("first", "second"))
    assert (first[0], second[0]) == ("True", "False")
    assert first[1] == second[1]


@pytest.mark.slow
def test_a_child_compiles_the_step_of_a_network_with_own_formulas() -> None:
    own_only_here = Activation("own", lambda x: 0.3 * x * abs(x), lambda x: 0.6 * abs(x))
    net = MLP((3, 5, 2), own_only_here, TILTED, seed=0)
    step = narrow.step_of(net.model.network, 32, net.dtype, StepForm("targets"))
    assert step is not None
    assert [each.name for each in own.definitions(step)] == [*step.activations, step.loss]
    if objects.origin(step) is None:
        background.ask(step)
        assert background.wait(step, 60)
    assert background.address(step) is not None


def test_warmup_compiles_them() -> None:
    own_only_here = Activation("own", lambda x: 0.7 * x * abs(x), lambda x: 1.4 * abs(x))
    net = MLP((3, 5, 2), own_only_here, TILTED, seed=0)
    fastbp.warmup(net, optimizers="sgd")
    (name,) = (each.name for each in net.model.network.activations)
    for operation, kind in (("activate", name), ("activate_backward", name),
                            ("elementwise_loss", net.model.loss.value.__name__)):  # fmt: skip
        assert objects.in_memory(Function(operation, kind, "float32")) is not None

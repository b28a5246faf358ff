"""Random calls of a network: any activations, loss, optimizer and setting, against the reference."""

from __future__ import annotations

import copy
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import fastbp
from fastbp import MLP, reference
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.kernels.losses import LOSSES
from fastbp.learning_rates import Adaptive, Constant, Cosine, InverseScaling
from fastbp.model.initializers import INITIALIZERS
from fastbp.optimizers import OPTIMIZERS, Adam, Nesterov
from support.comparisons import bits_of
from support.random_case import Call, Case, near

SOFTMAX = "softmax_cross_entropy"
KINKS = [name for name, row in reference.ACTIVATIONS.items() if row.kink is not None]
METHODS = ("logits", "outputs", "predict_proba", "predict", "score", "loss", "gradient", "sample_gradients",
           "fit", "fit", "partial_fit", "save", "parameters")  # fmt: skip


def network(case: Case) -> Call:
    hidden = [case.size() for _ in range(int(case.rng.integers(0, 3)))]
    sizes = (case.size(), *hidden, case.size() + 1)
    names = [case.choice(*ACTIVATIONS) for _ in hidden]
    options: dict[str, Any] = {
        "sizes": case.choice(sizes, list(sizes), np.array(sizes)), "dtype": case.dtype,
        "activation": case.choice("relu", "identity", case.choice(*ACTIVATIONS), names, tuple(names)),
        "seed": int(case.rng.integers(99)), "loss": case.choice(SOFTMAX, case.choice(*LOSSES)),
        "initializer": case.choice(None, *INITIALIZERS), "leaky_slope": case.choice(0.01, 0.25, 0, 1),
        "huber_delta": case.choice(1.0, 0.25, np.float32(3)),
    }  # fmt: skip
    if case.rng.random() < 0.3:
        options["input_shift"] = case.choice(0.5, case.rng.integers(-4, 5, sizes[0]) / 4)
        options["input_scale"] = case.choice(2.0, case.rng.integers(1, 5, sizes[0]) / 4)
    if case.rng.random() < 0.25:
        columns = case.rng.permutation(sizes[0])[: int(case.rng.integers(1, 4))].tolist()
        options["embeddings"] = {column: (int(case.rng.integers(1, 9)), case.size()) for column in columns}
        for name, neutral in (("input_shift", 0.0), ("input_scale", 1.0)):
            if isinstance(options.get(name), np.ndarray):
                options[name][columns] = neutral
    if case.spoil and case.rng.random() < 0.3:
        if case.rng.random() < 0.1:  # more than any memory
            options["sizes"] = case.choice((2**62, 2**62), (3, 2**62), (10**30, 3))
            case.names = tuple(options)
        else:
            options = case.spoil_some(options)
        return lambda: MLP(**options), lambda net: None
    net = MLP(**options)
    net.parameters[...] = case.rng.integers(-8, 9, net.parameters.size) / 16
    if "poisson" in net.loss_name:
        net.parameters[...] /= 64  # so that no exponential overflows
    method = case.choice(*METHODS)
    if method == "predict_proba" and not net.model.loss.classifies:
        method = "outputs"
    several = {"fit": fit, "partial_fit": fit, "save": save, "parameters": parameters}
    return several.get(method, ask)(case, net, options, method)


def targets(case: Case, net: MLP, n: int) -> tuple[Any, Any]:
    """Targets as the loss takes them, in some form, and as the reference does."""
    kind = net.model.loss.targets
    if kind == "classes":
        return case.labels(n, net.classes)
    low, high = {"shares": (0, 9), "counts": (0, 17), "numbers": (-16, 17)}[kind]
    t = case.numbers(n, net.classes, low=low, high=high)
    plain = np.asarray(t, np.float64)
    return (t if net.classes > 1 or not isinstance(t, np.ndarray) or case.rng.random() < 0.5 else t[:, 0]), plain


def scaling(net: MLP) -> dict[str, Any]:
    return {name: getattr(net, name) for name in ("input_shift", "input_scale")}


def width(net: MLP) -> int:
    """The inputs of the first layer, and the outputs of all."""
    return len(net.weights[0]) + sum(net.sizes[1:])


def inputs(case: Case, net: MLP, n: int) -> Any:
    """X in a layout of any kind, with levels in embedded columns."""
    values = case.rng.integers(-16, 17, (n, net.sizes[0])) / 8
    for column, table in net.embeddings.items():
        values[:, column] = case.rng.integers(0, len(table), n)
    return case.laid_out(values)


def wanted(net: MLP, X: Any) -> Any:
    X = reference.embed(reference.scale_inputs(X, net.input_shift, net.input_scale), net.embeddings)
    return reference.forward(net.weights, net.biases, X, net.activation, **net.constants)[-1]


def constants(net: MLP) -> dict[str, Any]:
    return {"loss_name": net.loss_name, **net.constants}


def smooth(net: MLP, sums: bool = True) -> bool:
    """Whether rounding cannot flip a derivative: at kinks only sums of exact numbers, those of one layer, are exact."""
    names = [net.activation] if isinstance(net.activation, str) else net.activation
    kinks = len(net.sizes) > 3 and any(name in KINKS for name in names)
    return not kinks and not (net.loss_name in ("mean_absolute_error", "quantile") and (len(net.sizes) > 2 or not sums))


def ask(case: Case, net: MLP, options: dict[str, Any], method: str) -> Call:
    n = case.size()
    y, plain = targets(case, net, n)
    a: dict[str, Any] = {"X": inputs(case, net, n)}
    if method in ("score", "loss", "gradient", "sample_gradients"):
        a["y"] = y
    if method in ("loss", "gradient"):
        a["l2"] = case.choice(0.0, 0.5, 1)
        if case.rng.random() < 0.4:
            a["sample_weight"] = case.numbers(n, low=int(n < 7), high=9)  # the reference wants a sum
    if method == "gradient" and case.rng.random() < 0.4:
        a["dropout"], a["dropout_key"] = case.choice(0.25, 0.5, 0, 1e-20), int(case.rng.integers(2**40))
    a = case.spoil_some(a)

    def check(got: Any) -> None:
        logits = wanted(net, a["X"])
        extent = 1 + float(np.abs(logits).max())
        unit = float(np.finfo(net.dtype).eps) * 40 * (width(net) + 10) * extent
        if method == "logits":
            near(got, logits, unit)
        elif method in ("predict_proba", "outputs"):
            outputs = reference.outputs_of(net.loss_name, logits)
            near(got, outputs, unit * max(1.0, float(np.abs(outputs).max())))
        elif method in ("predict", "score"):
            compare_answers(net, a["X"], plain, logits, got, unit, method)
        else:
            compare_gradient(net, a, plain, got, unit)

    return lambda: getattr(net, method)(**a), check


def compare_answers(net: MLP, X: Any, plain: Any, logits: Any, got: Any, unit: float, method: str) -> None:
    found = got if method == "predict" else net.predict(X)
    if net.loss_name == SOFTMAX:
        apart = np.sort(logits, axis=1)[:, -1] - np.sort(logits, axis=1)[:, -2] > unit if net.classes > 1 else True
        if not ((found == logits.argmax(axis=1)) | ~apart).all():
            raise AssertionError("another class than the reference's")
        score = np.mean(found == (plain if plain.ndim == 1 else plain.argmax(axis=1)))
    elif net.model.loss.classifies:
        if not ((found == (logits > 0)) | (np.abs(logits) <= unit)).all():
            raise AssertionError("another class than the reference's")
        score = np.mean((found == (plain > 0.5)).all(axis=1))
    else:
        near(found, net.outputs(X), 0)
        missed, spread = ((plain - found) ** 2).sum(axis=0), ((plain - plain.mean(axis=0)) ** 2).sum(axis=0)
        score = np.mean([1 - m / s if s else float(m == 0) for m, s in zip(missed, spread, strict=True)])
    if method == "score":
        near(got, score, 1e-12 * (1 + abs(score)))


def compare_gradient(net: MLP, a: dict[str, Any], plain: Any, got: Any, unit: float) -> None:
    if isinstance(got, fastbp.SampleGradients):
        return compare_sample_gradients(net, a, got)
    more: dict[str, Any] = {"sample_weight": a.get("sample_weight"), **constants(net), **scaling(net)}
    if a.get("dropout"):
        more["masks"] = reference.dropout_masks(a["dropout_key"], net.sizes[1:-1], len(got.inputs), a["dropout"])
        unit *= 4  # kept units count up to twice
    if more["sample_weight"] is not None:
        more["sample_weight"] = np.asarray(more["sample_weight"], np.float64)
    parameters = net.embeddings, net.weights, net.biases
    loss, dWs, dbs, dX, d_tables = reference.embedded_gradient(
        *parameters, a["X"], plain, a["l2"], net.activation, **more
    )
    near(got if isinstance(got, float) else got.loss, loss, unit * (1 + abs(loss)))
    if isinstance(got, float):
        return None
    found = *got.weights, *got.biases, got.inputs, *got.embeddings.values()
    for one, other in zip(found, (*dWs, *dbs, dX, *d_tables.values()), strict=True):
        if smooth(net):
            near(one, other, unit * 8 * max(1.0, float(np.abs(other).max(initial=0))))
        elif one.shape != other.shape:
            raise AssertionError(f"shape {one.shape}, expected {other.shape}")
    return None


def compare_sample_gradients(net: MLP, a: dict[str, Any], got: Any) -> None:
    """Their mean is the gradient of all rows."""
    whole, n = net.gradient(a["X"], a["y"]), len(got.losses)
    near(got.losses.mean(dtype=np.float64), whole.loss, 1e-12 + 1e-6 * abs(whole.loss))
    pairs = [*zip(got.weights, whole.weights, strict=True), *zip(got.biases, whole.biases, strict=True)]
    pairs += zip(got.embeddings.values(), whole.embeddings.values(), strict=True)
    unit = (n + 20) * float(np.finfo(net.dtype).eps)
    for rows, all_rows in [*pairs, (got.inputs, whole.inputs * n)]:
        of_rows = rows.astype(np.float64)
        if rows is got.inputs:
            near(of_rows, all_rows, unit * np.abs(of_rows).max(initial=0))
        else:
            near(of_rows.mean(axis=0), all_rows, unit * np.abs(of_rows).max(initial=0))


# ---- training ----


def settings(case: Case, net: MLP, n: int, method: str) -> dict[str, Any]:
    """Arguments of `fit` and `partial_fit`, good ones."""
    rate = case.choice(
        0.125, 0.0, np.float32(0.25), Constant(0.125), Cosine(0.25), InverseScaling(0.25), Adaptive(0.125)
    )
    a: dict[str, Any] = {
        "batch_size": case.choice(1, n, n + 3, 4) if net.loss_name == SOFTMAX else n, "learning_rate": rate,
        "l2": case.choice(0.0, 0.25), "optimizer": case.choice("sgd", case.choice(*OPTIMIZERS), Nesterov(0.5), Adam()),
    }  # fmt: skip
    if case.rng.random() < 0.3:
        a["sample_weight"] = case.numbers(n, low=1, high=9)
    if case.rng.random() < 0.3:
        a["dropout"] = case.choice(0.25, 0.5, 0, 1e-20)
    if case.rng.random() < 0.3:
        a["max_grad_norm"] = case.choice(0.5, 100, None)
    if method == "fit":
        a |= {"epochs": 1, "shuffle": case.choice(False, np.False_, 0, np.int8(0)), "progress": False,
              "callbacks": case.choice((), [lambda net, history: None])}  # fmt: skip
        if case.rng.random() < 0.3:
            a["validation_data"] = (inputs(case, net, 3), targets(case, net, 3)[0])
        if case.rng.random() < 0.3:
            a |= {"early_stopping": case.choice(1, np.int8(3)), "tol": case.choice(0, 1e-3), "time_budget": 1e6}
    return a


def fit(case: Case, net: MLP, options: dict[str, Any], method: str) -> Call:
    n = case.size()
    y, plain = targets(case, net, n)
    a = case.spoil_some({"X": inputs(case, net, n), "y": y, **settings(case, net, n, method)})
    case.errors += (fastbp.DivergenceError,)
    case.names += ("training diverged in epoch",)
    if case.spoil and method == "fit":
        a = {**a, "epochs": 2 if isinstance(a["epochs"], int) and a["epochs"] > 5 else a["epochs"]}  # not for years
        a["progress"] = False  # a bar on the output is no fault
    if case.spoil:  # something to remember, that a refused call must not forget
        net.partial_fit(np.zeros((3, net.sizes[0])), np.zeros(3, int) if net.loss_name == SOFTMAX else
                        np.zeros((3, net.classes)), optimizer="adam")  # fmt: skip
    before = copy.deepcopy(net)

    def check(history: Any) -> None:
        compare_training(net, before, a, plain, history)

    def call() -> Any:
        try:
            return getattr(net, method)(**a)
        except (ValueError, TypeError):
            if not np.array_equal(bits_of(before.parameters), bits_of(net.parameters)):
                raise AssertionError("a refused call changed the parameters") from None
            if net.rng.bit_generator.state != before.rng.bit_generator.state:
                raise AssertionError("a refused call changed the generator") from None
            now, then = net._optimizer_state, before._optimizer_state
            if (now.steps, now.kind) != (then.steps, then.kind) or (
                not np.array_equal(bits_of(now.values), bits_of(then.values))
            ):
                raise AssertionError("a refused call changed what the optimizer remembers") from None
            raise

    return call, check


def compare_training(net: MLP, before: MLP, a: dict[str, Any], plain: Any, history: Any) -> None:
    n = len(plain)
    size = min(a["batch_size"], n)
    steps = -(-n // size)
    rate, optimizer = a["learning_rate"], a["optimizer"]
    rates = rate.at(np.arange(steps), steps) if hasattr(rate, "at") else rate
    kind = optimizer if isinstance(optimizer, str) else type(optimizer).__name__.lower()
    more = {"optimizer": kind, "optimizer_options": {"momentum": 0.5} if isinstance(optimizer, Nesterov) else None,
            "max_grad_norm": a.get("max_grad_norm"), "dropout": a.get("dropout", 0.0), **constants(net),
            **scaling(net)}  # fmt: skip
    if more["dropout"]:
        more["dropout_key"] = int(before.rng.integers(2**63))  # what the call drew first
    if a.get("sample_weight") is not None:
        more["sample_weight"] = np.asarray(a["sample_weight"], np.float64)
    start = before.embeddings, before.weights, before.biases
    tables, new_W, new_b, losses = reference.embedded_train(
        *start, a["X"], plain, np.arange(n), a["batch_size"], rates, a["l2"], net.activation, **more
    )
    expected = losses @ np.minimum(size, n - size * np.arange(len(losses))) / n
    # The larger the logits, the further off is a loss; of kept units twice.
    unit = float(np.finfo(net.dtype).eps) * 1000 * width(net) * (1 + expected) * (4 if more["dropout"] else 1)
    adaptive = OPTIMIZERS[kind].form == "adaptive"  # steps of the sign of a gradient that may be rounding alone
    if not adaptive and smooth(net, sums=len(losses) == 1) and (len(net.sizes) <= 2 or len(losses) == 1):
        near(history.loss, [expected], unit)
        found = *net.weights, *net.biases, *net.embeddings.values()
        for one, other in zip(found, (*new_W, *new_b, *tables.values()), strict=True):
            near(one, other, unit * max(1.0, float(np.abs(other).max())))
    elif len(losses) == 1 and not math.isclose(history.loss[0], expected, rel_tol=0.05, abs_tol=1e-3):
        raise AssertionError(f"a loss of {history.loss[0]}, expected {expected}")


# ---- files and parameters ----


def save(case: Case, net: MLP, options: dict[str, Any], method: str) -> Call:
    folder = tempfile.mkdtemp(dir=Path.cwd())
    path = Path(folder) / "net.npz"
    a = case.spoil_some({"path": case.choice(path, str(path))})
    case.errors += (OSError,)
    case.names += (str(a["path"]), "[Errno")  # an OSError tells its file

    def call() -> Any:
        net.save(**a)
        if case.spoil:  # a file that was tampered with, or cut short, or is of somebody else
            content = bytearray(path.read_bytes()) if path.exists() else bytearray(b"")
            for _ in range(int(case.rng.integers(1, 4))):
                if content:
                    content[int(case.rng.integers(len(content)))] = int(case.rng.integers(256))
            path.write_bytes(
                content[: int(case.rng.integers(len(content) + 1))] if case.rng.random() < 0.5 else content
            )
            case.errors += (fastbp.CheckpointError,)
            case.names += (str(path),)
        return fastbp.load(path)

    def check(again: Any) -> None:
        near(again.parameters, net.parameters, 0)
        for name in ("sizes", "activation", "dtype", "loss_name", "constants"):
            if getattr(again, name) != getattr(net, name):
                raise AssertionError("another network was loaded than saved")

    return call, check


def parameters(case: Case, net: MLP, options: dict[str, Any], method: str) -> Call:
    a = case.spoil_some({"parameters": case.numbers(net.parameters.size)})

    def call() -> Any:
        net.parameters = a["parameters"]
        return net.parameters

    return call, lambda got: near(got, a["parameters"], 0)

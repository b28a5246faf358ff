"""Random calls of the whole public face: right where they are valid, an error that names an argument where not.

    python tests/attack_fuzz.py [calls [seed]]

Each call takes good arguments, in any layout, amid canaries, and spoils some of them in more calls than not. What it
asks of the outcome:
- good arguments: the numbers of `fastbp.reference`, within ``k eps |A||B|`` or the like;
- a spoiled one: a ValueError or TypeError (or an error that the documentation names) that begins with the name of an
  argument of that call; if the call goes through none the less, as it may, its result is of the right shape;
- no canary changed, no input changed, no warning, no crash (a process of its own), no hang (an alarm a call).
Prints its counts, and "ok" last; what it finds, with the number of the call, before that: `SEED:CALL` repeats one.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import math
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from conftest import bits_of
from test_attack import Field

import fastbp
from fastbp import MLP, reference

SECONDS = 20  # a call takes milliseconds, or seconds where it compiles
INTERESTING = [1, 2, 3, 7, 8, 9, 13, 14, 15, 16, 17, 31, 33]
Rng = np.random.Generator


class Case:
    """One call: its arguments, the fields of canaries that they lie in, and what is expected of it."""

    def __init__(self, rng: Rng, spoil: bool):
        self.rng, self.spoil = rng, spoil
        self.dtype = np.dtype(rng.choice(["f4", "f8"]))
        self.fields: list[Field] = []
        self.written: list[Field] = []
        self.names: tuple[str, ...] = ()  # of arguments: what an error may begin with
        self.errors: tuple[type[BaseException], ...] = (ValueError, TypeError)

    def size(self) -> int:
        return int(self.rng.choice(INTERESTING))

    def choice(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def numbers(self, *shape: int) -> Any:
        """An array in a layout of any kind; small multiples of 1/8, exact in every dtype."""
        values = self.rng.integers(-16, 17, shape) / 8
        kind = self.choice("field", "field", "f16", "swapped", "long", "list", "fortran", "unaligned", "read-only")
        if kind == "field":
            return self.field(values.astype(self.dtype))
        if kind == "list":
            return values.astype(self.dtype).tolist() if self.dtype == "f8" else list(values.astype("f4"))
        if kind == "unaligned":
            memory = np.zeros(values.size * self.dtype.itemsize + 1, np.uint8)[1:].view(self.dtype).reshape(shape)
            memory[...] = values
            return memory
        if kind == "read-only":
            return np.frombuffer(values.astype(self.dtype).tobytes(), self.dtype).reshape(shape)
        dtype = {"f16": "f2", "swapped": self.dtype.newbyteorder(), "long": "g", "fortran": self.dtype}[kind]
        return np.asarray(values, dtype, order="F" if kind == "fortran" else "C")

    def field(self, values: Any, written: bool = False) -> Any:
        field = Field(values, self.choice(*Field.LAYOUTS))
        (self.written if written else self.fields).append(field)
        return field.view

    def labels(self, n: int, classes: int) -> tuple[Any, Any]:
        """Labels in some form, and as the reference takes them."""
        y = self.rng.integers(0, classes, n)
        form = self.choice("field", "one-hot", "rows", "list", "u1", "float", "swapped")
        if form == "one-hot":
            return np.eye(classes, dtype=self.choice("f4", "f8", "?", "u1"))[y], y
        if form == "rows":
            t = self.rng.integers(1, 5, (n, classes)).astype(np.float64)
            t /= t.sum(axis=1, keepdims=True)
            return t, t
        forms = {"field": lambda: self.field(y), "list": y.tolist, "u1": lambda: y.astype("u1"),
                 "float": lambda: y.astype(self.dtype), "swapped": lambda: y.astype(">i4")}  # fmt: skip
        return forms[form](), y

    def spoiled(self, value: Any) -> Any:
        """Something that is not what was asked for, or perhaps it still is."""
        odd = (None, "text", b"bytes", 1j, object(), {}, {1, 2}, [], (), [[1.0], [1.0, 2.0]], 10**40, -1, 0, True,
               math.nan, math.inf, 1.5, "0.5", np.zeros(3, "f4,i4"), np.float64(2), np.array(3), len, range(3),
               slice(2), np.zeros((0, 0)), np.zeros((2, 0, 3)), memoryview(b"abc"), bytearray(b"abc"))  # fmt: skip
        if not isinstance(value, (np.ndarray, list, tuple)) or self.rng.random() < 0.4:
            return self.choice(*odd)
        try:
            array = np.asarray(value)
        except ValueError:
            return self.choice(*odd)
        if array.ndim == 0 or array.size == 0 or array.dtype.kind not in "biuf":
            return self.choice(*odd)
        special = np.array(array, np.float64)
        special.flat[int(self.rng.integers(special.size))] = self.choice(
            math.nan, math.inf, -math.inf, -1.0, 0.5, 1e9, 1e300, 2.0**63
        )
        return self.choice(array[None], array[..., None], array[..., :-1], array[:-1], array.T, special, special,
                           np.ma.array(array), array.astype("U9"), array.astype(complex), array.astype(object),
                           array.astype("i8").astype("M8[s]"))  # fmt: skip

    def spoil_some(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.names = (*self.names, *arguments)
        if not self.spoil:
            return arguments
        count = 1 + int(self.rng.random() < 0.2)
        for name in self.rng.choice(list(arguments), min(count, len(arguments)), replace=False):
            arguments[name] = self.spoiled(arguments[name])
        return arguments


def near(actual: Any, expected: Any, bound: Any) -> None:
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {actual.shape}, expected {expected.shape}")
    wrong = ~(np.abs(actual - expected) <= bound)  # NaN too
    if wrong.any():
        raise AssertionError(f"{wrong.sum()} of {wrong.size} beyond the bound")


def eps_of(*arrays: Any) -> float:
    return max(float(np.finfo(np.asarray(a).dtype).eps) for a in arrays)


Check = Callable[[Any], None]
Call = tuple[Callable[[], Any], Check]


# ---- the functions ----


def affine(case: Case) -> Call:
    n, f, c = case.size(), case.size(), case.size()
    a = case.spoil_some({"X": case.numbers(n, f), "W": case.numbers(f, c), "b": case.numbers(c)})
    name = case.choice("affine_forward", "affine_relu_forward")
    if case.rng.random() < 0.5:
        dtype = case.choice("f4", "f8", *([] if not case.spoil else ["i4", ">f4", "i8"]))
        if not case.spoil:  # the dtype that the result has
            dtype = "f8" if any(np.asarray(v).dtype.itemsize > 4 for v in a.values()) else "f4"
        a["out"] = case.field(np.zeros((n, c), dtype), written=True)
        case.names += ("out",)

    def check(H: Any) -> None:
        expected = reference.affine_forward(a["X"], a["W"], a["b"])
        expected = reference.relu_forward(expected) if "relu" in name else expected
        sizes = np.abs(np.asarray(a["X"], "f8")) @ np.abs(np.asarray(a["W"], "f8")) + np.abs(np.asarray(a["b"], "f8"))
        near(H, expected, (f + 3) * eps_of(H) * sizes)
        if "out" in a and H is not a["out"]:
            raise AssertionError("out is not what is returned")

    return lambda: getattr(fastbp, name)(**a), check


def backward(case: Case) -> Call:
    n, f, c = case.size(), case.size(), case.size()
    a = case.spoil_some({"dH": case.numbers(n, c), "X": case.numbers(n, f), "W": case.numbers(f, c)})

    def check(got: Any) -> None:
        dH, X, W = (np.asarray(a[name], "f8") for name in ("dH", "X", "W"))
        sizes = np.abs(dH) @ np.abs(W.T), np.abs(X.T) @ np.abs(dH), np.abs(dH).sum(axis=0)
        for one, other, size in zip(got, reference.affine_backward(dH, X, W), sizes, strict=True):
            near(one, other, (max(n, c) + 3) * eps_of(one) * size)

    return lambda: fastbp.affine_backward(**a), check


def relu(case: Case) -> Call:
    shape = tuple(case.size() for _ in range(int(case.rng.integers(1, 4))))
    if case.rng.random() < 0.5:
        a = case.spoil_some({"x": case.numbers(*shape)})
        return lambda: fastbp.relu_forward(**a), lambda y: near(y, reference.relu_forward(a["x"]), 0)
    a = case.spoil_some({"dy": case.numbers(*shape), "y": case.numbers(*shape)})
    return lambda: fastbp.relu_backward(**a), lambda dx: near(dx, reference.relu_backward(a["dy"], a["y"]), 0)


def update(case: Case) -> Call:
    shape = case.size(), case.size()
    W = case.rng.integers(-16, 17, shape) / 8
    a = {"W": case.field(W.astype(case.dtype), written=True), "dW": case.numbers(*shape),
         "learning_rate": case.choice(0.5, 1, 0, np.float32(0.25)), "l2": case.choice(0.0, 0.25, 1)}  # fmt: skip
    a = case.spoil_some(a)

    def check(nothing: Any) -> None:
        dW, W_ = np.asarray(a["dW"], "f8"), a["W"]
        expected = reference.sgd_update(W, dW, a["learning_rate"], a["l2"])
        near(W_, expected, 4 * eps_of(W_) * (np.abs(W) + np.abs(dW) + np.abs(W)))
        if nothing is not None:
            raise AssertionError("sgd_update returns something")

    return lambda: fastbp.sgd_update(**a), check


def softmax(case: Case) -> Call:
    n, c = case.size(), case.size()
    labels, plain = case.labels(n, c)
    a = case.spoil_some({"logits": case.numbers(n, c), "labels": labels})

    def check(got: Any) -> None:
        loss, dlogits = reference.softmax_cross_entropy(a["logits"], plain)
        unit = (c + 24) * eps_of(got[1])
        near(got[0], loss, unit * (1 + loss))
        near(got[1], dlogits, unit * (np.abs(dlogits) + 1) / n)

    return lambda: fastbp.softmax_cross_entropy(**a), check


# ---- networks ----


def network(case: Case) -> Call:
    hidden = [case.size() for _ in range(int(case.rng.integers(0, 3)))]
    sizes = (case.size(), *hidden, case.size() + 1)
    options: dict[str, Any] = {"sizes": case.choice(sizes, list(sizes), np.array(sizes)), "dtype": case.dtype,
                               "activation": case.choice("relu", "identity"), "seed": int(case.rng.integers(99)),
                               "loss": "softmax_cross_entropy"}  # fmt: skip
    if case.rng.random() < 0.3:
        options["input_shift"] = case.choice(0.5, case.rng.integers(-4, 5, sizes[0]) / 4)
        options["input_scale"] = case.choice(2.0, case.rng.integers(1, 5, sizes[0]) / 4)
    if case.spoil and case.rng.random() < 0.3:
        if case.rng.random() < 0.1:  # more than any memory
            options["sizes"] = case.choice((2**62, 2**62), (3, 2**62), (10**30, 3))
            case.names = tuple(options)
        else:
            options = case.spoil_some(options)
        return lambda: MLP(**options), lambda net: None
    net = MLP(**options)
    net.parameters[...] = case.rng.integers(-8, 9, net.parameters.size) / 16
    method = case.choice("logits", "predict_proba", "predict", "score", "loss", "gradient", "fit", "save", "parameters")
    return {"fit": fit, "save": save, "parameters": parameters}.get(method, ask)(case, net, options, method)


def wanted(net: MLP, options: dict[str, Any], X: Any) -> Any:
    X = reference.scale_inputs(X, options.get("input_shift"), options.get("input_scale"))
    return reference.forward(net.weights, net.biases, X, net.activation)[-1]


def ask(case: Case, net: MLP, options: dict[str, Any], method: str) -> Call:
    n = case.size()
    labels, plain = case.labels(n, net.classes)
    a: dict[str, Any] = {"X": case.numbers(n, net.sizes[0])}
    if method in ("score", "loss", "gradient"):
        a["y"] = labels
    if method in ("loss", "gradient"):
        a["l2"] = case.choice(0.0, 0.5, 1)
    a = case.spoil_some(a)

    def check(got: Any) -> None:
        logits = wanted(net, options, a["X"])
        extent = 1 + float(np.abs(logits).max())
        unit = float(np.finfo(net.dtype).eps) * 40 * (sum(net.sizes) + 10) * extent
        if method == "logits":
            near(got, logits, unit)
        elif method == "predict_proba":
            near(got, reference.softmax(logits), unit)
        elif method in ("predict", "score"):
            apart = np.sort(logits, axis=1)[:, -1] - np.sort(logits, axis=1)[:, -2] > unit if net.classes > 1 else True
            classes = got if method == "predict" else net.predict(a["X"])
            if not ((classes == logits.argmax(axis=1)) | ~apart).all():
                raise AssertionError("another class than the reference's")
            if method == "score":
                near(got, np.mean(classes == (plain if plain.ndim == 1 else plain.argmax(axis=1))), 1e-15)
        else:
            compare_gradient(net, options, a, plain, got, unit)

    return lambda: getattr(net, method)(**a), check


def compare_gradient(net: MLP, options: dict[str, Any], a: dict[str, Any], plain: Any, got: Any, unit: float) -> None:
    scaling = {name: options.get(name) for name in ("input_shift", "input_scale")}
    loss, dWs, dbs, dX = reference.gradient(net.weights, net.biases, a["X"], plain, a["l2"], net.activation, **scaling)
    near(got if isinstance(got, float) else got.loss, loss, unit * (1 + abs(loss)))
    if isinstance(got, float):
        return
    for one, other in zip((*got.weights, *got.biases, got.inputs), (*dWs, *dbs, dX), strict=True):
        # Pre-activations are sums of exact numbers through one layer; through more, kinks may flip where they are 0.
        if len(net.sizes) <= 3 or net.activation == "identity":
            near(one, other, unit * 8 * max(1.0, float(np.abs(other).max(initial=0))))
        elif one.shape != other.shape:
            raise AssertionError(f"shape {one.shape}, expected {other.shape}")


def fit(case: Case, net: MLP, options: dict[str, Any], method: str) -> Call:
    n = case.size()
    labels, plain = case.labels(n, net.classes)
    a: dict[str, Any] = {
        "X": case.numbers(n, net.sizes[0]), "y": labels, "epochs": 1, "batch_size": case.choice(1, n, n + 3, 4),
        "learning_rate": case.choice(0.125, 0.0, np.float32(0.25)), "l2": case.choice(0.0, 0.25), "optimizer": "sgd",
        "shuffle": case.choice(False, np.False_, 0, np.int8(0)), "progress": False,
        "callbacks": case.choice((), [lambda net, history: None]),
    }  # fmt: skip
    if case.rng.random() < 0.3:
        a["validation_data"] = (case.numbers(3, net.sizes[0]), case.labels(3, net.classes)[0])
    a = case.spoil_some(a)
    case.errors += (fastbp.DivergenceError,)
    case.names += ("training diverged in epoch",)
    if case.spoil:
        a = {**a, "epochs": 2 if isinstance(a["epochs"], int) and a["epochs"] > 5 else a["epochs"]}  # not for years
        a["progress"] = False  # a bar on the output is no fault
    before = net.parameters.copy()
    Ws, bs = [W.copy() for W in net.weights], [b.copy() for b in net.biases]

    def check(history: Any) -> None:
        scaling = {name: options.get(name) for name in ("input_shift", "input_scale")}
        new_W, new_b, losses = reference.train(Ws, bs, a["X"], plain, np.arange(n), a["batch_size"], a["learning_rate"],
                                               a["l2"], net.activation, **scaling)  # fmt: skip
        size = min(a["batch_size"], n)
        expected = losses @ np.minimum(size, n - size * np.arange(len(losses))) / n
        unit = float(np.finfo(net.dtype).eps) * 1000 * sum(net.sizes) * (1 + expected)
        if len(net.sizes) <= 2 or (len(net.sizes) == 3 and len(losses) == 1):  # else kinks may flip
            near(history.loss, [expected], unit)
            for one, other in zip((*net.weights, *net.biases), (*new_W, *new_b), strict=True):
                near(one, other, unit * max(1.0, float(np.abs(other).max())))
        elif not math.isclose(history.loss[0], expected, rel_tol=0.05, abs_tol=1e-3) and len(losses) == 1:
            raise AssertionError(f"a loss of {history.loss[0]}, expected {expected}")

    def call() -> Any:
        try:
            return net.fit(**a)
        except (ValueError, TypeError):
            if not np.array_equal(bits_of(before), bits_of(net.parameters)):
                raise AssertionError("a refused fit changed the parameters") from None
            raise

    return call, check


def save(case: Case, net: MLP, options: dict[str, Any], method: str) -> Call:
    folder = tempfile.mkdtemp(dir=FOLDER)
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
        if (again.sizes, again.activation, again.dtype) != (net.sizes, net.activation, net.dtype):
            raise AssertionError("another network was loaded than saved")

    return call, check


def parameters(case: Case, net: MLP, options: dict[str, Any], method: str) -> Call:
    a = case.spoil_some({"parameters": case.numbers(net.parameters.size)})

    def call() -> Any:
        net.parameters = a["parameters"]
        return net.parameters

    return call, lambda got: near(got, a["parameters"], 0)


# ---- data and derivatives ----


def datasets(case: Case) -> Call:
    if case.rng.random() < 0.5:
        a = case.spoil_some({"n": case.size(), "seed": int(case.rng.integers(99))})

        def check(got: Any) -> None:
            X, y = got
            near(np.where(X[:, 1] > 0, np.where(X[:, 0] > 0, 0, 1), np.where(X[:, 0] > 0, 3, 2)), y, 0)
            near(len(X), a["n"], 0)

        return lambda: fastbp.datasets.quadrants(**a), check
    y = case.choice(np.arange(40) % 4, (np.arange(30) % 3).tolist(), np.array(list("abab" * 6)))
    a = case.spoil_some({"y": y, "fraction": case.choice(0.25, 0.5), "seed": 3})

    def check_split(got: Any) -> None:
        near(np.sort(np.concatenate(got)), np.arange(len(y)), 0)
        near(len(got[1]), round(a["fraction"] * len(y)), 0)

    return lambda: fastbp.datasets.stratified_split(**a), check_split


def data_files(case: Case) -> Call:
    path = Path(tempfile.mkdtemp(dir=FOLDER)) / case.choice("data.csv", "data.csv.gz", "data.npz", "data.txt")
    X, y = case.rng.integers(-9, 9, (6, 3)) / 2, np.arange(6) % 2
    if path.suffix == ".npz":
        np.savez(path, X=X, y=y)
    elif not case.spoil:
        path = path.with_name("data.csv")
    if path.suffix != ".npz":
        lines = ["u,v,w,t"] + [",".join(map(str, (*row, label))) for row, label in zip(X.tolist(), y, strict=True)]
        path.write_text("\n".join(lines), encoding="utf-8")
    if case.spoil and case.rng.random() < 0.5:
        content = bytearray(path.read_bytes())
        for _ in range(int(case.rng.integers(1, 6))):
            content[int(case.rng.integers(len(content)))] = int(case.rng.integers(256))
        path.write_bytes(content[: int(case.rng.integers(1, len(content) + 1))])
        a: dict[str, Any] = {"path": path}
        case.names += ("path", "target")
    else:
        a = case.spoil_some({"path": path})
        case.names += ("target",)
    case.names += (str(a["path"]), "[Errno")
    case.errors += (OSError,)

    def check(data: Any) -> None:
        near(data.X, X, 0)
        near(data.y, y, 0)

    return lambda: fastbp.datasets.load(**a), check


@np.errstate(over="ignore")
def square_sum(x: Any) -> float:
    return float((x**2).sum())


def gradcheck(case: Case) -> Call:
    x = case.rng.integers(1, 9, case.size()) / 4
    a = case.spoil_some({"function": square_sum, "gradient": case.choice(2 * x, lambda x: 2 * x),
                         "point": x, "rtol": case.choice(None, 1e-6)})  # fmt: skip

    def check(result: Any) -> None:
        near(result.numeric, 2 * x, 1e-6)
        if not result:
            raise AssertionError("a right gradient failed")

    return lambda: fastbp.gradcheck(**a), check


# ---- all of it ----

FACE = {"affine": affine, "backward": backward, "relu": relu, "update": update, "softmax": softmax, "network": network,
        "datasets": datasets, "data files": data_files, "gradcheck": gradcheck}  # fmt: skip
SHARES = np.array([3, 2, 2, 2, 3, 8, 1, 1, 1]) / 23
FOLDER = ""


def named(message: str, names: tuple[str, ...]) -> bool:
    """Whether it begins with an argument and a colon ("X: ", "sizes[1]: ", "target, header: "), or with a file."""
    return any(
        re.match(rf"{name}(\[\d+\])?( in \w+)?[:,] ", message) if name.isidentifier() else message.startswith(name)
        for name in names
    )


def one(seed: int, number: int, counts: collections.Counter[str]) -> str | None:
    """Carry out one call; what was wrong, if anything."""
    rng = np.random.default_rng([seed, number])
    case = Case(rng, spoil=bool(rng.random() < 0.6))
    kind = str(rng.choice(list(FACE), p=SHARES))
    call, check = FACE[kind](case)
    counts[kind] += 1
    signal.alarm(SECONDS)
    try:
        result = call()
        if case.spoil:
            counts["spoiled, taken"] += 1
        else:
            check(result)
            counts["valid, right"] += 1
    except case.errors as error:
        if not case.spoil:
            return f"{kind}: good arguments were refused: {type(error).__name__}: {error}"
        counts["spoiled, refused"] += 1
        if not named(str(error), case.names):
            return f"{kind}: names no argument: {type(error).__name__}: {error}"
    except BaseException as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{kind}: {type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"
    finally:
        signal.alarm(0)
        intact = all(field.intact() for field in case.fields) and all(field.intact(True) for field in case.written)
    return None if intact else f"{kind}: wrote where nothing was to be written"


def late(*_: Any) -> None:
    raise TimeoutError(f"no end after {SECONDS} s")


def main(calls: int, seed: int, first: int = 0) -> int:
    global FOLDER
    faulthandler.enable()
    signal.signal(signal.SIGALRM, late)
    fastbp.threads.layer()
    counts: collections.Counter[str] = collections.Counter()
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as FOLDER, contextlib.chdir(FOLDER):  # an odd path is a file's name to save
        for number in range(first, first + calls):
            wrong = one(seed, number, counts)
            if wrong is not None:
                found.setdefault(wrong[:60], []).append(f"{seed}:{number} {wrong[:300]}")
    for places in found.values():
        print(f"{len(places)} times, first {places[0]}")
    print(f"{calls} calls, seed {seed}: {dict(sorted(counts.items()))}")
    print(f"valid {counts['valid, right'] / calls:.0%}, findings {sum(map(len, found.values()))}")
    print("failed" if found else "ok")
    return 1 if found else 0


if __name__ == "__main__":
    given = sys.argv[1:]
    if given and ":" in given[0]:
        sys.exit(main(1, *map(int, given[0].split(":"))))
    sys.exit(main(*map(int, given)) if len(given) == 2 else main(int(given[0]) if given else 400, 1))

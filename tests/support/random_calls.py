"""Random calls of the whole public face: right where they are valid, an error that names an argument where not.

    PYTHONPATH=tests python tests/support/random_calls.py [calls [seed]]

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
import re
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import numpy as np

import fastbp
from fastbp import reference
from support.random_case import Call, Case, eps_of, near
from support.random_networks import network

SECONDS = 60  # a call takes milliseconds, or seconds where it compiles
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

    case.names += ("len() of",)  # of `len` as the function, which a spoiled one may be

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

"""What ends a training: callbacks, divergence, NaN and infinity in X, Ctrl-C; and its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP
from support.training_cases import DTYPES, rows


def run_python(code: str, timeout: float = 120) -> Any:
    """What a process of its own prints last, as JSON."""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastbp.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-P", "-c", textwrap.dedent(code)], env=environment, capture_output=True,
                          text=True, timeout=timeout, check=False)  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


# ---- callbacks and progress ----


def test_callbacks_see_each_epoch_and_may_end_the_training() -> None:
    X, y = rows(60, (6, 12, 5))
    net, calls = MLP((6, 12, 5), seed=3), []

    def first(network: MLP, history: Any) -> bool:
        calls.append(("first", len(history.loss), network is net, network.parameters.copy()))
        return len(history.loss) == 3

    def second(network: MLP, history: Any) -> str:
        calls.append(("second", len(history.loss), network is net, network.parameters.copy()))
        return "go on"  # true, but not True

    history = net.fit(X, y, epochs=10, callbacks=[first, second])
    assert len(history.loss) == len(history.seconds) == 3
    assert [call[:3] for call in calls] == [(who, epoch, True) for epoch in (1, 2, 3) for who in ("first", "second")]
    for epoch in (1, 2, 3):  # the parameters that they see are those after the epoch
        np.testing.assert_array_equal(calls[2 * epoch - 1][3], trained_for(epoch, X, y).parameters)
    np.testing.assert_array_equal(net.parameters, calls[-1][3])


def trained_for(epochs: int, X: Any, y: Any) -> MLP:
    net = MLP((6, 12, 5), seed=3)
    net.fit(X, y, epochs=epochs)
    return net


def test_what_a_callback_raises_comes_through() -> None:
    X, y = rows(60, (6, 12, 5))
    net = MLP((6, 12, 5), seed=3)

    def fail(network: MLP, history: Any) -> None:
        if len(history.loss) == 2:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        net.fit(X, y, epochs=5, callbacks=(fail,))
    np.testing.assert_array_equal(net.parameters, trained_for(2, X, y).parameters)


def test_a_callback_may_write_into_the_parameters() -> None:
    X, y = rows(60, (6, 12, 5))
    net, twin = MLP((6, 12, 5), seed=3), MLP((6, 12, 5), seed=3)

    def halve(network: MLP, history: Any) -> None:
        network.parameters[...] /= 2

    net.fit(X, y, epochs=2, callbacks=[halve])
    for _ in range(2):
        twin.fit(X, y, epochs=1)
        twin.parameters[...] /= 2
    np.testing.assert_array_equal(net.parameters, twin.parameters)


def test_progress_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = rows(60, (6, 12, 5))

    def shown(progress: bool | None, **options: Any) -> str:
        MLP((6, 12, 5), seed=3).fit(X, y, epochs=2, progress=progress, **options)
        out, err = capsys.readouterr()
        assert out == ""
        return err

    assert "120" in shown(True)  # rows in all
    assert "row/s" in shown(True)
    assert "row/s" in shown(True, callbacks=[lambda net, history: True])  # stopped early
    assert shown(None) == ""  # no terminal
    assert shown(False) == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert "row/s" in shown(None)
    assert shown(False) == ""


@pytest.mark.parametrize("items", [0, 1, 3])
def test_validation_data_is_a_pair(items: int) -> None:
    """Weights for its rows, as Keras takes, are refused by their number: scores know of none."""
    X, y = rows(60, (6, 12, 5))
    net = MLP((6, 12, 5), seed=3)
    before = net.parameters.copy()
    for kind in (tuple, list):
        expected = rf"^validation_data: got {items} items, expected a pair \(X, y\) without weights$"
        with pytest.raises(ValueError, match=expected):
            net.fit(X, y, validation_data=kind((X, y, np.ones(60))[:items]))
    with pytest.raises(TypeError, match=r"^validation_data: got ndarray, expected a pair \(X, y\)$"):
        net.fit(X, y, validation_data=X)  # type: ignore[arg-type]
    np.testing.assert_array_equal(net.parameters, before)


# ---- divergence ----


def test_divergence_keeps_the_parameters_from_before_the_epoch() -> None:
    X, y = rows(60, (6, 12, 5))
    net = MLP((6, 12, 5), seed=3)
    before = net.parameters.copy()
    with pytest.raises(fastbp.DivergenceError, match=r"epoch 1 of 4.*learning_rate"):
        net.fit(X, y, epochs=4, batch_size=10, learning_rate=1e30)
    np.testing.assert_array_equal(net.parameters, before)
    assert np.isfinite(net.predict_proba(X)).all()
    assert net.fit(X, y, epochs=20, batch_size=10).loss[-1] < net.loss(X, np.roll(y, 1))  # it goes on as ever


def test_divergence_names_a_later_epoch() -> None:
    X, y = rows(60, (6, 12, 5))
    for dtype in DTYPES:
        net, kept = MLP((6, 12, 5), seed=3, dtype=dtype), []

        def record(network: MLP, history: Any, kept: Any = kept) -> None:
            if len(history.loss) == 3:
                network.parameters[...] *= np.sqrt(np.finfo(network.dtype).max)
            kept.append(network.parameters.copy())

        with pytest.raises(fastbp.DivergenceError, match="epoch 4 of 9"):
            net.fit(X, y, epochs=9, callbacks=[record])
        assert len(kept) == 3
        assert np.isfinite(net.parameters).all()
        np.testing.assert_array_equal(net.parameters, kept[-1])


def test_a_parameter_that_overflows_is_divergence_too() -> None:
    """With one step an epoch the loss of that step is still finite: the parameters alone tell."""
    net = MLP((2, 3), seed=3)
    before = net.parameters.copy()
    X = np.array([[1e30, -1e30], [1.0, 2.0]], np.float32)
    with pytest.raises(fastbp.DivergenceError, match="epoch 1 of 1"):
        net.fit(X, [2, 0], epochs=1, learning_rate=1e30, shuffle=False)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("option", ["learning_rate", "l2"])
def test_a_rate_beyond_float32_is_refused_or_divergence(option: str) -> None:
    X, y = rows(60, (6, 12, 5))
    net = MLP((6, 12, 5), seed=3)
    before = net.parameters.copy()
    with pytest.raises((ValueError, fastbp.DivergenceError), match=option):
        net.fit(X, y, epochs=1, **{option: 1e300})
    np.testing.assert_array_equal(net.parameters, before)


# ---- NaN and infinity in X ----


def refused(net: MLP, X: Any, y: Any, name: str, **options: Any) -> None:
    before, state = net.parameters.copy(), net.rng.bit_generator.state
    with pytest.raises(ValueError, match=name):
        net.fit(X, y, **options)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.rng.bit_generator.state == state


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4", ">f8", "longdouble"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_in_X_are_refused_at_any_row(dtype: str, kind: str, shuffle: bool) -> None:
    X, y = rows(40, (6, 12, 5), kind)
    net = MLP((6, 12, 5), seed=3, dtype=dtype)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 7, "shuffle": shuffle}
    for row, column, value in ((0, 0, np.nan), (17, 5, np.inf), (39, 2, -np.inf), (39, 5, np.nan)):
        wrong = X.copy()
        wrong[row, column] = value
        refused(net, wrong, y, rf"^X: .*row {row}\b", **options)
        refused(net, X, y, rf"^validation_data\[0\]: .*row {row}\b", validation_data=(wrong, y), **options)
        refused(net, np.asfortranarray(wrong), y, rf"^X: .*row {row}\b", **options)
        for method in (net.predict, net.predict_proba, net.logits):
            with pytest.raises(ValueError, match=rf"^X: .*row {row}\b"):
                method(wrong)
        for method in (net.loss, net.score, net.gradient):
            with pytest.raises(ValueError, match=rf"^X: .*row {row}\b"):
                method(wrong, y)
    net.fit(X, y, **options)  # the right one is taken


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_nan_in_the_last_stage_undoes_what_was_trained(kind: str, scaled: bool, shuffle: bool) -> None:
    sizes = (1024, 3)
    X, y = rows(3000, sizes, kind)
    X[2999, 1023] = np.nan
    net = MLP(sizes, seed=3, input_scale=0.5 if scaled else None)
    refused(net, X, y, r"^X: .*row 2999\b", epochs=1, batch_size=64, shuffle=shuffle)
    refused(net, X[:9], y[:9], r"^validation_data\[0\]: .*row 2999\b", epochs=1, validation_data=(X, y))


def test_a_number_too_large_for_the_compute_dtype_is_infinity() -> None:
    X, y = rows(40, (6, 12, 5), "float64")
    X[11, 3] = 1e300
    refused(MLP((6, 12, 5), seed=3), X, y, r"^X: .*row 11\b")
    refused(MLP((6, 12, 5), seed=3), X.astype(">f8"), y, r"^X: .*row 11\b")
    small = MLP((6, 12, 5), seed=3, dtype="float64", input_scale=1e-300)
    assert np.isfinite(small.predict_proba(X)).all()
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        X = X.astype("longdouble")
        X[11, 3] = np.longdouble("1e4000")
        refused(small, X, y, r"^X: .*row 11\b")


# ---- Ctrl-C ----


def test_ctrl_c_ends_it_within_an_epoch_and_leaves_the_network_usable() -> None:
    result = run_python(
        """
        import json, os, signal, threading, time
        import numpy as np
        import fastbp
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        net = fastbp.MLP((1, 1024, 1024, 10), seed=0)
        X = np.linspace(0, 1, 1_000_000, dtype=np.float32)[:, None]  # one stage, and an epoch of about a minute
        y = np.arange(1_000_000) % 10
        net.fit(X[:256], y[:256], epochs=1, learning_rate=1e-4)
        before = net.parameters.copy()
        sent = []

        def interrupt():
            time.sleep(1.5)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        try:
            net.fit(X, y, epochs=3, learning_rate=1e-4, shuffle=False)
            interrupted = None
        except KeyboardInterrupt:
            interrupted = time.perf_counter() - sent[0]
        changed = bool((net.parameters != before).any())
        finite = bool(np.isfinite(net.parameters).all())
        proba = net.predict_proba(X[:5])
        net.fit(X[:256], y[:256], epochs=1)
        print(json.dumps({"interrupted": interrupted, "changed": changed, "finite": finite, "sum": float(proba.sum())}))
        """
    )
    assert result["interrupted"] is not None
    assert result["interrupted"] < 5  # some 50 ms; the stage would have taken a minute
    assert result["changed"]
    assert result["finite"]
    assert result["sum"] == pytest.approx(5, abs=1e-5)


# ---- memory ----


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_X_is_used_as_it_is() -> None:
    result = run_python(
        """
        import json, resource
        import numpy as np
        import fastbp

        def peak():  # MB
            with open("/proc/self/status") as file:
                high = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
            return max(high, 0) / 1024 if reset else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        net = fastbp.MLP((784, 32, 10), seed=0, input_scale=1 / 255)
        rng = np.random.default_rng(0)
        X = rng.integers(0, 256, (60_000, 784), dtype=np.uint8)
        y = rng.integers(0, 10, 60_000)
        net.fit(X[:300], y[:300], epochs=1)  # compiles, and starts what threads there are
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")  # the peak becomes what is in use now
            reset = True
        except OSError:
            reset = False
        before = peak()
        net.fit(X, y, epochs=2, batch_size=128)
        after = peak()
        net.predict(X)
        print(json.dumps({"before": before, "fit": after - before, "predict": peak() - before, "reset": reset}))
        """
    )
    assert result["before"] > 60_000 * 784 / 2**20
    assert result["fit"] <= 40, result
    assert result["predict"] <= 40, result

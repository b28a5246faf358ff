"""Pickles and copies: a version, the file's contents and what a file lacks; what goes on, goes on in the same bits."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp import MLP, Ensemble, optimizers
from fastbp.model import pickles
from support.comparisons import assert_same_bits

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
Y = RNG.integers(0, 3, 60)


def by_joblib(value: Any, mode: str | None = None) -> Any:
    joblib = pytest.importorskip("joblib")
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(value, f"{folder}/it")
        return joblib.load(f"{folder}/it", mmap_mode=mode)


def by_cloudpickle(value: Any) -> Any:
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(value))


def by_buffers(value: Any) -> Any:
    """As Dask and joblib send arrays: beside the pickle, and read-only on the other side."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(buffer.raw()) for buffer in buffers])


WAYS: dict[str, Callable[[Any], Any]] = {
    **{f"protocol {n}": lambda value, n=n: pickle.loads(pickle.dumps(value, n)) for n in range(6)},
    "in Python": lambda value: pickle._loads(pickle._dumps(value)),  # type: ignore[attr-defined]
    "buffers": by_buffers, "deepcopy": copy.deepcopy, "joblib": by_joblib, "cloudpickle": by_cloudpickle,
    "joblib, mapped": lambda value: by_joblib(value, "r"),
}  # fmt: skip
SETTINGS: list[dict[str, Any]] = [
    {}, {"dtype": "float64", "activation": ("tanh",), "input_shift": 0.5, "input_scale": np.linspace(1, 2, 5)},
    {"loss": "huber", "huber_delta": 0.5, "activation": "leaky_relu", "leaky_slope": 0.2},
]  # fmt: skip
STEPS: dict[str, Callable[[MLP, Any], Any]] = {
    "partial_fit, adam": lambda net, y: net.partial_fit(X, y, 20, optimizer="adam", dropout=0.25),
    "partial_fit, momentum": lambda net, y: net.partial_fit(X, y, 20, optimizer=optimizers.Momentum(0.5)),
    "fit": lambda net, y: net.fit(X, y, epochs=2, batch_size=20, dropout=0.25),
}  # fmt: skip


def targets(net: MLP) -> Any:
    return Y if net.loss_name == "softmax_cross_entropy" else X[:, :3]


def same(one: MLP, other: MLP) -> None:
    assert_same_bits(one.parameters, other.parameters)
    assert one.rng.bit_generator.state["bit_generator"] == other.rng.bit_generator.state["bit_generator"]
    assert_same_bits(copy.deepcopy(one.rng).integers(2**62, size=9), copy.deepcopy(other.rng).integers(2**62, size=9))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", STEPS)
def test_what_comes_after_a_copy_has_the_same_bits(step: str, way: str) -> None:
    for settings in SETTINGS:
        straight = MLP((5, 6, 3), seed=4, **settings)
        y = targets(straight)
        STEPS[step](straight, y)
        twin = WAYS[way](straight)
        assert not np.shares_memory(twin.parameters, straight.parameters)
        same(twin, straight)
        before = straight.parameters.copy()
        STEPS[step](twin, y)
        assert_same_bits(straight.parameters, before)
        STEPS[step](straight, y)
        same(twin, straight)
        assert repr(twin) == repr(straight)
        assert_same_bits(twin.outputs(X), straight.outputs(X))


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_any_generator_goes_on(kind: str) -> None:
    net = MLP((5, 3), seed=np.random.Generator(getattr(np.random, kind)(4)))
    net.fit(X, Y, epochs=1)
    net.rng.random(dtype=np.float32)  # half of a number is left over
    twin = pickle.loads(pickle.dumps(net))
    same(twin, net)
    for each in (net, twin):
        each.fit(X, Y, epochs=2, batch_size=7)
    same(twin, net)


def test_a_generator_that_is_shared_stays_so() -> None:
    rng = np.random.default_rng(5)
    nets = [MLP((5, 3), seed=rng), MLP((5, 3), seed=rng)]
    twins = pickle.loads(pickle.dumps(nets))
    assert twins[0].rng is twins[1].rng
    assert copy.deepcopy(nets)[0].rng is not rng


def test_everything_else_is_kept(tmp_path: Path) -> None:
    net = MLP((5, 6, 3), ("silu",), seed=7)
    net.class_names, net.target_name = tuple("abc"), "kind"
    net.feature_names = tuple("vwxyz")
    net.note = {"by": "hand"}  # type: ignore[attr-defined]
    for way in WAYS.values():
        twin = way(net)
        for name in ("sizes", "activation", "class_names", "feature_names", "target_name", "note"):
            assert getattr(twin, name) == getattr(net, name)
    net.fit(X, Y, epochs=1, checkpoint=tmp_path / "run.npz")  # the seed tells one run from another
    again = pickle.loads(pickle.dumps(MLP((5, 6, 3), ("silu",), seed=7)))
    assert len(again.fit(X, Y, epochs=1, checkpoint=tmp_path / "run.npz").loss) == 1
    with pytest.raises(fastbp.CheckpointError, match="seed"):
        pickle.loads(pickle.dumps(MLP((5, 6, 3), ("silu",), seed=8))).fit(
            X, Y, epochs=1, checkpoint=tmp_path / "run.npz"
        )


def test_parameters_that_are_not_finite_are_kept_too() -> None:
    net = MLP((5, 3), seed=0)
    net.parameters[:3] = np.nan, np.inf, -np.inf
    assert_same_bits(pickle.loads(pickle.dumps(net)).parameters, net.parameters)


class Noted(MLP):
    """A subclass with arguments, attributes and a state of its own."""

    def __init__(self, note: str):
        super().__init__((5, 3), seed=0)
        self.note, self.me, self.scratch = note, self, object()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["more"]["scratch"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.scratch = None


def test_a_subclass_keeps_what_it_adds() -> None:
    net = Noted("mine")
    net.fit(X, Y, epochs=1)
    for way in (WAYS["protocol 2"], WAYS["deepcopy"], WAYS["joblib"]):
        twin = way(net)
        assert type(twin) is Noted
        assert (twin.note, twin.me, twin.scratch) == ("mine", twin, None)
        same(twin, net)
    shared = copy.copy(net)
    assert (type(shared), shared.note, shared.me) == (Noted, "mine", net)


def test_a_class_that_no_module_has_goes_by_cloudpickle() -> None:
    class Local(MLP):
        pass

    net = Local((5, 3), seed=0)
    net.note = 3  # type: ignore[attr-defined]
    twin = by_cloudpickle(net)
    assert twin.note == 3
    same(twin, net)


def test_a_shallow_copy_is_the_same_network() -> None:
    net = MLP((5, 6, 3), seed=0)
    net.partial_fit(X, Y, optimizer="adam")
    twin = copy.copy(net)
    assert type(twin) is MLP
    assert twin is not net
    assert twin.parameters is net.parameters and twin.rng is net.rng and twin.model.lock is net.model.lock
    assert twin._memory is net._memory
    twin.class_names = tuple("abc")
    assert net.class_names is None


def _trained(net: MLP) -> MLP:
    net.partial_fit(X, Y, optimizer="adam")
    return net


def test_another_process_goes_on() -> None:
    net = _trained(MLP((5, 6, 3), seed=0))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(_trained, (net,))
    same(found, _trained(net))


# ---- ensembles and estimators ----


def test_ensembles() -> None:
    ensemble = Ensemble([MLP((5, 3), seed=0), MLP((5, 4, 3), seed=1, dtype="float64")])
    ensemble.note = "mine"  # type: ignore[attr-defined]
    _trained(ensemble.networks[0])
    for way in WAYS.values():
        twin = way(ensemble)
        assert (twin.note, len(twin), repr(twin)) == ("mine", 2, repr(ensemble))
        assert_same_bits(twin.outputs(X), ensemble.outputs(X))
        assert twin.score(X, Y) == ensemble.score(X, Y)
        same(_trained(twin.networks[0]), _trained(copy.deepcopy(ensemble.networks[0])))


def estimators() -> list[Any]:
    pytest.importorskip("sklearn")
    options: dict[str, Any] = {"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 4}
    return [
        fastbp.MLPClassifier(**options), fastbp.MLPClassifier(solver="sgd", **options),
        fastbp.MLPClassifier(solver="sgd", momentum=0, dropout=0.25, **options),
        fastbp.MLPRegressor(loss="huber", dtype="float32", **options),
        fastbp.MLPRegressor(solver="sgd", nesterovs_momentum=False, early_stopping=True, **options),
        fastbp.MLPRegressor(solver="lbfgs", **options),
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:lbfgs failed to converge")
@pytest.mark.parametrize("way", ["protocol 0", "buffers", "deepcopy", "joblib, mapped", "cloudpickle"])
def test_estimators_go_on(way: str) -> None:
    for number, one in enumerate(estimators()):
        assert WAYS[way](one).get_params() == one.get_params()  # not fitted yet
        one.fit(X, Y)
        partial = one.solver != "lbfgs" and not one.early_stopping
        if partial:
            one.partial_fit(X, Y)
        twin = WAYS[way](one)
        assert_same_bits(twin.predict(X), one.predict(X))
        assert np.shares_memory(twin.coefs_[0], twin.network_.parameters)
        for _ in range(2):
            for each in (one, twin):
                each.partial_fit(X, Y) if partial else each.fit(X, Y)
            same(twin.network_, one.network_), number
            assert_same_bits(twin.predict(X), one.predict(X))
        assert copy.copy(one).network_ is not one.network_


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_change_of_parameters_in_the_middle_does_not_reach_the_optimizer() -> None:
    one = estimators()[0].fit(X, Y).set_params(beta_1=0.5, solver="sgd")
    twin = pickle.loads(pickle.dumps(one))
    assert one._update.beta_1 == twin._update.beta_1 == 0.9
    for each in (one, twin):
        each.partial_fit(X, Y)
    same(twin.network_, one.network_)


# ---- what a pickle names ----


def named(value: Any) -> set[tuple[str, str]]:
    """The globals that its pickle names."""
    found = set()
    data = pickle.dumps(value, protocol=2)  # which has each as one operation
    for operation, argument, _ in pickletools.genops(data):
        if operation.name == "GLOBAL":
            module, name = str(argument).split(" ")
            found.add((module, name))
    pickle.loads(data)
    return found


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer", "ignore:lbfgs failed to converge")
def test_a_pickle_names_no_module_within() -> None:
    fitted = [_trained(MLP((5, 6, 3), seed=0, input_shift=1.0)), Ensemble([MLP((5, 3), seed=0)])]
    fitted += [estimator.fit(X, Y) for estimator in estimators()]
    public = {("fastbp", "_blank"), ("fastbp.optimizers", "Adam")}
    for value in fitted:
        ours = {each for each in named(value) if each[0].split(".")[0] == "fastbp"}
        assert ours <= public
        others = {module.split(".")[0] for module, _ in named(value)} - {"fastbp"}
        assert others <= {"numpy", "sklearn", "copyreg", "_codecs", "__builtin__", "builtins"}
    assert {module.split(".")[0] for module, _ in named(fitted[0])} <= {"fastbp", "numpy", "_codecs", "__builtin__"}


def test_a_pickle_is_no_larger_than_what_it_holds() -> None:
    net = MLP((100, 200, 3), seed=0)
    assert len(pickle.dumps(net)) < net.parameters.nbytes + 3000
    net.partial_fit(np.ones((4, 100)), [0, 1, 2, 0], optimizer="adam")
    assert len(pickle.dumps(net)) < 4 * net.parameters.nbytes + 4000


# ---- versions ----


def test_another_version_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    written = [MLP((5, 3), seed=0), Ensemble([MLP((5, 3), seed=0)]), estimators()[0]]
    monkeypatch.setattr(pickles, "VERSION", 7)
    monkeypatch.setattr(pickles, "__version__", "9.8")
    data = [pickle.dumps(value) for value in written]
    monkeypatch.undo()
    for name, content in zip(("MLP", "MLP", "MLPClassifier"), data, strict=True):
        with pytest.raises(pickle.UnpicklingError) as error:
            pickle.loads(content)
        text = str(error.value)
        assert text.startswith(
            f"{name}: got a pickle of fastbp 9.8, version 7, expected version {pickles.VERSION}, as "
        )
        assert "\n" not in text


# A network that `pickle` wrote before there was a version, without the rest of its attributes.
OLD = b"\x80\x02cfastbp.network\nMLP\nq\x00)\x81q\x01}q\x02X\x05\x00\x00\x00sizesq\x03K\x05K\x03\x86q\x04sb."


def test_pickles_of_before_are_refused_in_one_sentence() -> None:
    with pytest.raises(
        pickle.UnpicklingError, match="^MLP: got a pickle of an early fastbp, without a version, expected"
    ):
        pickle.loads(OLD)
    estimator = estimators()[0]
    state = estimator.get_params()
    with pytest.raises(pickle.UnpicklingError, match="^MLPClassifier: got a pickle of an early fastbp"):
        estimator.__setstate__(state)


def test_only_classes_of_fastbp_are_made_by_name() -> None:
    assert type(fastbp._blank("MLP")) is MLP
    assert type(fastbp._blank(Noted)) is Noted
    buffer = io.BytesIO()
    pickle.dump(MLP((5, 3), seed=0), buffer)
    assert b"fastbp.network" not in buffer.getvalue()

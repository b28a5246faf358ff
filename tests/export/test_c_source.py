"""Networks as C files: compiled, they answer as fastbp does, bit for bit as without fused multiply-adds."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp
from fastbp.cli import main
from fastbp.kernels.target import FAMILY
from support.c_programs import STRICT, Program, compiled, needs_compiler, program
from support.comparisons import assert_same_bits
from support.exported_cases import DTYPES, Case, activation_cases, cases, network_cases, rows
from support.networks import close, network
from support.processes import TESTS, python

pytestmark = needs_compiler
GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "model.c"


@pytest.mark.parametrize("case", list(activation_cases()), ids=lambda case: case.name)
def test_activations_to_rounding(case: Case, tmp_path: Path) -> None:
    """A rounded square costs the normal distribution's tail x^2/2 ulp."""
    limits = np.finfo(case.net.dtype)
    with np.errstate(over="ignore"):
        wanted = case.net.outputs(case.X)
    found = program(case.net, tmp_path).rows("fastbp_predict", case.X, 1)
    np.testing.assert_allclose(found, wanted, 1024 * limits.eps, float(limits.tiny))


@pytest.mark.parametrize("case", list(network_cases()), ids=lambda case: case.name)
def test_networks_to_rounding(case: Case, tmp_path: Path) -> None:
    found = program(case.net, tmp_path)
    length = 16 * sum(case.net.sizes)
    for function, method in (("fastbp_logits", case.net.logits), ("fastbp_predict", case.net.outputs)):
        answers = found.rows(function, case.X, case.net.classes)
        close(answers, method(case.X), case.net.dtype.name, length)


@pytest.mark.slow
@pytest.mark.skipif(FAMILY != "x86_64", reason="every other target that fastbp knows has fused multiply-adds")
@pytest.mark.parametrize("options", [STRICT, ("-std=c99", "-ffp-contract=off", "-O3", "-march=native")], ids=" ".join)
def test_the_bits_of_a_processor_without_fused_multiply_adds(
    options: tuple[str, ...], generic: Path, tmp_path: Path
) -> None:
    for number, case in enumerate(cases()):
        folder = tmp_path / str(number)  # a library of each: one that is loaded stays so
        folder.mkdir()
        found = program(case.net, folder, *options)
        with np.load(generic / f"{number}.npz") as wanted:
            for function, name in (("fastbp_logits", "logits"), ("fastbp_predict", "outputs")):
                answers = found.rows(function, case.X, case.net.classes)
                assert_same_bits(answers, wanted[name])
            assert_same_bits(answers[:1], wanted["first"])


@pytest.fixture(scope="module")
def generic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the answers of a process that is compiled for no processor in particular."""
    folder = tmp_path_factory.mktemp("answers")
    environment = {"NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("cache")), **GENERIC}
    done = python(TESTS / "support/exported_cases.py", str(folder), env=environment, timeout=300.0)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_class_is_that_of_the_largest_logit(tmp_path: Path) -> None:
    net = network((6, 12, 5))
    X = rows(net, 200)
    net.weights[-1][:, 3], net.biases[-1][[1, 3]] = net.weights[-1][:, 1], 2.0  # ties
    assert (net.predict(X) == 1).any()
    assert (program(net, tmp_path).classes(X) == net.predict(X)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_numbers_are_exact(dtype: str, source: Path) -> None:
    net = network((4, 7, 3), dtype)
    net.to_c(source)
    text = source.read_text(encoding="ascii")
    for name, array in (("weights_1", net.weights[0]), ("biases_2", net.biases[1])):
        numbers = re.search(rf"{name}\[\d+\] = \{{(.*?)\}};", text, re.DOTALL)
        assert numbers is not None
        found = [float.fromhex(number.strip().rstrip("f")) for number in numbers[1].split(",")[:-1]]
        assert_same_bits(np.array(found, dtype), array.ravel())


def test_names(tmp_path: Path) -> None:
    names = ['a "quoted" one', "back\\slash ??/ and */", "été; vert 猫"]
    net = network((2, 4, 3))
    net.class_names, net.feature_names = names, ["width", "%d"]
    found = program(net, tmp_path)
    assert found.names("fastbp_class_names", 3) == names
    assert found.names("fastbp_feature_names", 2) == ["width", "%d"]
    assert found.rows("fastbp_predict", rows(net), 3).shape == (40, 3)


@pytest.mark.parametrize("option", ["-ffast-math", "-D__FLT_EVAL_METHOD__=2"])
def test_arithmetic_of_another_kind_is_refused(option: str, source: Path) -> None:
    network((2, 4, 3)).to_c(source)
    assert compiled(source, "-std=c99", "-fsyntax-only").returncode == 0
    done = compiled(source, "-std=c99", "-fsyntax-only", *(["-U__FLT_EVAL_METHOD__"] * ("=" in option)), option)
    assert done.returncode != 0 and "rounds every result to its type" in done.stderr


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = network((3, 5, 2))
    net.save(tmp_path / "model.npz")
    main(["export", str(tmp_path / "model.npz"), str(tmp_path / "model.c")])
    assert capsys.readouterr().out == f"model saved as {tmp_path / 'model.c'}\n"
    close(Program(tmp_path / "model.c").rows("fastbp_predict", rows(net), 2), net.outputs(rows(net)), "float32", 100)


def with_embeddings() -> fastbp.MLP:
    return fastbp.MLP((3, 4, 2), embeddings={2: (5, 3)}, seed=0)


def with_nan() -> fastbp.MLP:
    net = network((3, 4, 2))
    net.weights[0][1, 1] = np.nan
    return net


def with_sine() -> fastbp.MLP:
    return fastbp.MLP((3, 4, 2), (math.sin, math.cos), seed=0)


def with_square_root() -> fastbp.MLP:
    root = fastbp.Activation("root", lambda x: math.sqrt(1 + x * x), lambda x: x / math.sqrt(1 + x * x))
    return fastbp.MLP((3, 4, 2), root, seed=0)


@pytest.mark.parametrize(
    "make, said",
    [
        (with_embeddings, "embeddings"),
        (with_nan, "NaN or infinity"),
        (with_sine, "calls sin"),
        (with_square_root, "calls sqrt"),
    ],
)
def test_what_is_refused(make: Any, said: str, source: Path) -> None:
    with pytest.raises(ValueError, match=f"^to_c: got .*{said}"):
        make().to_c(source)
    assert not source.exists()

"""`import fastbp` brings every public name, loads what is heavy on first use, and says what an optional part needs."""

from __future__ import annotations

import json
import pydoc

import pytest

import fastbp
from support.lanes import in_lanes
from support.processes import python, run_python

MODULES = ("distributed", "graph", "lessons", "plotting", "verify")  # not loaded before they are asked for
ESTIMATORS = ("MLPClassifier", "MLPRegressor")
WITHOUT = "import sys; sys.modules.update(dict.fromkeys(['matplotlib', 'sklearn', 'mpi4py']))\n"  # an import fails


@pytest.mark.parametrize("name", in_lanes(MODULES, fast=["graph", "plotting"]))
def test_a_module_is_an_attribute_after_a_plain_import(name: str) -> None:
    code = f"import fastbp, sys; print('fastbp.{name}' in sys.modules, fastbp.{name}.__name__)"
    assert run_python(code).split() == ["False", f"fastbp.{name}"]


def test_names() -> None:
    """`dir` lists them all, and `help` can load what `dir` lists."""
    names = dir(fastbp)
    assert set(names) == {*fastbp.__all__, *MODULES, *ESTIMATORS}
    assert all(hasattr(fastbp, name) for name in names)
    assert not hasattr(fastbp, "nonsense")
    assert callable(fastbp.search), "the function, not its module"
    pydoc.render_doc(fastbp)


def test_a_wrong_name() -> None:
    with pytest.raises(AttributeError, match="^module 'fastbp' has no attribute 'nonsense'$"):
        fastbp.nonsense  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nonsense' from 'fastbp'"):
        from fastbp import nonsense  # noqa: F401


def test_neither_import_loads_what_is_optional() -> None:
    code = """
import sys
before = set(sys.modules)
from fastbp import *
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before} & {"matplotlib", "sklearn", "mpi4py"}))
print(MLP.__name__)
"""
    assert run_python(code).splitlines() == ["[]", "MLP"]


@pytest.mark.parametrize(
    "code, said",
    [
        ("fastbp.plotting", "ModuleNotFoundError: fastbp.plotting: needs matplotlib: pip install 'fastbp[plot]'"),
        ("from fastbp import plotting", "ModuleNotFoundError: fastbp.plotting: needs matplotlib: pip install 'fastbp["),
        ("fastbp.MLPRegressor", "ImportError: fastbp's estimators need scikit-learn: pip install 'fastbp[sklearn]'"),
        ("fastbp.distributed.fit(fastbp.MLP((1, 2)), [[0.0]], [0])",
         "ModuleNotFoundError: fastbp.distributed: got"),
    ],
)  # fmt: skip
def test_what_a_missing_package_is_needed_for(code: str, said: str) -> None:
    done = python(f"{WITHOUT}import fastbp\n{code}")
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]


def test_without_optional_packages() -> None:
    code = "import fastbp, json, pydoc; pydoc.render_doc(fastbp); print(json.dumps(dir(fastbp)))"
    names = json.loads(run_python(WITHOUT + code))
    assert set(names) == {*dir(fastbp)} - {"plotting", *ESTIMATORS}

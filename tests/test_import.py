"""`import fastbp` brings every public name, loads what is heavy on first use, and says what an optional part needs."""

from __future__ import annotations

import ast
import inspect
import json
import os
import pickle
import pydoc

import pytest

import fastbp
from support.lanes import in_lanes
from support.processes import python, run_python

# Not loaded before they are asked for.
MODULES = ("distributed", "graph", "lessons", "onnx", "plotting", "tables", "verify")
ESTIMATORS = ("MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor")
OPTIONAL = ["matplotlib", "sklearn", "mpi4py", "onnx", "skl2onnx"]
WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL}))\n"  # an import fails


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


def test_a_plain_import_loads_nothing() -> None:
    loaded = set(run_python("import fastbp, sys; print(*sys.modules)").split())
    assert not loaded & {"numpy", "numba", "llvmlite", "fastbp.network", "fastbp.kernels", "fastbp.threads"}


def test_a_name_is_looked_up_once() -> None:
    code = """
    import fastbp
    assert "MLP" not in vars(fastbp)
    first = [getattr(fastbp, name) for name in fastbp.__all__]
    del fastbp.__getattr__
    assert all(getattr(fastbp, name) is value for name, value in zip(fastbp.__all__, first, strict=True))
    import fastbp.network
    assert fastbp.MLP is fastbp.network.MLP
    """
    run_python(inspect.cleandoc(code))


def test_type_checkers_find_each_name_where_it_is() -> None:
    """What stands under TYPE_CHECKING says of each name what the table says."""
    tree = ast.parse(inspect.getsource(fastbp))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(block.body)
    seen = {alias.name: node.module or "" for node in imports for alias in node.names}
    assert seen == {name: module for name, module in fastbp._WHERE.items() if not name.startswith("_")}
    assert {*fastbp.__all__, *MODULES, *ESTIMATORS} == {*seen, "__version__"}


@pytest.mark.parametrize("code", ["import fastbp.optimizers; fastbp.optimizers.Adam()",
                                  "import fastbp; fastbp.datasets.Dataset; fastbp.datasets.load",
                                  "from fastbp.datasets import *; Dataset, load, quadrants(3, 0)",
                                  "from fastbp import MLP, threads; MLP((2, 3, 2)); threads.count()"])  # fmt: skip
def test_ways_to_import(code: str) -> None:
    run_python(code)


def test_a_pickle_is_all_that_a_process_needs() -> None:
    text = pickle.dumps(fastbp.MLP((2, 3, 2), seed=0)).hex()
    assert run_python(f"import pickle; print(pickle.loads(bytes.fromhex('{text}')))") == "MLP((2, 3, 2))\n"


DIGITS = """
import sys
import fastbp
X, y = fastbp.datasets.load_digits()
net = fastbp.MLP((64, 100, 10), seed=0)
net.{call}
print(*sys.modules)
"""
NEEDLESS = {  # by a network of rows in memory; of fastbp's subpackages, what trains on other rows
    "argparse", "concurrent.futures", "csv", "importlib.metadata", "json", "numba", "tqdm",
    "fastbp.compile_ahead", "fastbp.distributed", "fastbp.estimators", "fastbp.functional", "fastbp.graph",
    "fastbp.model_selection", "fastbp.numeric_gradients", "fastbp.reference", "fastbp.verify",
    "fastbp.datasets.readers", "fastbp.inputs.blocks", "fastbp.inputs.sources", "fastbp.kernels.compiler",
    "fastbp.kernels.jit", "fastbp.model.npz_file", "fastbp.training.checkpoints",
}  # fmt: skip


def test_a_network_loads_what_it_needs() -> None:
    for call, more in (("fit(X, y, epochs=1)", set()), ("predict(X)", {"fastbp.optimizers", "fastbp.training.loop"})):
        code = DIGITS.format(call=call)
        for _ in range(2):  # so that everything is compiled, by the second what Python's own threads need
            run_python(code)
        assert not set(run_python(code).split()) & (NEEDLESS | more), call


def test_the_command_loads_what_it_needs() -> None:
    code = "import sys; from fastbp.cli import main\ntry: main(['{word}'])\nfinally: print(); print(*sys.modules)"
    for word in ("--help", "--version"):
        loaded = set(run_python(code.format(word=word)).splitlines()[-1].split())
        assert "fastbp.cli.parser" in loaded and "numpy" not in loaded
    loaded = set(run_python(code.format(word="learn")).splitlines()[-1].split())
    assert "fastbp.cli.lessons" in loaded and not loaded & {"fastbp.cli.training", "fastbp.cli.predictions"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_after_a_plain_import_is_serial() -> None:
    code = """
    import fastbp, os
    if os.fork() == 0:
        os._exit(7 if fastbp.threads.count() == 1 else 1)
    print(os.waitstatus_to_exitcode(os.wait()[1]), fastbp.threads.several_allowed())
    """
    assert run_python(inspect.cleandoc(code), {"NUMBA_NUM_THREADS": "2"}).split() == ["7", "True"]


def test_a_wrong_name() -> None:
    with pytest.raises(AttributeError, match="^module 'fastbp' has no attribute 'nonsense'$"):
        fastbp.nonsense  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nonsense' from 'fastbp'"):
        from fastbp import nonsense  # noqa: F401


def test_neither_import_loads_what_is_optional() -> None:
    code = f"""
import sys
before = set(sys.modules)
from fastbp import *
print(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}.intersection({OPTIONAL})))
import fastbp
print(all(globals()[name] is getattr(fastbp, name) for name in fastbp.__all__))
"""
    assert run_python(code).splitlines() == ["[]", "True"]


@pytest.mark.parametrize(
    "code, said",
    [
        ("fastbp.plotting", "ModuleNotFoundError: fastbp.plotting: needs matplotlib: pip install 'fastbp[plot]'"),
        ("from fastbp import plotting", "ModuleNotFoundError: fastbp.plotting: needs matplotlib: pip install 'fastbp["),
        ("fastbp.MLPRegressor", "ImportError: fastbp's estimators need scikit-learn: pip install 'fastbp[sklearn]'"),
        ("fastbp.MLP((1, 2)).to_onnx('net.onnx')",
         "ModuleNotFoundError: to_onnx: needs onnx: pip install 'fastbp[onnx]'"),
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

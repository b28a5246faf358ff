"""fastbp: multilayer perceptrons trained on the CPU by compiled back-propagation.

    net = fastbp.MLP((784, 512, 256, 10), seed=0)
    history = net.fit(X, y, epochs=10, batch_size=128, learning_rate=0.1, l2=1e-4)
    net.score(X_test, y_test)

Modules and names are loaded on first access:

- `fastbp.optimizers`, `fastbp.learning_rates` and `fastbp.averaging`: optimizers, learning-rate schedules and averages
  of the parameters for `MLP.fit`.
- `fastbp.datasets`: data sets and readers of files.
- `fastbp.kernels`: the kernels, for a user's own ``@njit`` code.
- `fastbp.threads`: the number of threads.
- `fastbp.reference`: the same mathematics in plain NumPy.
- `fastbp.TabularClassifier` and `fastbp.TabularRegressor`: tables as they are, for scikit-learn, which must be
  installed; `fastbp.TableModel`: their models, without it.
- `fastbp.MLPClassifier` and `fastbp.MLPRegressor`: replacements for scikit-learn's.
- `fastbp.distributed`: training over MPI.
- `fastbp.graph`: the chain rule, node by node.
- `fastbp.onnx`: the estimators for skl2onnx.
- `fastbp.plotting`, `fastbp.lessons`, `fastbp.verify`.
"""

from typing import TYPE_CHECKING, Any

from . import fork_hook as _fork_hook  # noqa: F401 (before there is any thread or lock)
from .lazy_names import load as _load
from .version import __version__

if TYPE_CHECKING:
    from . import averaging, datasets, kernels, learning_rates, optimizers, reference, threads
    from . import distributed as distributed
    from . import graph as graph
    from . import lessons as lessons
    from . import onnx as onnx
    from . import plotting as plotting
    from . import tables as tables
    from . import verify as verify
    from .compile_ahead import warmup
    from .conversions import from_sklearn, from_torch
    from .estimators import MLPClassifier as MLPClassifier
    from .estimators import MLPRegressor as MLPRegressor
    from .estimators.tabular import TabularClassifier as TabularClassifier
    from .estimators.tabular import TabularRegressor as TabularRegressor
    from .functional import (
        affine_backward,
        affine_forward,
        affine_relu_forward,
        relu_backward,
        relu_forward,
        sgd_update,
        softmax_cross_entropy,
    )
    from .inputs.in_memory import StreamError
    from .model.evaluation import Derivatives, Gradient, SampleGradients
    from .model.npz_file import CheckpointError
    from .model_selection.cross_validation import CrossValidation, cross_validate
    from .model_selection.ensemble import Ensemble
    from .model_selection.fitting import fit_many
    from .model_selection.search import Search, search
    from .network import MLP, load
    from .numeric_gradients.check import gradcheck
    from .own_formulas.formulas import Activation, Loss
    from .tables.model import TableModel
    from .training.history import History
    from .training.optimizer_state import OptimizerState
    from .training.plan import DivergenceError

__all__ = [
    "MLP",
    "Activation",
    "CheckpointError",
    "CrossValidation",
    "Derivatives",
    "DivergenceError",
    "Ensemble",
    "Gradient",
    "History",
    "Loss",
    "OptimizerState",
    "SampleGradients",
    "Search",
    "StreamError",
    "TableModel",
    "__version__",
    "affine_backward",
    "affine_forward",
    "affine_relu_forward",
    "averaging",
    "cross_validate",
    "datasets",
    "fit_many",
    "from_sklearn",
    "from_torch",
    "gradcheck",
    "kernels",
    "learning_rates",
    "load",
    "optimizers",
    "reference",
    "relu_backward",
    "relu_forward",
    "search",
    "sgd_update",
    "softmax_cross_entropy",
    "threads",
    "warmup",
]

# The module of each name; `lazy_names` explains the form.
_WHERE = {
    "Activation": "own_formulas.formulas",
    "CheckpointError": "model.npz_file",
    "CrossValidation": "model_selection.cross_validation",
    "Derivatives": "model.evaluation",
    "DivergenceError": "training.plan",
    "Ensemble": "model_selection.ensemble",
    "Gradient": "model.evaluation",
    "History": "training.history",
    "Loss": "own_formulas.formulas",
    "MLP": "network",
    "OptimizerState": "training.optimizer_state",
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "TableModel": "tables.model",
    "TabularClassifier": "estimators.tabular",
    "TabularRegressor": "estimators.tabular",
    "SampleGradients": "model.evaluation",
    "Search": "model_selection.search",
    "StreamError": "inputs.in_memory",
    "_blank": "model.pickles:blank",  # pickles find it here
    "affine_backward": "functional",
    "affine_forward": "functional",
    "affine_relu_forward": "functional",
    "cross_validate": "model_selection.cross_validation",
    "fit_many": "model_selection.fitting",
    "from_sklearn": "conversions",
    "from_torch": "conversions",
    "gradcheck": "numeric_gradients.check",
    "load": "network",
    "relu_backward": "functional",
    "relu_forward": "functional",
    "search": "model_selection.search",
    "sgd_update": "functional",
    "softmax_cross_entropy": "functional",
    "warmup": "compile_ahead",
}
_WHERE |= dict.fromkeys(
    ["averaging", "datasets", "distributed", "graph", "kernels", "learning_rates", "lessons", "onnx", "optimizers",
     "plotting", "reference", "tables", "threads", "verify"],
    "",
)  # fmt: skip
# Not in `__all__`, since a star import would load them: scikit-learn and matplotlib, which are optional, take a second.
_ASIDE = dict.fromkeys(["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"], "sklearn")
_ASIDE |= {"plotting": "matplotlib"}
_ASIDE |= dict.fromkeys(["distributed", "graph", "lessons", "onnx", "tables", "verify"], "")


def __getattr__(name: str) -> Any:
    return _load(__name__, _WHERE, name)


def __dir__() -> list[str]:
    """Return the public names except those whose package is missing: `help` accesses every name listed here."""
    from importlib.util import find_spec  # 2 ms

    aside = [name for name, package in _ASIDE.items() if not package or find_spec(package)]
    return sorted([*__all__, *aside])

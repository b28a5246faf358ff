"""fastbp: multilayer perceptrons trained on the CPU by compiled back-propagation.

    net = fastbp.MLP((784, 512, 256, 10), seed=0)
    history = net.fit(X, y, epochs=10, batch_size=128, learning_rate=0.1, l2=1e-4)
    net.score(X_test, y_test)

Modules:

- `fastbp.optimizers` and `fastbp.learning_rates`: optimizers and learning-rate schedules for `MLP.fit`.
- `fastbp.datasets`: data sets and readers of files.
- `fastbp.kernels`: the kernels, for a user's own ``@njit`` code.
- `fastbp.threads`: the number of threads.
- `fastbp.reference`: the same mathematics in plain NumPy.

Loaded on first access:

- `fastbp.MLPClassifier` and `fastbp.MLPRegressor`: replacements for scikit-learn's, which must be installed.
- `fastbp.distributed`: training over MPI.
- `fastbp.graph`: the chain rule, node by node.
- `fastbp.plotting`, `fastbp.lessons`, `fastbp.verify`.
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING, Any

from . import datasets, kernels, learning_rates, optimizers, reference, threads
from .compile_ahead import warmup
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
from .model.evaluation import Gradient, SampleGradients
from .model.npz_file import CheckpointError
from .model.pickles import blank as _blank  # noqa: F401 (pickles find it here)
from .model_selection.cross_validation import CrossValidation, cross_validate
from .model_selection.ensemble import Ensemble
from .model_selection.fitting import fit_many
from .model_selection.search import Search, search
from .network import MLP, load
from .numeric_gradients.check import gradcheck
from .training.history import History
from .training.plan import DivergenceError
from .version import __version__

if TYPE_CHECKING:
    from . import distributed as distributed
    from . import graph as graph
    from . import lessons as lessons
    from . import plotting as plotting
    from . import verify as verify
    from .estimators import MLPClassifier as MLPClassifier
    from .estimators import MLPRegressor as MLPRegressor

__all__ = [
    "MLP",
    "CheckpointError",
    "CrossValidation",
    "DivergenceError",
    "Ensemble",
    "Gradient",
    "History",
    "SampleGradients",
    "Search",
    "StreamError",
    "__version__",
    "affine_backward",
    "affine_forward",
    "affine_relu_forward",
    "cross_validate",
    "datasets",
    "fit_many",
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

# Names loaded on first access, with the package that each requires: scikit-learn and matplotlib are optional and take a
# second to import.
_ESTIMATORS = {"MLPClassifier": "sklearn", "MLPRegressor": "sklearn"}
_MODULES = {"distributed": None, "graph": None, "lessons": None, "plotting": "matplotlib", "verify": None}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return _import_module(f"{__name__}.{name}")
    if name in _ESTIMATORS:
        return getattr(_import_module(f"{__name__}.estimators"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names except those whose package is missing: `help` accesses every name listed here."""
    on_access = _ESTIMATORS | _MODULES
    return sorted([*__all__, *(name for name, package in on_access.items() if package is None or _find_spec(package))])

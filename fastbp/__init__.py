"""fastbp: multilayer perceptrons trained on the CPU by compiled back-propagation.

    net = fastbp.MLP((784, 512, 256, 10), seed=0)
    history = net.fit(X, y, epochs=10, batch_size=128, learning_rate=0.1, l2=1e-4)
    net.score(X_test, y_test)

`fastbp.optimizers` and `fastbp.learning_rates` hold what `MLP.fit` takes beside names and numbers. `fastbp.kernels`
offers the kernels to a user's own ``@njit`` code, `fastbp.datasets` data, `fastbp.reference` the same mathematics in
plain NumPy, `fastbp.threads` the number of threads. `fastbp.MLPClassifier` and `fastbp.MLPRegressor` take the place of
scikit-learn's, which they need.
"""

from typing import TYPE_CHECKING, Any

from . import datasets, kernels, learning_rates, optimizers, reference, threads
from .backward import Gradient, SampleGradients
from .checkpoint import CheckpointError
from .compiling import warmup
from .cross_validation import CrossValidation, cross_validate
from .ensemble import Ensemble, fit_many
from .functional import (
    affine_backward,
    affine_forward,
    affine_relu_forward,
    relu_backward,
    relu_forward,
    sgd_update,
    softmax_cross_entropy,
)
from .gradients import gradcheck
from .network import MLP, load
from .pickles import _blank as _blank
from .rows import StreamError
from .search import Search, search
from .training import DivergenceError, History
from .version import __version__

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """The estimators, on first use: scikit-learn takes a second to import, and need not be installed."""
    if name in ("MLPClassifier", "MLPRegressor"):
        from . import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

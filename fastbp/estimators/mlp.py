"""`MLPClassifier` and `MLPRegressor`: their parameters and documentation, labels, and the weights of classes.

The rest is scikit-learn's, or in `base` and `fitting`.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

try:
    import sklearn.neural_network
except ImportError as error:
    raise ImportError("fastbp's estimators need scikit-learn: pip install 'fastbp[sklearn]'") from error
from sklearn.metrics import get_scorer_names
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_class_weight, compute_sample_weight
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import validate_data

from ..kernels.activations import ACTIVATIONS
from ..own_formulas.formulas import Activation
from .base import DTYPES, Array
from .fitting import Fitting

CONSTRAINTS = {  # of the parameters that scikit-learn lacks, as in its `_parameter_constraints`
    "activation": [StrOptions(set(ACTIVATIONS)), Activation, list, tuple],
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "scoring": [StrOptions(set(get_scorer_names())), callable, None],
    "validation_data": [list, tuple, None],
    "callbacks": [list, tuple, None],
    "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
    "time_budget": [Interval(Real, 0, None, closed="neither"), None],
    "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    "dtype": [StrOptions({"float32", "float64"}), Options(type, set(DTYPES)), None],
}


class IntegerLabels(sklearn.neural_network.MLPClassifier):
    """scikit-learn's class, which reads a vector of whole numbers as y in less time.

    Its label binarizer asks four times what type of labels they are, and makes a sparse matrix of them: 1.5 ms of the
    3.5 that a fit of 150 rows takes besides the training. Here the binarizer is given what it would find.
    """

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        whole = type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iu" and y.dtype.isnative
        first = not incremental and not (self.warm_start and hasattr(self, "classes_"))
        if whole and first:
            X, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=DTYPES, reset=reset)
            classes, numbers = np.unique(y, return_inverse=True)
            if 2 <= len(classes) <= len(y) // 2:  # more may be no labels at all, of which scikit-learn warns
                binarizer = self._label_binarizer = LabelBinarizer()
                binarizer.classes_ = self.classes_ = classes
                binarizer.y_type_, binarizer.sparse_input_ = "binary" if len(classes) == 2 else "multiclass", False
                columns = np.arange(len(classes)) if len(classes) > 2 else np.ones(1)
                return X, numbers[:, np.newaxis] == columns
        X, y = super()._validate_input(X, y, incremental, reset)
        return X, y


class MLPClassifier(Fitting, IntegerLabels):
    """scikit-learn's `MLPClassifier`, faster, and with the parameters below.

    Parameters and their defaults, attributes, methods, errors and warnings of `sklearn.neural_network.MLPClassifier`
    are all here and mean the same. With the same `random_state` and float64 the numbers are the same too, up to
    rounding. The new parameters are keyword-only.

    Parameters
    ----------
    activation : str, fastbp.Activation or sequence of these, default "relu"
        Also "leaky_relu", "gelu" or "silu", or one of your own; or a sequence with one for each hidden layer.
    class_weight : dict, "balanced", list of dict, or None
        Weights of classes, as elsewhere in scikit-learn; `sample_weight` is multiplied by them. "balanced" is not
        allowed with `partial_fit`, which does not see all rows.
    dropout : float, default 0.0
        Share of the outputs of each hidden layer that are set to 0 in a training step.
    scoring : str, callable or None
        The score of the rows to validate by: the name of one of scikit-learn's scorers, such as "roc_auc", or
        ``scorer(estimator, X, y)``, the larger the better. None for that of `score`.
    validation_data : (X, y) or None
        Deprecated: give `fit` the arguments `X_val` and `y_val`.
    callbacks : sequence of callable
        Called as ``callback(estimator, history)`` after every epoch. One that returns True ends the fit.
    max_grad_norm : float or None
        Gradients whose norm is larger are scaled to this norm.
    time_budget : float or None
        Seconds after which training ends.
    n_threads : int or None
        Maximal number of threads; None for all that fastbp may use.
    dtype : {"float32", "float64"} or None
        Type of the computation; None for that of X, so that float32 stays float32.

    Attributes
    ----------
    network_ : MLP
        The fitted network. `coefs_` and `intercepts_` are views into its parameters; other arrays may be assigned to
        their items.

    Notes
    -----
    `dropout`, `scoring`, `callbacks`, `max_grad_norm` and `time_budget`, and `X_val` of `fit`, belong to the solvers
    "sgd" and "adam". If a fit raises, a fitted estimator is as it was before.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> classifier = fastbp.MLPClassifier((50,), learning_rate_init=0.01, max_iter=500, random_state=0).fit(X, y)
    >>> classifier.score(X, y) > 0.97
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **sklearn.neural_network.MLPClassifier._parameter_constraints,
        **CONSTRAINTS,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=0.0001, batch_size="auto",
                 learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9, nesterovs_momentum=True,
                 early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 n_iter_no_change=10, max_fun=15000, class_weight=None, dropout=0.0, scoring=None, validation_data=None,
                 callbacks=(), max_grad_norm=None, time_budget=None, n_threads=None, dtype=None):  # fmt: skip
        super().__init__(
            hidden_layer_sizes, activation, solver=solver, alpha=alpha, batch_size=batch_size,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, power_t=power_t, max_iter=max_iter,
            shuffle=shuffle, random_state=random_state, tol=tol, verbose=verbose, warm_start=warm_start,
            momentum=momentum, nesterovs_momentum=nesterovs_momentum, early_stopping=early_stopping,
            validation_fraction=validation_fraction, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
            n_iter_no_change=n_iter_no_change, max_fun=max_fun,
        )  # fmt: skip
        self.class_weight, self.dropout, self.scoring = class_weight, dropout, scoring
        self.validation_data = validation_data
        self.callbacks, self.max_grad_norm, self.time_budget = callbacks, max_grad_norm, time_budget
        self.n_threads, self.dtype = n_threads, dtype

    def _weights(self, y: Array, sample_weight: Any, incremental: bool) -> Any:
        """Return the weights of rows times those of their classes."""
        if self.class_weight is None:
            return sample_weight
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                'class_weight: got "balanced", expected a dict with partial_fit, which sees a part of the rows'
            )
        if self._label_binarizer.y_type_.startswith("multilabel"):
            weights = compute_sample_weight(self.class_weight, y.astype(int))
        else:  # by all classes: the rows of a partial_fit may lack some
            labels = self._label_binarizer.inverse_transform(y)
            of_classes = compute_class_weight(self.class_weight, classes=self.classes_, y=labels)
            weights = of_classes[np.searchsorted(self.classes_, labels)]
        return weights if sample_weight is None else weights * sample_weight


class MLPRegressor(Fitting, sklearn.neural_network.MLPRegressor):
    """scikit-learn's `MLPRegressor`, faster, and with the parameters below.

    Everything in `sklearn.neural_network.MLPRegressor` is here and means the same, as `MLPClassifier` describes. The
    new parameters are those of `MLPClassifier`, except `class_weight`.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error", "huber"}, default "squared_error"
        The last two are new; Huber's delta is 1.
    activation, dropout, scoring, validation_data, callbacks, max_grad_norm, time_budget, n_threads, dtype
        As in `MLPClassifier`.

    Notes
    -----
    The loss of several targets is the mean over them, and its gradient likewise. scikit-learn's gradient of the squared
    error lacks the division by their number (scikit-learn issue 8349), as if `learning_rate_init` were larger and
    `alpha` smaller by that factor: with several targets the numbers differ from those of scikit-learn.

    Examples
    --------
    >>> import fastbp
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> regressor = fastbp.MLPRegressor("huber", (50,), solver="lbfgs", max_iter=1000, random_state=0)
    >>> regressor.fit(X, np.sin(3 * X[:, 0])).score(X, np.sin(3 * X[:, 0])) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **sklearn.neural_network.MLPRegressor._parameter_constraints,
        **CONSTRAINTS,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error", "huber"})],
    }

    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *, solver="adam",
                 alpha=0.0001, batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
                 max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999,
                 epsilon=1e-8, n_iter_no_change=10, max_fun=15000, dropout=0.0, scoring=None, validation_data=None,
                 callbacks=(), max_grad_norm=None, time_budget=None, n_threads=None, dtype=None):  # fmt: skip
        super().__init__(
            loss, hidden_layer_sizes, activation, solver=solver, alpha=alpha, batch_size=batch_size,
            learning_rate=learning_rate, learning_rate_init=learning_rate_init, power_t=power_t, max_iter=max_iter,
            shuffle=shuffle, random_state=random_state, tol=tol, verbose=verbose, warm_start=warm_start,
            momentum=momentum, nesterovs_momentum=nesterovs_momentum, early_stopping=early_stopping,
            validation_fraction=validation_fraction, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
            n_iter_no_change=n_iter_no_change, max_fun=max_fun,
        )  # fmt: skip
        self.dropout, self.scoring, self.validation_data, self.callbacks = dropout, scoring, validation_data, callbacks
        self.max_grad_norm, self.time_budget = max_grad_norm, time_budget
        self.n_threads, self.dtype = n_threads, dtype

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True  # scikit-learn's own takes several targets too, and does not say so
        return tags

"""`TabularClassifier` and `TabularRegressor`: the recipe of `fastbp.tables` with the interface of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import d2_pinball_score
from sklearn.utils import assert_all_finite, column_or_1d, compute_class_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
)

from ..tables import fitting
from ..tables.columns import Columns
from ..tables.model import Member, TableModel
from ..tables.reading import is_missing
from ..tables.targets import TargetScaling
from .arguments import limited
from .scored import ClassifierOfOutputs, RegressorOfOutputs
from .tabular_fitting import TabularEstimator

Array = NDArray[Any]

LOSSES = {"squared_error": "mean_squared_error", "absolute_error": "mean_absolute_error", "huber": "huber"}


class TabularClassifier(ClassifierMixin, TabularEstimator):
    """Tell classes apart by the columns of a table, as they are: numbers, bools, text and categories, with gaps.

    Several networks are trained side by side with each of two encodings of numbers, each network without another fifth
    of the rows, by which its best epoch is found. Predictions are the means of both, mixed with the shares that give
    held-out rows the lowest loss. Nothing needs to be tuned.

    Parameters
    ----------
    n_networks : int or None
        Networks of each encoding. None: 3, or 1 for 8,000 rows or more.
    max_iter : int or None
        Epochs of each network, of which those after the best one may be left out; the learning rate falls to 0 with the
        last. None: 30, or fewer for over 5,000 rows, or more for 20 classes.
    class_weight : "balanced", dict or None
        As in scikit-learn.
    scoring : str, callable or None
        A scorer of scikit-learn, by which epochs and encodings are compared instead of the loss; it gets no weights.
    time_budget : float or None
        Seconds within which `fit` should end: as many epochs are planned, at least one, as an epoch's time, measured
        before, allows.
    progress : bool or None
        A progress bar; None: on a terminal and in notebooks only.
    n_threads : int or None
        Largest number of threads; results do not depend on it. None: those of `fastbp.threads`.
    random_state : int, RandomState or None
        The same int gives the same bits.

    Attributes
    ----------
    classes_ : array (n_classes,)
    model_ : fastbp.TableModel
        Encoder and networks; its `save` writes one file without pickle, which `fastbp predict` reads.
    n_features_in_ : int
    feature_names_in_ : array (n_features,)
        If X was a frame whose columns have names.
    n_iter_ : int
        Epochs of each network. With ``max_iter=n_iter_`` and no time budget the same fit can be repeated.
    stopped_by_ : {"max_iter", "time_budget", "callback"}

    Notes
    -----
    Numbers x become z = (x - median) / (distance of the quartiles), then ``z / sqrt(1 + (z / 3)^2)`` [1]_, alone or
    beside piecewise-linear parts between quantiles [2]_; up to 40 levels of a category a column each, more an
    embedding. A level that was not in the training rows, or in one only, counts as missing. A weight of 2 is not the
    same as a row given twice, since the rows are divided into parts at random.

    References
    ----------
    .. [1] D. Holzmüller, L. Grinsztajn, I. Steinwart: Better by default: strong pre-tuned MLPs and boosted trees on
       tabular data. NeurIPS (2024).
    .. [2] Y. Gorishniy, I. Rubachev, A. Babenko: On embeddings for numerical features in tabular deep learning.
       NeurIPS (2022).

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import TabularClassifier
    >>> X = np.array([["red", 1.0], ["blue", 2.0], ["red", None], ["blue", 2.5]] * 20, dtype=object)
    >>> y = np.array(["warm", "cold", "warm", "cold"] * 20)
    >>> TabularClassifier(random_state=0).fit(X, y).predict(X[:2])
    array(['warm', 'cold'], dtype='<U4')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TabularEstimator._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def __init__(self, *, n_networks=None, max_iter=None, class_weight=None, scoring=None, time_budget=None,
                 progress=False, n_threads=None, random_state=None):  # fmt: skip
        self.n_networks, self.max_iter, self.class_weight = n_networks, max_iter, class_weight
        self.scoring, self.time_budget, self.progress = scoring, time_budget, progress
        self.n_threads, self.random_state = n_threads, random_state

    def _rows(self, columns: Columns, y: Any, sample_weight: Any, reset: bool) -> fitting.Rows:
        """Return rows with the numbers of their classes."""
        check_consistent_length(columns.arrays[0], y)
        y = column_or_1d(y, warn=True)
        name = "y" if reset else "y_val"
        if y.dtype.kind == "O" and any(missing := list(map(is_missing, y.tolist()))):
            got = f"{name}: got a missing value in row {missing.index(True)}"
            raise ValueError(f"{got}, expected a class; leave the row out")
        assert_all_finite(y, input_name=name)
        check_classification_targets(y)
        if reset:
            self.classes_, labels = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(f"y: got one class, {self.classes_.tolist()[0]!r}, expected at least 2 classes")
        else:
            labels = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
            if (unknown := self.classes_[labels] != y).any():
                raise ValueError(f"y_val: got the class {y.tolist()[unknown.argmax()]!r}, expected only classes of y")
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, columns.arrays[0], ensure_non_negative=True)
        if reset and self.class_weight is not None:
            self._of_classes = self._weights_of_classes(y, labels, weights)
        if self.class_weight is not None:
            weights = self._of_classes[labels] * (1.0 if weights is None else weights)
            if reset and not weights.any():
                raise ValueError(f"class_weight: got {self.class_weight!r}, by which all rows weigh 0")
        return fitting.Rows(columns, labels.astype(np.int64), weights)

    def _weights_of_classes(self, y: Array, labels: Array, weights: Array | None) -> Array:
        if self.class_weight != "balanced":
            found: Array = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            return found
        sums = np.bincount(labels, weights, minlength=len(self.classes_))
        balanced: Array = sums.sum() / (len(sums) * np.where(sums > 0, sums, np.inf))  # 0 where all rows weigh 0
        return balanced

    def _objective(self) -> fitting.Objective:
        differ = len(set(map(str, self.classes_))) == len(self.classes_)
        names = self.classes_.tolist() if differ else None
        return fitting.Objective("softmax_cross_entropy", len(self.classes_), class_names=names)

    def _model(self, members: Sequence[Member]) -> TableModel:
        return TableModel(members)

    def _answers(self) -> ClassifierOfOutputs:
        return ClassifierOfOutputs(self.classes_)

    def _given(self, targets: Array) -> Array:
        given: Array = self.classes_[targets]
        return given

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class (n_samples, n_classes), in the order of `classes_`."""
        return self._outputs(X)

    def predict(self, X: Any) -> Array:
        """Return the most probable class of each row (n_samples,)."""
        outputs = self._outputs(X)
        predicted: Array = self.classes_[outputs.argmax(axis=1)]
        return predicted


class TabularRegressor(RegressorMixin, TabularEstimator):
    """Predict numbers by the columns of a table, as they are: numbers, bools, text and categories, with gaps.

    It does what `TabularClassifier` does, for one number or several; or for quantiles of each.

    Parameters
    ----------
    n_networks, max_iter, scoring, time_budget, progress, n_threads, random_state
        As for `TabularClassifier`.
    loss : {"squared_error", "absolute_error", "huber"}, default "squared_error"
        Of targets divided by their standard deviation.
    quantiles : sequence of float or None
        Levels between 0 and 1: `predict` then returns these quantiles, in ascending order, instead of one number.

    Attributes
    ----------
    n_outputs_ : int
        The number of targets.
    model_, n_features_in_, feature_names_in_, n_iter_, stopped_by_
        As for `TabularClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbp import TabularRegressor
    >>> x = np.linspace(0.0, 1.0, 200)
    >>> model = TabularRegressor(random_state=0).fit(x[:, np.newaxis], np.sin(6 * x))
    >>> model.score(x[:, np.newaxis], np.sin(6 * x)) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **TabularEstimator._parameter_constraints,
        "loss": [StrOptions(set(LOSSES))],
        "quantiles": ["array-like", None],
    }

    def __init__(self, *, loss="squared_error", quantiles=None, n_networks=None, max_iter=None, scoring=None,
                 time_budget=None, progress=False, n_threads=None, random_state=None):  # fmt: skip
        self.loss, self.quantiles, self.n_networks, self.max_iter = loss, quantiles, n_networks, max_iter
        self.scoring, self.time_budget, self.progress = scoring, time_budget, progress
        self.n_threads, self.random_state = n_threads, random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = True
        tags.target_tags.multi_output = True
        return tags

    def _rows(self, columns: Columns, y: Any, sample_weight: Any, reset: bool) -> fitting.Rows:
        """Return rows with their targets, scaled."""
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(columns.arrays[0], y)
        if y.ndim > 2:
            raise ValueError(f"y: got shape {y.shape}, expected (n_samples,) or (n_samples, n_outputs)")
        targets = y.reshape(len(y), -1)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, columns.arrays[0], ensure_non_negative=True)
        if reset:
            self.n_outputs_, self._levels = targets.shape[1], self._checked_levels()
            self._scaling = TargetScaling.of(targets, weights if weights is not None and weights.any() else None)
        elif targets.shape[1] != self.n_outputs_:
            raise ValueError(f"y_val: got {targets.shape[1]} outputs, expected {self.n_outputs_} as in y")
        with np.errstate(over="ignore"):
            scaled = self._scaling.scaled(targets)
            held = np.isfinite(scaled.astype(np.float32)).all()
        if not held:
            got = f"{'y' if reset else 'y_val'}: got numbers up to {np.abs(targets).max():.3g}"
            raise ValueError(f"{got}, too far apart; divide them by a constant")
        return fitting.Rows(columns, np.repeat(scaled, max(1, len(self._levels)), axis=1), weights)

    def _checked_levels(self) -> tuple[float, ...]:
        """Return the levels of quantiles in ascending order."""
        if self.quantiles is None:
            return ()
        if self.loss != "squared_error":
            raise ValueError(f"loss: got {self.loss!r} beside quantiles, which have a loss of their own")
        if self.scoring is not None:
            raise ValueError("scoring: got it beside quantiles, which scikit-learn's scorers do not take")
        try:
            levels = sorted(map(float, self.quantiles))
        except (TypeError, ValueError):
            levels = []
        if not levels or not 0 < levels[0] <= levels[-1] < 1 or len(set(levels)) < len(levels):
            raise ValueError(f"quantiles: got {self.quantiles!r}, expected different levels between 0 and 1")
        return tuple(levels)

    def _objective(self) -> fitting.Objective:
        if self._levels:
            levels = self._levels * self.n_outputs_
            return fitting.Objective("quantile", len(levels), {"quantile_level": levels})
        return fitting.Objective(LOSSES[self.loss], self.n_outputs_)

    def _model(self, members: Sequence[Member]) -> TableModel:
        repeated = max(1, len(self._levels))
        scaling = TargetScaling(*(np.repeat(value, repeated) for value in self._scaling))
        return TableModel(members, scaling, self._levels)

    def _answers(self) -> RegressorOfOutputs:
        return RegressorOfOutputs(self._scaling)

    def _given(self, targets: Array) -> Array:
        return self._answers().predict(targets)

    def predict(self, X: Any) -> Array:
        """Return the predicted numbers (n_samples,) or (n_samples, n_outputs); with quantiles with an axis behind.

        Quantiles are (n_samples, n_quantiles), or (n_samples, n_outputs, n_quantiles), in the order of the levels from
        the lowest to the highest.
        """
        check_is_fitted(self, "model_")
        columns = self._columns(X, reset=False)
        with limited(self.n_threads):
            predicted: Array = self.model_.predict(columns)
        return predicted

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R^2; or, for quantiles, the mean of their D^2: 1 minus the share of a constant's pinball loss."""
        check_is_fitted(self, "model_")
        levels = self.model_.quantiles
        if not levels:
            return float(super().score(X, y, sample_weight))
        predicted = self.predict(X)
        predicted = predicted.reshape(len(predicted), -1, len(levels))
        found = [
            d2_pinball_score(y, predicted[..., place].reshape(np.shape(y)), sample_weight=sample_weight, alpha=level)
            for place, level in enumerate(levels)
        ]
        return float(np.mean(found))

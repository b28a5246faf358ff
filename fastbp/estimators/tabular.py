"""`TabularClassifier` and `TabularRegressor`: the recipe of `fastbp.tables` with the interface of scikit-learn."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import check_scoring, d2_pinball_score
from sklearn.utils import assert_all_finite, check_random_state, column_or_1d, compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
)

from .. import threads
from ..model import pickles
from ..model_selection.ensemble import Ensemble
from ..network import MLP
from ..tables import fitting
from ..tables.columns import Columns
from ..tables.encoder import Encoder
from ..tables.model import Member, TableModel
from ..tables.reading import columns_of, is_missing
from ..tables.recipe import Recipe
from ..tables.targets import TargetScaling
from ..training.progress import progress_bar
from .callbacks import CallbackSupportMixin, FitReport, report_of
from .scored import ClassifierOfOutputs, RegressorOfOutputs

Array = NDArray[Any]

LOSSES = {"squared_error": "mean_squared_error", "absolute_error": "mean_absolute_error", "huber": "huber"}


class TabularEstimator(CallbackSupportMixin, BaseEstimator):
    """What a classifier and a regressor of tables have in common."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_networks": [Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "scoring": [str, callable, None],
        "time_budget": [Interval(Real, 0, None, closed="neither"), None],
        "progress": ["boolean", None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return pickles.reduced(self)

    def __getstate__(self) -> dict[str, Any]:
        return pickles.stamped(estimator=dict(super().__getstate__()))

    def __setstate__(self, state: dict[str, Any]) -> None:
        pickles.check(type(self).__name__, state)
        super().__setstate__(dict(state["estimator"]))

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the estimator.

        Parameters
        ----------
        X : frame or array_like (n_samples, n_features)
            Columns of numbers, bools, text or categories, with or without missing values.
        y : array_like (n_samples,), or (n_samples, n_outputs) for a regressor
        sample_weight : array_like (n_samples,), optional
        X_val, y_val, sample_weight_val : like X, y and sample_weight, optional
            Rows by which the best epoch and encoding are chosen, instead of a part of the rows for each network.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            There are fewer than 2 rows, or X, y or weights do not fit together; or only one of `X_val` and `y_val` is
            given, or weights without them.
        """
        self._validate_params()
        self.__dict__.pop("model_", None)  # if this fit fails, none goes with the classes and columns found so far
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val, y_val: got only one of them, expected both, or neither")
        if X_val is None and sample_weight_val is not None:
            raise ValueError("sample_weight_val: got weights, but no rows: expected X_val and y_val beside them")
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        columns = self._columns(X, reset=True)
        if columns.rows < 2:
            raise ValueError(f"X: got n_samples={columns.rows}, expected at least 2, of which a part is held out")
        rows = self._rows(columns, y, sample_weight, reset=True)
        held_out = None
        if X_val is not None:
            held_out = self._rows(
                self._columns(X_val, reset=False, name="X_val"), y_val, sample_weight_val, reset=False
            )
        with contextlib.nullcontext() if self.n_threads is None else threads.limit(self.n_threads):
            epochs = self._recipe.epochs_of(columns.rows, self._objective().classes)
            report = report_of(self, X, y, sample_weight, epochs * self._recipe.trainings(columns.rows))
            return self._fit(rows, held_out, epochs, report)

    @property
    def _recipe(self) -> Recipe:
        epochs = None if self.max_iter is None else int(self.max_iter)
        networks = None if self.n_networks is None else int(self.n_networks)
        return replace(Recipe(), networks=networks, epochs=epochs)

    def _fit(self, rows: fitting.Rows, held_out: fitting.Rows | None, epochs: int, report: FitReport | None) -> Any:
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1, size=4))
        lock, recipe, stopped = threading.Lock(), self._recipe, False
        if report is not None:
            report.begin_epoch()
        with progress_bar(self.progress, epochs * recipe.trainings(rows.columns.rows), "epoch") as bar:

            def after_epoch(encoder: Encoder, net: MLP) -> bool:
                nonlocal stopped
                with lock:  # networks are trained side by side
                    bar.update(1)
                    if report is not None and not stopped:
                        stopped = report.end_epoch({"model_": self._model([Member(encoder, Ensemble([net]), 1.0)])})
                        if not stopped:
                            report.begin_epoch()
                    return stopped

            fitted = fitting.fit(
                rows,
                self._objective(),
                recipe,
                rng,
                held_out=held_out,
                score=None if self.scoring is None else self._score_of,
                time_budget=self.time_budget,
                after_epoch=after_epoch,
            )
        self.model_ = self._model(fitted.members)
        for name in ("_scaling", "_of_classes"):  # of the training alone
            self.__dict__.pop(name, None)
        self.n_iter_ = fitted.epochs
        self.stopped_by_ = "callback" if stopped else "max_iter" if fitted.epochs == epochs else "time_budget"
        if report is not None:
            report.end()
        return self

    def _columns(self, X: Any, reset: bool, name: str = "X") -> Columns:
        """Return the columns of X, whose names and number are those of the fit."""
        _check_feature_names(self, X, reset=reset)
        columns = columns_of(name, X)
        counted = np.broadcast_to(0.0, (columns.rows, len(columns.arrays)))
        _check_n_features(self, counted, reset=reset)
        return columns

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self, "model_")
        columns = self._columns(X, reset=False)
        with contextlib.nullcontext() if self.n_threads is None else threads.limit(self.n_threads):
            outputs: Array = self.model_.outputs(columns)
        return outputs

    def _score_of(self, outputs: Array, targets: Array, weights: Array | None) -> float:
        """Return the score of outputs by `scoring`, without weights; targets are those of `fitting`."""
        try:
            return float(check_scoring(self, self.scoring)(self._answers(), outputs, self._given(targets)))
        except ValueError as error:
            got = f"scoring: got {self.scoring!r}, which cannot score {len(targets)} held-out rows ({error})"
            raise ValueError(f"{got}; give fit X_val and y_val with rows of all classes, or another scorer") from error


class TabularClassifier(ClassifierMixin, TabularEstimator):
    """Tell classes apart by the columns of a table, as they are: numbers, bools, text and categories, with gaps.

    Several networks are trained side by side with each of two encodings of numbers, each network without another fifth
    of the rows, by which its best epoch is found. Predictions are the means of both, mixed with the shares that give
    held-out rows the lowest loss. Nothing needs to be tuned.

    Parameters
    ----------
    n_networks : int or None
        Networks of each encoding. None: 3, or 2 for 8,000 rows or more.
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
        A progress bar; None: on a terminal only.
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
        with contextlib.nullcontext() if self.n_threads is None else threads.limit(self.n_threads):
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

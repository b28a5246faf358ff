"""Check columns and fit by the recipe, as both estimators of tables do."""

from __future__ import annotations

import threading
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    check_is_fitted,
)

from ..model import pickles
from ..model_selection.ensemble import Ensemble
from ..network import MLP
from ..tables import fitting
from ..tables.columns import Columns
from ..tables.encoder import Encoder
from ..tables.model import Member
from ..tables.reading import columns_of
from ..tables.recipe import Recipe
from ..training.progress import progress_bar
from .arguments import check_rows_to_validate_by, limited
from .callbacks import CallbackSupportMixin, FitReport, report_of

Array = NDArray[Any]


class TabularEstimator(CallbackSupportMixin, BaseEstimator):
    """Provides what a classifier and a regressor of tables have in common."""

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
        check_rows_to_validate_by(X_val, y_val, sample_weight_val)
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
        with limited(self.n_threads):
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
        with limited(self.n_threads):
            outputs: Array = self.model_.outputs(columns)
        return outputs

    def _score_of(self, outputs: Array, targets: Array, weights: Array | None) -> float:
        """Return the score of outputs by `scoring`, without weights; targets are those of `fitting`."""
        try:
            return float(check_scoring(self, self.scoring)(self._answers(), outputs, self._given(targets)))
        except ValueError as error:
            got = f"scoring: got {self.scoring!r}, which cannot score {len(targets)} held-out rows ({error})"
            raise ValueError(f"{got}; give fit X_val and y_val with rows of all classes, or another scorer") from error

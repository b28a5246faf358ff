"""The fit of an estimator: an `MLP` is trained where scikit-learn has loops of its own."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer
from sklearn.utils import column_or_1d
from sklearn.utils.validation import _check_sample_weight, validate_data

from ..model.formulas import with_own
from ..network import MLP
from ..optimizers import SGD
from ..training.history import History
from ..training.optimizer_state import OptimizerState
from ..training.plan import DivergenceError, Plan
from .arguments import check_rows_to_validate_by, limited
from .base import DTYPES, Adam, Array, NetworkEstimator, OptimizerRate, ShuffledOrders, Snapshot, Velocity
from .callbacks import CallbackSupportMixin, FitReport, report_of

LOSSES = {  # by the output activation of a classifier, or the `loss` of a regressor
    "softmax": "softmax_cross_entropy",
    "logistic": "binary_cross_entropy_sum",
    "squared_error": "half_squared_error",
    "poisson": "half_poisson_deviance_sum",
    "absolute_error": "mean_absolute_error",
    "huber": "huber",
}


class HeldOut(NamedTuple):
    """Rows to validate by, as a user gave them, and the name of the arguments."""

    name: str
    X: Any
    y: Any
    sample_weight: Any


class Fitting(CallbackSupportMixin, NetworkEstimator):
    """Fits an `MLP` where scikit-learn has loops of its own; precedes scikit-learn's class among the bases."""

    validation_scores_: Any  # list of float, or None
    _no_improvement_count: int
    _validation: HeldOut | None = None  # what `fit` was given, while it runs
    _report: FitReport | None = None  # of the fit that runs, where scikit-learn's callbacks are set

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
        X : array, frame or sparse matrix (n_samples, n_features)
        y : array (n_samples,) or (n_samples, n_outputs)
        sample_weight : array (n_samples,), optional
        X_val, y_val, sample_weight_val : like X, y and sample_weight, optional
            Rows whose score after every epoch is recorded in `validation_scores_`; with `early_stopping` they replace
            the rows that would be set aside. A pipeline transforms them as X with
            ``Pipeline(..., transform_input=["X_val"])``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Only one of `X_val` and `y_val` is given, or weights without them; or as scikit-learn's `fit`.
        """
        check_rows_to_validate_by(X_val, y_val, sample_weight_val)
        if X_val is not None:
            self._validation = HeldOut("X_val, y_val", X_val, y_val, sample_weight_val)
        try:
            return super().fit(X, y, sample_weight)
        finally:
            self.__dict__.pop("_validation", None)

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Any:
        if not incremental:  # before the snapshot: the callbacks' contexts are needed after an error too
            epochs = 0 if self.solver == "lbfgs" else int(self.max_iter)
            self._report = report_of(self, X, y, sample_weight, epochs)
        before = Snapshot(self, incremental or self.warm_start)
        try:
            if self.validation_data is not None:
                self._validation = self._validation_data(callers=5 if incremental else 6)
            with limited(self.n_threads):
                super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)
            if self._report is not None:
                self._report.end()
            return self
        except BaseException:
            before.restore(self)
            raise
        finally:
            self.__dict__.pop("_validation", None)
            self.__dict__.pop("_report", None)

    def _validation_data(self, callers: int) -> HeldOut:
        """Return the rows of the deprecated parameter; the user's call is so many calls away."""
        warnings.warn(
            "validation_data is deprecated since 0.1 and will be removed in 0.3: give fit X_val and y_val, "
            "since a search keeps the rows of a parameter in every candidate",
            FutureWarning,
            stacklevel=callers,
        )
        if self._validation is not None:
            raise ValueError("validation_data: got it beside X_val and y_val, expected these alone")
        if len(self.validation_data) != 2:
            raise ValueError(f"validation_data: got {len(self.validation_data)} items, expected a pair (X, y)")
        X, y = self.validation_data
        return HeldOut("validation_data", X, y, None)

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, Array]:
        if not all(callable(callback) for callback in self.callbacks or ()):
            raise TypeError(f"callbacks: got {self.callbacks!r}, expected a sequence of callables")
        X, y = super()._validate_input(X, y, incremental, reset)
        dtype = X.dtype if self.dtype is None else np.dtype(self.dtype)
        with np.errstate(over="ignore"):  # to infinity, which training refuses
            # C order, which frames do not have: every epoch gathers rows.
            return (np.require(X, dtype, "C") if isinstance(X, np.ndarray) else X.astype(dtype, copy=False)), y

    def _initialize(self, y: Array, layer_units: Sequence[int], dtype: np.dtype[Any]) -> None:
        super()._initialize(y, layer_units, dtype)  # draws the parameters
        del self._best_coefs, self._best_intercepts
        arrays = [array for pair in zip(self.coefs_, self.intercepts_, strict=True) for array in pair]
        if isinstance(self.activation, (list, tuple)) and self.activation:
            for i, name in enumerate((*self.activation, self.activation[-1])):
                if name == "logistic":  # for which scikit-learn's bound is sqrt(2 / fans), not sqrt(6 / fans)
                    for array in arrays[2 * i : 2 * i + 2]:
                        array /= np.sqrt(3.0)
        loss = LOSSES[self.out_activation_ if is_classifier(self) else self.loss]
        seed = self._random_state.randint(2**31 - 1) if self.dropout else 0  # no draw that scikit-learn does not make
        self._set_network(MLP(layer_units, self.activation, loss, dtype, seed, initializer=arrays))

    def _targets(self, y: Array) -> Array:
        """Return class indices instead of one-hot rows."""
        return y.argmax(axis=1) if self.out_activation_ == "softmax" else y

    def _weights(self, y: Array, sample_weight: Any, incremental: bool) -> Any:
        """Return the weights of rows; a classifier multiplies them by those of classes."""
        return sample_weight

    def _fit_lbfgs(self, X: Any, y: Array, sample_weight: Any, *workspace: Any) -> None:
        """Call scikit-learn's method: SciPy writes into `coefs_`, and `_backprop` gives it loss and gradient."""
        network = self._network_to_train(workspace[-1])
        if network.dtype != np.float64:  # float32 is too coarse for a line search; scikit-learn uses float64 too
            arrays = [array for pair in zip(self.coefs_, self.intercepts_, strict=True) for array in pair]
            activation = with_own(network.activation, network.model.own)
            self._set_network(MLP(network.sizes, activation, network.loss_name, "float64", 0, initializer=arrays))
        super()._fit_lbfgs(X, y, self._weights(y, sample_weight, False), *workspace)
        network.parameters = self._network().parameters
        self._set_network(network)

    def _backprop(
        self, X: Any, y: Array, sample_weight: Any, *workspace: Any
    ) -> tuple[float, list[Array], list[Array]]:
        total = X.shape[0] if sample_weight is None else sample_weight.sum()
        gradient = self._network().gradient(X, self._targets(y), self.alpha / total, sample_weight=sample_weight)
        return gradient.loss, gradient.weights, gradient.biases

    def _fit_stochastic(self, X: Any, y: Array, sample_weight: Any, *workspace: Any) -> None:
        layer_units, incremental = workspace[-2:]
        network = self._network_to_train(layer_units)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not incremental or not hasattr(self, "_optimizer"):
            self._begin_optimizer()
        self._begin_records()
        sample_weight = self._weights(y, sample_weight, incremental)
        X, y, sample_weight, held_out = self._split(X, y, sample_weight)
        n_samples = X.shape[0]
        batch_size = self._rows_of_a_batch(n_samples)
        rate = OptimizerRate(self._optimizer, self.t_, n_samples, -(-n_samples // batch_size))
        stopped = False

        def after_epoch(history: History) -> bool:
            nonlocal stopped
            stopped = self._end_epoch(history, n_samples, held_out)
            ended = [callback(self, history) is True for callback in self.callbacks or ()]  # all are called
            if self._report is not None:
                ended.append(self._report.end_epoch())
            stopped = stopped or any(ended)
            if self._report is not None and not stopped:
                self._report.begin_epoch()
            return stopped

        plan = Plan(
            epochs=1 if incremental else self.max_iter,
            batch_size=batch_size,
            learning_rate=rate,
            l2=float(self.alpha),
            l2_per_weight=True,
            optimizer=self._update,
            order=ShuffledOrders(self._random_state) if self.shuffle else lambda rows: None,
            dropout=float(self.dropout),
            max_grad_norm=self.max_grad_norm,
            time_budget=self.time_budget,
            losses_decide=not (self.callbacks or self._report or self.early_stopping or self._validation is not None),
        )
        if self._report is not None:
            self._report.begin_epoch()
        try:
            targets, state = self._targets(y), self._optimizer_state
            network.train(X, targets, plan, sample_weight=sample_weight, memory=state, after_epoch=after_epoch)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
        except DivergenceError as error:
            if not (self.early_stopping and self.n_iter_):  # otherwise the best epoch is restored
                advice = f" Try {error.about_targets}" if error.about_targets else ""
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                    f"be preprocessed.{advice}"
                ) from error
            warnings.warn(str(error), ConvergenceWarning, stacklevel=2)
        if self.n_iter_ == self.max_iter and not (stopped or incremental):
            reached = f"Maximum iterations ({self.max_iter}) reached and the optimization hasn't converged yet."
            warnings.warn(f"Stochastic Optimizer: {reached}", ConvergenceWarning, stacklevel=2)
        if self.early_stopping:
            for view, best in zip(self._views, (*self._best_coefs, *self._best_intercepts), strict=True):
                view[...] = best
            del self._best_coefs, self._best_intercepts

    def _begin_optimizer(self) -> None:
        """Make an update for the kernels, its state, and scikit-learn's optimizer, for its rate and its stopping."""
        self._optimizer_state = OptimizerState()
        if self.solver == "adam":
            self._optimizer = AdamOptimizer([], self.learning_rate_init)
            self._update = Adam(self.beta_1, self.beta_2, self.epsilon)
        else:
            self._optimizer = SGDOptimizer([], self.learning_rate_init, self.learning_rate, power_t=self.power_t)
            plain = self.momentum == 0  # the same numbers, without a velocity
            self._update = SGD() if plain else Velocity(self.momentum, self.nesterovs_momentum)

    def _begin_records(self) -> None:
        """Set the records of `_initialize` that a warm start after lbfgs, or with another `early_stopping`, lacks."""
        self.n_iter_ = 0
        self.__dict__.setdefault("loss_curve_", [])
        self.__dict__.setdefault("_no_improvement_count", 0)
        best = getattr(self, "best_loss_", None)
        self.best_loss_ = None if self.early_stopping else np.inf if best is None else best
        scored = self.early_stopping or self._validation is not None
        if getattr(self, "validation_scores_", None) is None and scored:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        if self.early_stopping:
            self._best_coefs = [array.copy() for array in self.coefs_]
            self._best_intercepts = [array.copy() for array in self.intercepts_]

    def _split(self, X: Any, y: Array, sample_weight: Any) -> tuple[Any, Array, Any, tuple[Any, Any, Any]]:
        """Return X, y and weights to train on, and (X, y, weights) to score after every epoch, or three times None."""
        if self._validation is not None:
            return X, y, sample_weight, self._checked(self._validation)
        if not self.early_stopping:
            return X, y, sample_weight, (None, None, None)
        arrays = (X, y) if sample_weight is None else (X, y, sample_weight)
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        (X, y, sample_weight), (X_held, y_held, weight_held) = ((*parts[i::2], None)[:3] for i in (0, 1))
        if X_held.shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if is_classifier(self):
            y_held = self._label_binarizer.inverse_transform(y_held)
        return X, y, sample_weight, (X_held, y_held, weight_held)

    def _checked(self, held_out: HeldOut) -> tuple[Any, Array, Any]:
        """Return rows to validate by, as those to train on are checked."""
        try:
            X, y = validate_data(
                self,
                held_out.X,
                held_out.y,
                accept_sparse=["csr", "csc"],
                multi_output=True,
                y_numeric=not is_classifier(self),
                dtype=DTYPES,
                reset=False,
            )
            weights = held_out.sample_weight
            weights = (
                None if weights is None else _check_sample_weight(weights, X, dtype=X.dtype, ensure_non_negative=True)
            )
        except ValueError as error:
            raise ValueError(f"{held_out.name}: {error}") from error
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y, weights

    def _score(self, X: Any, y: Array, sample_weight: Any = None) -> float:
        """Return the score of rows that are checked, by `scoring`; NaN where the network overflows."""
        if self.scoring is None:
            return float(super()._score(X, y, sample_weight=sample_weight))
        if not np.isfinite(self._forward_pass_fast(X, check_input=False)).all():
            return np.nan
        weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
        unnamed = object.__new__(type(self))  # the rows are an array by now: their columns have no names to compare
        unnamed.__dict__.update(self.__dict__)
        unnamed.__dict__.pop("feature_names_in_", None)
        return float(check_scoring(unnamed, self.scoring)(unnamed, X, y, **weighted))

    def _rows_of_a_batch(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, n_samples)
        if self.batch_size > n_samples:
            message = "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped"
            warnings.warn(message, stacklevel=2)
        return min(int(self.batch_size), n_samples)

    def _end_epoch(self, history: History, n_samples: int, held_out: tuple[Any, Any, Any]) -> bool:
        """Record an epoch as scikit-learn does; return whether to stop."""
        self.n_iter_ += 1
        self.loss_ = history.loss[-1]
        self.t_ += n_samples
        self.loss_curve_.append(self.loss_)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        self._update_no_improvement_count(self.early_stopping, *held_out)
        if self._validation is not None and not self.early_stopping:
            self.validation_scores_.append(self._score(*held_out))
            self.best_validation_score_ = float(np.fmax(self.best_validation_score_, self.validation_scores_[-1]))
        if held_out[0] is not None:
            history.validation_score.append(self.validation_scores_[-1])
        self._optimizer.iteration_ends(self.t_)
        if not self._no_improvement_count > self.n_iter_no_change:
            return False
        what = "Validation score" if self.early_stopping else "Training loss"
        words = f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        stops = bool(self._optimizer.trigger_stopping(words, self.verbose))
        if not stops:
            self._no_improvement_count = 0
        return stops

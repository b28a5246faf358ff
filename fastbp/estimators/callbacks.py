"""scikit-learn's callbacks (from its version 1.9 on), told of a fit and of each of its epochs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["CallbackSupportMixin", "FitReport", "report_of"]

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # an older scikit-learn: there are none to be set

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands for scikit-learn's class."""


class FitReport:
    """Tells the callbacks of an estimator how its fit goes on.

    Parameters
    ----------
    estimator : CallbackSupportMixin
    X, y, sample_weight
        As they were given to `fit`.
    epochs : int
        At most; 0 where the solver has none.
    """

    def __init__(self, estimator: Any, X: Any, y: Any, sample_weight: Any, epochs: int):
        self._estimator, self._epochs, self._begun = estimator, epochs, 0
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self._given: dict[str, Any] = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._context = estimator._init_callback_context(max_subtasks=epochs)
        self._context.call_on_fit_task_begin(**self._given)
        self._epoch: Any = None  # its context

    def begin_epoch(self) -> None:
        """Tell that an epoch begins, if there may be one more."""
        if self._begun < self._epochs:
            self._begun += 1
            self._epoch = self._context.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._given, reconstruction_attributes={})

    def end_epoch(self, attributes: Mapping[str, Any] = MappingProxyType({})) -> bool:
        """Tell that an epoch has ended; return whether a callback wants the fit to end.

        With these attributes besides its own the estimator can predict.
        """
        context, self._epoch = self._epoch, None
        return bool(context.call_on_fit_task_end(**self._given, reconstruction_attributes=dict(attributes)))

    def end(self) -> None:
        """Tell that the fit has ended; an epoch that had begun for nothing ends without data."""
        if self._epoch is not None:
            self._epoch.call_on_fit_task_end(estimator=self._estimator)
        self._context.call_on_fit_task_end(**self._given, reconstruction_attributes={})


def report_of(estimator: Any, X: Any, y: Any, sample_weight: Any, epochs: int) -> FitReport | None:
    """Return the report of a fit, None where no callback is set."""
    if not getattr(estimator, "_skl_callbacks", None):
        return None
    return FitReport(estimator, X, y, sample_weight, epochs)

"""The methods that are compared on tables, and one fit of one in a process of its own: its score and seconds."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from .table_sets import SETS

TEST_PART = 0.2
WARM_UP_ROWS = 200
MAX_LEVELS = 250  # HistGradientBoosting has 255 bins for the levels of a column


class Method(NamedTuple):
    """An estimator: the modules that it needs, how it is made, and what becomes of a frame before."""

    modules: tuple[str, ...]
    make: Callable[[bool, int], Any]
    prepare: Callable[[Any], Any] = lambda X: X

    def missing(self) -> list[str]:
        return [name for name in self.modules if find_spec(name) is None]


def categories(X: Any) -> Any:
    """Make categories of text and bools, and codes of those with many levels."""
    X = X.copy()
    for name in X.columns:
        if X[name].dtype.kind not in "iuf":
            levels = X[name].astype("category")
            X[name] = levels.cat.codes if len(levels.cat.categories) > MAX_LEVELS else levels
    return X


def tabular(classes: bool, seed: int) -> Any:
    import fastbp

    return getattr(fastbp, "TabularClassifier" if classes else "TabularRegressor")(random_state=seed)


def boosting(classes: bool, seed: int, **settings: Any) -> Any:
    from sklearn import ensemble

    kind = ensemble.HistGradientBoostingClassifier if classes else ensemble.HistGradientBoostingRegressor
    return kind(random_state=seed, categorical_features="from_dtype", **settings)


def longer_boosting(classes: bool, seed: int) -> Any:
    return boosting(classes, seed, max_iter=200, early_stopping=False)


def sklearn_mlp(classes: bool, seed: int) -> Any:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    return make_pipeline(columns, (MLPClassifier if classes else MLPRegressor)(random_state=seed))


def lightgbm(classes: bool, seed: int) -> Any:
    import lightgbm

    return (lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor)(random_state=seed, verbose=-1)


METHODS = {
    "fastbp": Method(("fastbp", "sklearn"), tabular),
    "HGB": Method(("sklearn",), boosting, categories),
    "HGB 200": Method(("sklearn",), longer_boosting, categories),
    "sklearn MLP": Method(("sklearn",), sklearn_mlp, categories),
    "LightGBM": Method(("lightgbm",), lightgbm, categories),
}


def fit_once(set_name: str, method: str, seed: int) -> tuple[float, float]:
    """Return the score on a fifth of the rows, and the processor time of the fit on the others.

    A fit of a few rows comes before, so that neither imports nor code that is compiled or loaded are timed.
    """
    from sklearn.model_selection import train_test_split

    source, how = SETS[set_name], METHODS[method]
    X, y = source.read()
    X = how.prepare(X)
    parts = train_test_split(X, y, test_size=TEST_PART, random_state=seed, stratify=y if source.classes else None)
    X_train, X_test, y_train, y_test = parts
    how.make(source.classes, seed).fit(X_train[:WARM_UP_ROWS], y_train[:WARM_UP_ROWS])
    before = time.process_time()
    estimator = how.make(source.classes, seed).fit(X_train, y_train)
    seconds = time.process_time() - before
    return float(estimator.score(X_test, y_test)), seconds


def main(arguments: list[str]) -> None:
    set_name, method, seed = arguments
    warnings.simplefilter("ignore")  # that scikit-learn's MLP has not converged is part of its defaults
    print(json.dumps(fit_once(set_name, method, int(seed))))


if __name__ == "__main__":
    main(sys.argv[1:])

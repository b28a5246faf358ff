"""The estimators for skl2onnx, which converts pipelines of scikit-learn into ONNX files.

Networks, ensembles and models of tables become ONNX files without it, by their `to_onnx`.
"""

from __future__ import annotations


def register() -> None:
    """Teach skl2onnx the estimators of fastbp, so that it converts pipelines with them.

    Call it once in a process. `MLPClassifier` and `MLPRegressor` take what skl2onnx gives estimators: one input of
    numbers. `TabularClassifier` and `TabularRegressor` also take one input for each column, in the order of the fit or
    by the names of its columns: numbers where these were numbers, text (skl2onnx's `StringTensorType`) where these were
    text, with "" for a gap. Outputs are those of skl2onnx for other estimators, in the dtype that it expects, and so
    are the options "zipmap" and "nocl"; quantiles are (rows, quantiles), or (rows, targets, quantiles).

    Raises
    ------
    ModuleNotFoundError
        skl2onnx, onnx or scikit-learn is missing.

    Examples
    --------
    >>> import fastbp, fastbp.onnx, skl2onnx
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> fastbp.onnx.register()
    >>> X, y = fastbp.datasets.quadrants(200, seed=0)
    >>> pipeline = make_pipeline(StandardScaler(), fastbp.MLPClassifier(tol=0.01, random_state=0)).fit(X, y)
    >>> model = skl2onnx.to_onnx(pipeline, X[:1].astype(np.float32), options={"zipmap": False})
    >>> [output.name for output in model.graph.output]
    ['label', 'probabilities']
    """
    from .estimators import onnx_converters  # scikit-learn and skl2onnx are extras

    onnx_converters.register()

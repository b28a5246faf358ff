"""The ways in which a network leaves: as files that other programs run, and as an object of scikit-learn.

`Leaving` is a base class of `fastbp.MLP`, with signatures and documentation; `fastbp.export` does the work, and is
imported where it is called.
"""

from __future__ import annotations

import os
from typing import Any

from .model.model import Model


class Leaving:
    """Methods that write a network for others."""

    _model: Model

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as an ONNX file, which ONNX Runtime and other programs run: whole or not at all.

        Its input is ``X`` (rows, features) of the network's dtype, before `input_shift` and `input_scale`, for any
        number of rows; NaN, infinity and what is no level in an embedded column are not refused. The outputs of a loss
        of classification are

        - ``label``, what `predict` returns: with `class_names` the names themselves, as text;
        - ``probabilities`` (rows, outputs), what `predict_proba` returns;

        and that of another loss is ``predictions``, what `predict` returns. The names of features, classes and target
        are in the file's metadata. It needs ``pip install 'fastbp[onnx]'``.

        Parameters
        ----------
        path : path

        Raises
        ------
        ModuleNotFoundError
            The package onnx is missing.
        ValueError
            An activation is your own, or the parameters take 2 GiB or more, which an ONNX file cannot hold.
        OSError
            The file cannot be written; an old one of that name is unchanged.

        Notes
        -----
        Operators are those of opset 17. Activations that ONNX Runtime lacks in float64 are composed of others. What it
        computes agrees with `predict` but for rounding, since it sums in another order.

        Examples
        --------
        >>> import fastbp, onnxruntime, os, tempfile
        >>> import numpy as np
        >>> path = os.path.join(tempfile.mkdtemp(), "net.onnx")
        >>> net = fastbp.MLP((1, 2), initializer=[[[1.0, -1.0]], [0.0, 0.0]])
        >>> net.class_names = ["above", "below"]
        >>> net.to_onnx(path)
        >>> session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        >>> label, probabilities = session.run(None, {"X": np.array([[3.0], [-2.0]], np.float32)})
        >>> label.tolist(), probabilities.shape
        (['above', 'below'], (2, 2))
        """
        from .export import onnx_networks

        onnx_networks.write_network(self._model, path)

    def to_safetensors(self, path: str | os.PathLike[str]) -> None:
        """Write weights and biases to a ``.safetensors`` file, whole or not at all, with the names of PyTorch.

        The tensors are those of an ``nn.Sequential`` of Linear layers and activations by turns: "0.weight" (units,
        features), "0.bias" (units,), "2.weight" and so on. The file's metadata, texts, have sizes, activation, loss,
        constants, input scaling and names; scaling is not part of the tensors.

        Parameters
        ----------
        path : path

        Raises
        ------
        ValueError
            The network has embeddings.
        OSError
            The file cannot be written; an old one of that name is unchanged.

        Examples
        --------
        >>> import fastbp, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "net.safetensors")
        >>> fastbp.MLP((2, 3, 2), seed=0).to_safetensors(path)
        >>> os.path.getsize(path) > 4 * 17
        True
        """
        from .export import safetensors

        safetensors.write(path, self._model)

    def to_c(self, path: str | os.PathLike[str]) -> None:
        """Write the network, with its input scaling, as a C99 file without dependencies, whole or not at all.

        The file says at its head what functions it has: ``fastbp_predict(x, out)`` for one row, and a few more.
        Compiled by ``-std=c99 -ffp-contract=off`` it returns the bits that fastbp returns on a processor without fused
        multiply-adds; those with them (AVX2, AVX-512, NEON) differ by rounding.

        Parameters
        ----------
        path : path

        Raises
        ------
        ValueError
            The network has embeddings or parameters that are not finite, or an activation of your own that calls a
            function of the C library, such as a sine or a square root.
        OSError
            The file cannot be written; an old one of that name is unchanged.

        Examples
        --------
        >>> import fastbp, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "net.c")
        >>> fastbp.MLP((2, 3, 2), seed=0).to_c(path)
        >>> "void fastbp_predict(const float *x, float *out);" in path.read_text()
        True
        """
        from .export import c_source

        c_source.write(path, self._model)

    def to_sklearn(self) -> Any:
        """Return a fitted estimator of scikit-learn with copies of the parameters and the same predictions.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor, or sklearn.pipeline.Pipeline
            The classifier of a loss of classes or shares; its classes are the `class_names`, in ascending order, else
            0, 1, .... Two classes become one logistic output, as scikit-learn has them. Input scaling becomes a
            `StandardScaler` in front of the estimator, not a part of its first layer: there the shift would be
            subtracted from a sum, whose digits cancel where features are far from 0. `loss_` is NaN. If it is fitted
            further, it is by scikit-learn's own losses.

        Raises
        ------
        ValueError
            The hidden layers' activations are not all the same, or not "identity", "logistic", "tanh" or "relu"; or the
            network has embeddings, or a single class.
        ModuleNotFoundError
            scikit-learn is not installed.

        Examples
        --------
        >>> import fastbp
        >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
        >>> net = fastbp.MLP((2, 20, 4), dtype="float64", seed=0)
        >>> history = net.fit(X, y, epochs=5)
        >>> estimator = net.to_sklearn()
        >>> estimator.coefs_[0].shape, bool((estimator.predict(X) == net.predict(X)).all())
        ((2, 20), True)
        """
        from .export import scikit_learn

        return scikit_learn.estimator_of(self._model)

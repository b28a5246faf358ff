"""Ensembles: the mean of several networks' outputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import frames
from ..model import npz_file, pickles, serialization
from ..model.scores import predictions, score
from ..names import listed
from ..network import MLP
from .fitting import check_networks

Array = NDArray[Any]


class Ensemble:
    """The mean of several networks' outputs.

    Parameters
    ----------
    networks : sequence of MLP
        At least one. All must have the same loss, inputs, outputs and names; hidden layers, dtypes and input scaling
        may differ.

    Attributes
    ----------
    networks : tuple of MLP

    Raises
    ------
    TypeError, ValueError
        `networks` is empty, holds something else than an `MLP`, or the networks do not fit together.

    Examples
    --------
    >>> import fastbp, os, tempfile
    >>> X, y = fastbp.datasets.quadrants(1000, seed=0)
    >>> networks = [fastbp.MLP((2, 20, 4), seed=seed) for seed in range(3)]
    >>> histories = fastbp.fit_many(networks, X, y, epochs=20, batch_size=20, learning_rate=0.5)
    >>> ensemble = fastbp.Ensemble(networks)
    >>> ensemble.predict_proba([[0.5, 0.5]]).shape
    (1, 4)
    >>> path = os.path.join(tempfile.mkdtemp(), "ensemble.npz")
    >>> ensemble.save(path)
    >>> fastbp.Ensemble.load(path).score(X, y) == ensemble.score(X, y)
    True
    """

    def __init__(self, networks: Sequence[MLP]):
        nets = check_networks(networks)
        first = nets[0]
        for i, net in enumerate(nets):
            compared = (
                ("loss", net.loss_name, first.loss_name),
                ("inputs", net.sizes[0], first.sizes[0]),
                ("outputs", net.sizes[-1], first.sizes[-1]),
                ("class names", net.class_names, first.class_names),
            )
            for what, own, expected in compared:
                if own != expected:
                    raise ValueError(f"networks[{i}]: got {what} {own!r}, expected {expected!r} as of networks[0]")
            if net.feature_names != first.feature_names:
                own, expected = (listed(names or ()) or "none" for names in (net.feature_names, first.feature_names))
                raise ValueError(f"networks[{i}]: got feature names {own}, expected {expected} as of networks[0]")
        self.networks: tuple[MLP, ...] = tuple(nets)
        self._loss = first.model.loss

    def __repr__(self) -> str:
        return f"Ensemble of {len(self.networks)}: {self.networks[0]!r}{', ...' if len(self.networks) > 1 else ''}"

    def __len__(self) -> int:
        return len(self.networks)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return pickles.reduced(self)

    def __getstate__(self) -> dict[str, Any]:
        more = {name: value for name, value in vars(self).items() if name not in ("networks", "_loss")}
        return pickles.stamped(networks=self.networks, more=more)

    def __setstate__(self, state: dict[str, Any]) -> None:
        pickles.check("Ensemble", state)
        self.networks = state["networks"]
        self._loss = self.networks[0].model.loss
        self.__dict__.update(state["more"])

    @property
    def class_names(self) -> tuple[str, ...] | None:
        return self.networks[0].class_names

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        return self.networks[0].feature_names

    def outputs(self, X: ArrayLike) -> Array:
        """Return the mean of the networks' `outputs`.

        Parameters
        ----------
        X : array_like (n, features)

        Returns
        -------
        array (n, outputs)
            Summed in float64 in the order of the networks, then rounded to the widest of their dtypes.
        """
        X = frames.read("X", X)  # once for all
        mean: Array = self._mean(net.outputs(X) for net in self.networks)
        return mean.astype(np.result_type(*(net.dtype for net in self.networks)))

    def _mean(self, outputs: Iterable[Array]) -> NDArray[np.float64]:
        """Return the mean over networks, summed in their order."""
        total = np.zeros((), np.float64)
        for each in outputs:
            total = total + each
        mean: NDArray[np.float64] = total / len(self.networks)
        return mean

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return mean probabilities (n, outputs); raise ValueError if the loss is not one of classification."""
        if not self._loss.classifies:
            raise ValueError(
                f"predict_proba: got networks whose loss is {self._loss.name}, expected one of classification; "
                "use outputs or predict"
            )
        return self.outputs(X)

    @overload
    def predict(self, X: ArrayLike, return_std: Literal[False] = False) -> Array: ...

    @overload
    def predict(self, X: ArrayLike, return_std: Literal[True]) -> tuple[Array, Array]: ...

    def predict(self, X: ArrayLike, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Return the prediction for each row from the mean outputs, in the form of `MLP.predict`.

        Parameters
        ----------
        X : array_like (n, features)
        return_std : bool, default False
            Return the networks' disagreement too, which grows where there was little to learn from.

        Returns
        -------
        predicted : array
        deviation : array, like `predicted`
            With `return_std`: the standard deviation of the networks' outputs, ``sqrt(sum_k (y_k - mean)^2 / K)`` for K
            networks.

        Raises
        ------
        ValueError
            `return_std` for a loss of classification, whose probabilities tell how sure it is.

        Examples
        --------
        >>> import fastbp
        >>> networks = [fastbp.MLP((1, 1), loss="huber", initializer=[[[slope]], [0.0]]) for slope in (1.0, 3.0)]
        >>> fastbp.Ensemble(networks).predict([[1.0], [2.0]], return_std=True)
        (array([2., 4.], dtype=float32), array([1., 2.], dtype=float32))
        """
        if not return_std:
            return predictions(self._loss, self.outputs(X))
        if self._loss.classifies:
            raise ValueError(f"return_std: got networks whose loss is {self._loss.name}, expected one of numbers")
        X = frames.read("X", X)
        outputs = np.array([net.outputs(X) for net in self.networks], np.float64)
        dtype, mean = np.result_type(*(net.dtype for net in self.networks)), self._mean(list(outputs))
        with np.errstate(over="ignore"):  # to infinity
            deviation = np.sqrt(np.square(outputs - mean).mean(axis=0)).astype(dtype)
        return predictions(self._loss, mean.astype(dtype)), predictions(self._loss, deviation)

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Return the score of the predictions: the accuracy or R^2, as for `MLP.score`."""
        predicted = self.predict(X)
        return score(self._loss, predicted, self.networks[0].model.targets("y", y, len(predicted)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all networks to one ``.npz`` file, which is replaced as a whole. See `MLP.save`."""
        arrays, networks = to_arrays(self)
        npz_file.write(path, arrays, {"networks": networks})

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the ensemble as an ONNX file. Input, outputs and errors are those of `MLP.to_onnx`."""
        from ..export import onnx_networks  # onnx is an extra

        onnx_networks.write_ensemble([net.model for net in self.networks], path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], custom: Mapping[str, Any] | None = None) -> Ensemble:
        """Read a file that `save` wrote.

        Parameters
        ----------
        path : path
        custom : mapping of str to formula, optional
            As of `fastbp.load`.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        CheckpointError
            The file is damaged, or is not an ensemble's.
        """
        arrays, metadata = npz_file.read(path)
        try:
            if "table" in metadata:
                raise ValueError("it is a table's model, which fastbp.TableModel.load reads")
            if "networks" not in metadata:
                raise ValueError("it holds no list of networks; fastbp.load reads the file of a single one")
            return from_arrays(arrays, metadata["networks"], custom)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            message = f"{os.fspath(path)}: not an ensemble that fastbp can read: {error}"
            raise npz_file.CheckpointError(message) from error


def to_arrays(ensemble: Ensemble) -> tuple[dict[str, Array], list[dict[str, Any]]]:
    """Return arrays and the networks' metadata, from which `from_arrays` makes an equal ensemble."""
    arrays: dict[str, Array] = {}
    metadata = []
    for i, net in enumerate(ensemble.networks):
        own, described = serialization.to_arrays(net.model)
        arrays |= {f"{i}.{name}": array for name, array in own.items()}
        metadata.append(described)
    return arrays, metadata


def from_arrays(arrays: dict[str, Array], metadata: list[dict[str, Any]], custom: Any = None) -> Ensemble:
    """Return the ensemble that arrays and metadata describe."""
    networks = []
    for i, described in enumerate(metadata):
        prefix = f"{i}."
        own = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
        networks.append(MLP.of(serialization.from_arrays(own, described, custom)))
    return Ensemble(networks)

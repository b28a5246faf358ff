"""A model of tables: from the columns of raw rows to answers, and all of it in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model import npz_file, pickles
from ..model_selection import ensemble
from ..model_selection.ensemble import Ensemble
from ..network import MLP
from .columns import Columns
from .encoder import Encoder
from .reading import columns_of
from .targets import TargetScaling

Array = NDArray[Any]

# Options with which files are read, and the types of their values.
READING: dict[str, tuple[type, ...]] = {"missing": (list, tuple), "decimal": (str,), "target": (int, str)}
BLOCK_BYTES = 16 * 1024**2  # of encoded rows that are predicted at once


class Member(NamedTuple):
    """Networks that share an encoding.

    Attributes
    ----------
    encoder : Encoder
    networks : Ensemble
    share : float
        That their mean output has in the answer.
    """

    encoder: Encoder
    networks: Ensemble
    share: float


class TableModel:
    """Networks with the encoders of their inputs and the scaling of their outputs.

    Parameters
    ----------
    members : sequence of Member
        Their outputs, each times its share, are summed. Names of classes and of the target are those of the networks.
    scaling : TargetScaling or None
        Of targets that are numbers: one for all outputs, or one for each.
    quantiles : sequence of float
        The levels of which each target has an output, if these are predicted.
    reading : mapping of str to value, optional
        Options of `datasets.load` with which the file of the training was read, and others like it are to be read.

    Raises
    ------
    ValueError
        The parts do not fit together.

    Examples
    --------
    >>> import fastbp
    >>> from fastbp.tables.reading import columns_of
    >>> rows = columns_of("X", [[1.0], [2.0], [3.0]])
    >>> net = fastbp.MLP((1, 1), loss="mean_squared_error", initializer=[[[2.0]], [0.5]])
    >>> member = Member(Encoder.fit(rows), fastbp.Ensemble([net]), 1.0)
    >>> TableModel([member], TargetScaling(10.0, 4.0)).predict([[1.0], [2.0], [3.0]]).round(3).tolist()
    [4.411, 12.0, 19.589]
    """

    def __init__(
        self,
        members: Sequence[Member],
        scaling: TargetScaling | None = None,
        quantiles: tuple[float, ...] = (),
        reading: Mapping[str, Any] | None = None,
    ):
        self._fill(members, scaling, quantiles, reading or {})

    @property
    def encoder(self) -> Encoder:
        """The first encoder, which stands for all in what they have in common: the columns."""
        return self.members[0].encoder

    @property
    def network(self) -> MLP:
        """The first network, which stands for all in what they have in common: the loss, and names."""
        return self.members[0].networks.networks[0]

    def outputs(self, X: Any) -> Array:
        """Return mean outputs (n, outputs): probabilities, or numbers in float64.

        Parameters
        ----------
        X : frame, array_like or Columns
            With the columns of the training, by their names if both have some.

        Raises
        ------
        ValueError, TypeError
            A column is missing, or holds text where the training had numbers; or X is no table.
        """
        columns = X if isinstance(X, Columns) else columns_of("X", X)
        width = max(member.encoder.width for member in self.members)
        rows = max(1, BLOCK_BYTES // (self.network.dtype.itemsize * width))
        found = [self._mixed(part) for part in columns.blocks(rows)]
        outputs = found[0] if len(found) == 1 else np.concatenate(found)
        return outputs.astype(self.network.dtype) if self.scaling is None else self.scaling.unscaled(outputs)

    def _mixed(self, columns: Columns) -> NDArray[np.float64]:
        """Return the outputs of the members, summed in their order."""
        total = np.zeros((columns.rows, self.network.sizes[-1]))
        for encoder, networks, share in self.members:
            total += share * networks.outputs(encoder.encode(columns, self.network.dtype)).astype(np.float64)
        return total

    def predict(self, X: Any) -> Array:
        """Return the number of each row's class (n,), or numbers (n,) or (n, targets), for X as in `outputs`.

        Quantiles are in a last axis, those of each row in ascending order: networks that were trained by different
        losses may cross them, and sorting never raises the sum of the losses (Chernozhukov, Fernández-Val and Galichon:
        Quantile and probability curves without crossing. Econometrica 78, 2010).
        """
        outputs = self.outputs(X)
        if self.scaling is None:
            labels: Array = outputs.argmax(axis=1)
            return labels
        if self.quantiles:
            outputs = np.sort(outputs.reshape(len(outputs), -1, len(self.quantiles)), axis=-1)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    # ---- files ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one ``.npz`` file, which is replaced as a whole. See `MLP.save`."""
        arrays, table = self._described()
        npz_file.write(path, arrays, {"table": table})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TableModel:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        CheckpointError
            The file is damaged, or is not that of such a model.
        """
        return cls.of(path, *npz_file.read(path))

    @classmethod
    def of(cls, path: str | os.PathLike[str], arrays: dict[str, Array], metadata: dict[str, Any]) -> TableModel:
        """Return the model of a file that was read from `path`."""
        try:
            if "table" not in metadata:
                raise ValueError("it holds no encoder; fastbp.load reads the file of a network, Ensemble.load of many")
            model = cls.__new__(cls)
            model._set(arrays, metadata["table"])
            return model
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
            message = f"{os.fspath(path)}: not a table's model that fastbp can read: {error}"
            raise npz_file.CheckpointError(message) from error

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write encoders, networks and scaling as an ONNX file: whole or not at all.

        Each column is an input (rows, 1) by its name, or ``column_0`` and so on where columns have none. Numbers are
        float64, as tables are read, with NaN for a gap. Text, bools ("True" and "False") and categories are text, with
        "" for a gap, unless "" is a level itself; then any text that is no level stands for a gap. The outputs are
        ``label`` and ``probabilities`` of classes, the label by its name, or ``predictions``, what `predict` returns;
        with ``_`` behind one if a column has its name. Errors are those of `MLP.to_onnx`.

        Parameters
        ----------
        path : path

        Examples
        --------
        >>> import fastbp, onnxruntime, os, tempfile
        >>> from fastbp.tables.reading import columns_of
        >>> rows = columns_of("X", [[1.0], [2.0], [3.0]])
        >>> net = fastbp.MLP((1, 1), loss="mean_squared_error", initializer=[[[2.0]], [0.5]])
        >>> model = TableModel([Member(Encoder.fit(rows), fastbp.Ensemble([net]), 1.0)], TargetScaling(10.0, 4.0))
        >>> path = os.path.join(tempfile.mkdtemp(), "model.onnx")
        >>> model.to_onnx(path)
        >>> session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        >>> session.run(None, {"column_0": np.array([[1.0], [2.0], [3.0]])})[0].round(3).tolist()
        [4.411, 12.0, 19.589]
        """
        from . import onnx_export  # onnx is an extra

        onnx_export.write(self, path)

    # ---- as arrays and metadata, for files and pickles ----

    def _described(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return the arrays and the metadata of which `_set` makes an equal model."""
        arrays: dict[str, Array] = {}
        members: list[dict[str, Any]] = []
        for number, (encoder, networks, share) in enumerate(self.members):
            own, described = ensemble.to_arrays(networks)
            arrays |= {f"{number}.{name}": array for name, array in own.items()}
            members.append({"encoder": encoder.to_metadata(), "networks": described, "share": share})
        reading = {option: list(value) if isinstance(value, tuple) else value for option, value in self.reading.items()}
        table: dict[str, Any] = {"members": members, "quantiles": list(self.quantiles), "reading": reading}
        if self.scaling is not None:
            table["scaling"] = {name: np.ravel(value).tolist() for name, value in self.scaling._asdict().items()}
        return arrays, table

    def _set(self, arrays: dict[str, Array], table: dict[str, Any]) -> None:
        """Become the model that arrays and metadata describe."""
        members = [_member(arrays, number, each) for number, each in enumerate(table["members"])]
        scaling = None
        if "scaling" in table:
            scaling = TargetScaling(*(np.array(table["scaling"][name]) for name in TargetScaling._fields))
        self._fill(members, scaling, table["quantiles"], table["reading"])

    def _fill(
        self,
        members: Sequence[Member],
        scaling: TargetScaling | None,
        quantiles: Sequence[float],
        reading: Mapping[str, Any],
    ) -> None:
        """Set the attributes; raise ValueError if the parts do not fit together."""
        self.members, self.quantiles, self.reading = tuple(members), tuple(map(float, quantiles)), dict(reading)
        self.scaling = None if scaling is None else TargetScaling(*map(np.atleast_1d, scaling))
        if not self.members or len({member.encoder.names for member in self.members}) > 1:
            raise ValueError("members: expected at least one, all with the same columns")
        for encoder, networks, _ in self.members:
            if any(net.sizes[0] != encoder.width for net in networks.networks):
                raise ValueError(f"networks: got another number of features than the {encoder.width} that are encoded")
        outputs, shares = self.network.sizes[-1], [member.share for member in self.members]
        if any(net.sizes[-1] != outputs for member in self.members for net in member.networks.networks):
            raise ValueError("networks: got different numbers of outputs, expected the same")
        if not all(0 < share <= 1 for share in shares):
            raise ValueError(f"share: got {shares}, expected numbers above 0")
        if (self.scaling is None) != (self.network.model.loss.classifies):
            raise ValueError("scaling: expected one of numbers, and none of classes")
        if self.scaling is not None:
            for name, value in self.scaling._asdict().items():
                if (
                    value.dtype.kind not in "iuf"
                    or value.shape not in ((1,), (outputs,))
                    or not np.isfinite(value).all()
                ):
                    raise ValueError(f"{name}: got {value!r}, expected a finite number for each output")
        unknown = self.reading.keys() - READING.keys()
        if unknown or not all(isinstance(value, READING[option]) for option, value in self.reading.items()):
            raise ValueError(f"reading: got {self.reading}, expected some of {', '.join(READING)}")
        if self.quantiles and (outputs % len(self.quantiles) or not all(0 < level < 1 for level in self.quantiles)):
            raise ValueError(f"quantiles: got {self.quantiles} for {outputs} outputs")

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return pickles.reduced(self)

    def __getstate__(self) -> dict[str, Any]:
        arrays, table = self._described()
        return pickles.stamped(arrays=arrays, table=table)

    def __setstate__(self, state: dict[str, Any]) -> None:
        pickles.check("TableModel", state)
        self._set(state["arrays"], state["table"])


def _member(arrays: dict[str, Array], number: int, described: dict[str, Any]) -> Member:
    prefix = f"{number}."
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    encoder, networks = Encoder.from_metadata(described["encoder"]), ensemble.from_arrays(own, described["networks"])
    return Member(encoder, networks, float(described["share"]))

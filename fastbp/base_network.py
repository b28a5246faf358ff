"""A network as it is: its attributes, outputs, predictions, scores, loss and gradients.

`BaseNetwork` is the base class of `fastbp.MLP`, which adds construction, training and files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import representation, validation
from .back_propagation import derivatives_of
from .inputs.in_memory import rows_of
from .kernels.coefficients import CONSTANTS
from .model import evaluation
from .model.evaluation import Derivatives, Gradient, SampleGradients
from .model.model import Model
from .model.scores import score
from .prediction import hidden_of, outputs_of

if TYPE_CHECKING:
    from .training.history import History

Array = NDArray[Any]


class BaseNetwork:
    """Attributes and evaluation of a model."""

    _model: Model

    # ---- attributes ----

    @property
    def model(self) -> Model:
        """The network's parts, as the rest of fastbp takes them."""
        return self._model

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of input features, units of each hidden layer, and number of outputs."""
        return self._model.sizes

    @property
    def activation(self) -> str | tuple[str, ...]:
        """Activation of all hidden layers, or a tuple with one for each."""
        return self._model.activation

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the parameters and of all arithmetic."""
        return self._model.dtype

    @property
    def constants(self) -> dict[str, float | tuple[float, ...]]:
        """Numbers that activations and losses depend on, by their names, which are attributes as well; a copy."""
        return dict(self._model.constants)

    @property
    def input_shift(self) -> Array | None:
        """What is subtracted from inputs, one number per feature; None if nothing is."""
        return self._model.input_shift

    @property
    def input_scale(self) -> Array | None:
        """What shifted inputs are multiplied by, one number per feature; None if they are not scaled."""
        return self._model.input_scale

    @property
    def weights(self) -> list[Array]:
        """Weight matrices (fan_in, fan_out), views into `parameters`."""
        return self._model.weights

    @property
    def biases(self) -> list[Array]:
        """Bias vectors (fan_out,), views into `parameters`."""
        return self._model.biases

    @property
    def embeddings(self) -> dict[int, Array]:
        """Tables of the embedded columns, (levels, width), by column; views into `parameters`."""
        return self._model.tables

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, or of other outputs; None if they have none."""
        return self._model.class_names

    @class_names.setter
    def class_names(self, value: Iterable[Any] | None) -> None:
        self._model.class_names = value

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the input columns; None if they have none."""
        return self._model.feature_names

    @feature_names.setter
    def feature_names(self, value: Iterable[str] | None) -> None:
        self._model.feature_names = value

    @property
    def target_name(self) -> str | None:
        """Name of the target; None if it has none."""
        return self._model.target_name

    @target_name.setter
    def target_name(self, value: str | None) -> None:
        self._model.target_name = value

    @property
    def rng(self) -> np.random.Generator:
        """Generator that draws row orders and dropout; another one may be assigned."""
        return self._model.rng

    @rng.setter
    def rng(self, value: np.random.Generator) -> None:
        if not isinstance(value, np.random.Generator):
            raise TypeError(f"rng: got {value!r}, expected a numpy.random.Generator")
        self._model.rng = value

    @property
    def history(self) -> History | None:
        """The `History` of the last training, of `fit` or `partial_fit`, finished or not; None before the first.

        Ctrl-C, a divergence, or an error of a callback leaves that of the epochs before. A call that is refused changes
        nothing. Neither files nor pickles nor deep copies hold it.
        """
        history: History | None = self._model.history
        return history

    @property
    def parameters(self) -> Array:
        """All parameters in one flat buffer; values may be assigned."""
        return self._model.parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        self._model.set_parameters(values)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the layers, and the losses of the last training as a line."""
        from .model.layer_table import layer_table

        history = self.history
        losses = "" if history is None else representation.sparkline("loss", history.loss)
        return representation.html(repr(self), layer_table(self._model), losses)

    @property
    def loss_name(self) -> str:
        """Name of the loss."""
        return self._model.loss.name

    @property
    def classes(self) -> int:
        """Number of classes, or of other outputs."""
        return self.sizes[-1]

    # ---- forward ----

    def logits(self, X: ArrayLike) -> Array:
        """Compute the outputs of the last layer, before softmax, logistic function or exponential.

        Parameters
        ----------
        X : array_like (n, features)
            Of any real dtype and layout.

        Returns
        -------
        array (n, outputs)
            Of the network's dtype. A row gives the same bits whatever other rows are in the call.

        Raises
        ------
        ValueError, TypeError
            The shape or dtype is wrong, there are no rows, or X holds NaN, infinity, or what is no level in an embedded
            column.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((2, 2), dtype="float64", initializer=[[[1.0, 0.0], [0.0, 2.0]], [0.0, 1.0]])
        >>> net.logits([[3.0, 4.0]])
        array([[3., 9.]])
        """
        return outputs_of(self._model, X, answered=False)

    def outputs(self, X: ArrayLike) -> Array:
        """Compute the outputs that the logits stand for; parameters and errors are those of `logits`.

        Returns
        -------
        array (n, outputs)
            The softmax of the logits for "softmax_cross_entropy", their logistic function for "binary_cross_entropy",
            their exponential for "poisson_deviance", the logits themselves for other losses.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((1, 1), loss="binary_cross_entropy", dtype="float64", initializer=[[[1.0]], [0.0]])
        >>> net.outputs([[0.0]])
        array([[0.5]])
        """
        return outputs_of(self._model, X, answered=True)

    def hidden(self, X: ArrayLike, layer: int = -1) -> Array:
        """Compute the outputs of a hidden layer, behind its activation: what the network makes of its inputs.

        Parameters
        ----------
        X : array_like (n, features)
            As for `logits`.
        layer : int, default -1
            Which hidden layer: 0 is the first, -1 the last.

        Returns
        -------
        array (n, units)
            Of the network's dtype, without dropout.

        Raises
        ------
        ValueError, TypeError
            There is no such hidden layer; or as for `logits`.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((2, 2, 1), dtype="float64", initializer=[[[1, 0], [0, -1]], [0, 0], [[1], [1]], [0]])
        >>> net.hidden([[3.0, 4.0]])
        array([[3., 0.]])
        """
        return hidden_of(self._model, X, validation.hidden_layer(layer, len(self.sizes) - 2))

    def predict_proba(self, X: ArrayLike) -> Array:
        """Compute probabilities, (n, outputs): the `outputs` of a classifier.

        Raises
        ------
        ValueError
            The network does not classify; or as for `logits`.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((1, 2), dtype="float64", initializer=[[[1.0, 1.0]], [0.0, 0.0]])
        >>> net.predict_proba([[3.0]])
        array([[0.5, 0.5]])
        """
        if not self._model.loss.classifies:
            name = self._model.loss.name
            raise ValueError(f"predict_proba: got a network whose loss is {name}, expected one of classes")
        return outputs_of(self._model, X, answered=True)

    def predict(self, X: ArrayLike) -> Array:
        """Predict each row; parameters and errors are those of `logits`.

        Returns
        -------
        array
            For "softmax_cross_entropy" the index of the largest logit, the lowest on ties, (n,) int64.
            For "binary_cross_entropy" 1 where the probability is above one half, otherwise 0, (n, outputs) int64.
            For other losses `outputs`, (n, outputs). With one output the last two are (n,).

        Examples
        --------
        >>> import fastbp
        >>> X, y = fastbp.datasets.quadrants(4000, seed=0)
        >>> net = fastbp.MLP((2, 50, 4), seed=0)
        >>> history = net.fit(X, y, epochs=20, batch_size=32, learning_rate=0.5)
        >>> net.predict([[0.5, 0.5], [-0.5, 0.5]])
        array([0, 1])
        """
        if self._model.loss.targets == "classes":
            labels: Array = self.logits(X).argmax(axis=1).astype(np.int64, copy=False)
            return labels
        found: Array = (self.logits(X) > 0).astype(np.int64) if self._model.loss.classifies else self.outputs(X)
        return found[:, 0] if found.shape[1] == 1 else found

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Compute how well predictions agree with y: accuracy of a classifier, otherwise R^2.

        Parameters
        ----------
        X : array_like (n, features)
        y : array_like (n,) or (n, outputs)
            As for `gradient`. Rows of probabilities count as their largest one; targets of binary outputs count as 1
            above one half.

        Returns
        -------
        float
            The share of rows that are right in all outputs; or the coefficient of determination
            ``R^2 = 1 - sum (y - prediction)^2 / sum (y - mean)^2``, the mean over outputs. Where all y are the same it
            is 1 if the predictions are right, otherwise 0.

        Raises
        ------
        ValueError, TypeError
            As for `gradient`.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((1, 2), dtype="float64", initializer=[[[1.0, -1.0]], [0.0, 0.0]])
        >>> net.score([[3.0], [-3.0], [2.0], [-2.0]], [0, 1, 0, 0])
        0.75
        """
        rows = rows_of(self._model, "X", X)
        targets = self._model.targets("y", y, rows.count)
        return score(self._model.loss, self.predict(rows.source), targets)

    def loss(self, X: ArrayLike, y: ArrayLike, l2: float = 0.0, *, sample_weight: ArrayLike | None = None) -> float:
        """Compute the mean loss over rows plus ``l2/2 sum |W|^2``; parameters and errors are those of `gradient`.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((1, 1), loss="mean_squared_error", dtype="float64", initializer=[[[2.0]], [0.0]])
        >>> net.loss([[1.0], [2.0]], [1.0, 4.0], l2=0.5)
        1.5
        """
        return evaluation.loss(self._model, rows_of(self._model, "X", X), y, l2, sample_weight)

    # ---- backward ----

    def gradient(
        self,
        X: ArrayLike,
        y: ArrayLike,
        l2: float = 0.0,
        *,
        sample_weight: ArrayLike | None = None,
        dropout: float | Sequence[float] = 0.0,
        input_dropout: float = 0.0,
        dropout_key: int = 0,
    ) -> Gradient:
        """Compute the loss and its gradient with respect to weights, biases and inputs, by back-propagation.

        Parameters
        ----------
        X : array_like (n, features)
        y : array_like (n,) or (n, outputs)
            Class indices or rows of probabilities; for other losses the targets, (n,) if there is one output.
        l2 : float, default 0
            Strength of the penalty ``l2/2 sum |W|^2``; biases are not penalised.
        sample_weight : array_like (n,), optional
            Weights of at least 0. The loss is then ``sum w loss / sum w``, and 0 if all weights are 0.
        dropout : float or sequence of float, default 0
            Share of the hidden outputs that are set to 0, one for all layers or one for each; the others are divided by
            ``1 - dropout``.
        input_dropout : float, default 0
            The same for the first layer's inputs.
        dropout_key : int, default 0
            Which outputs are set to 0 follows from this number modulo 2^64, row, layer and unit: for checks of the
            gradient.

        Returns
        -------
        Gradient
            `loss`, `weights`, `biases`, `inputs`, `embeddings` and `parameters`.

        Raises
        ------
        ValueError, TypeError
            X is not as for `logits`; labels are out of range, fractional or NaN; rows of probabilities do not sum to 1;
            `l2` is negative.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((2, 3, 2), seed=0, dtype="float64")
        >>> g = net.gradient([[0.5, -1.0], [2.0, 0.25]], [0, 1], l2=0.01)
        >>> [dW.shape for dW in g.weights], g.inputs.shape
        ([(2, 3), (3, 2)], (2, 2))
        """
        rows = rows_of(self._model, "X", X)
        return evaluation.gradient(self._model, rows, y, l2, sample_weight, dropout, dropout_key, input_dropout)

    def backward(
        self,
        X: ArrayLike,
        dlogits: ArrayLike | Callable[[Array], ArrayLike],
        *,
        inputs: bool = True,
        out: Derivatives | None = None,
    ) -> Derivatives:
        """Compute derivatives by back-propagation from those with respect to the logits, which come from elsewhere.

        From a loss of another library, or of your own; or, from rows of 0 with a 1, the derivatives of an output.

        Parameters
        ----------
        X : array_like (n, features)
            As for `logits`.
        dlogits : array_like (n, outputs), or (n,) if there is one output; or callable
            The derivatives of some function of the logits of X; its derivatives with respect to weights and biases are
            sums over rows. They are not checked for NaN and infinity. A callable is called with the logits, array
            (n, outputs), which it may write into but not keep, and returns the derivatives: layers are then computed
            once, where a call of `logits` before this one computes them a first time.
        inputs : bool, default True
            Compute the derivatives with respect to X too; training needs none.
        out : Derivatives, optional
            What an earlier call returned for as many rows and the same `inputs`: it is overwritten, and returned. From
            the third such call on, no array as large as X or the parameters is allocated, if X is an array.

        Returns
        -------
        Derivatives
            `weights`, `biases`, `inputs`, `embeddings` and `parameters`.

        Raises
        ------
        ValueError, TypeError
            `dlogits` has another shape, or is not real; `out` does not fit, or overlaps X, `dlogits` or the parameters;
            or as for `logits`: of more rows than are computed at a time, some may have been written to `out` by then.

        Examples
        --------
        How the second logit depends on the inputs:

        >>> import fastbp
        >>> net = fastbp.MLP((2, 2), dtype="float64", initializer=[[[1.0, 0.0], [0.0, 2.0]], [0.0, 1.0]])
        >>> net.backward([[3.0, 4.0]], [[0.0, 1.0]]).inputs
        array([[0., 2.]])

        The loss ``sum (z - 1)^2``, by its derivatives with respect to the logits z:

        >>> net.backward([[3.0, 4.0]], lambda z: 2 * (z - 1)).biases[0]
        array([ 4., 16.])
        """
        return derivatives_of(self._model, X, dlogits, inputs, out)

    def sample_gradients(self, X: ArrayLike, y: ArrayLike) -> SampleGradients:
        """Compute the gradient of each row's own loss: that of `gradient` for the row alone, for all rows at once.

        This takes n times the memory of the parameters. Parameters and errors are those of `gradient`.

        Returns
        -------
        SampleGradients
            `losses`, `weights`, `biases`, `inputs` and `embeddings`, each with an axis of rows in front.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.MLP((2, 3, 2), seed=0, dtype="float64")
        >>> g = net.sample_gradients([[0.5, -1.0], [2.0, 0.25]], [0, 1])
        >>> [dW.shape for dW in g.weights], g.losses.shape
        ([(2, 2, 3), (2, 3, 2)], (2,))
        """
        return evaluation.sample_gradients(self._model, rows_of(self._model, "X", X), y)


def _constant(name: str) -> property:
    return property(lambda network: network.constants[name], doc=f"Constant {name}, read only.")


for _name in CONSTANTS:
    setattr(BaseNetwork, _name, _constant(_name))

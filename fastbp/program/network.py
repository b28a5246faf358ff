"""The parts of a network, and of a step of its training, that programs depend on."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

from ..cached_property import cached_property
from ..kernels.activations import Activation
from ..kernels.dropout import UNITS
from ..kernels.losses import Loss
from ..kernels.updates import SGD
from .parameters import Embedding, ParameterLayout


@dataclass(eq=False, repr=False)
class Network:
    """The parts of a network that its programs depend on. `network_of` gives one object for each."""

    sizes: tuple[int, ...]
    activations: tuple[Activation, ...]  # of the hidden layers
    loss: Loss
    embeddings: tuple[Embedding, ...] = ()

    @cached_property
    def layout(self) -> ParameterLayout:
        return ParameterLayout(self.sizes, self.embeddings)

    @property
    def layers(self) -> int:
        return len(self.sizes) - 1


network_of = functools.lru_cache(maxsize=1024)(Network)  # its programs are found by identity: hashing it takes 0.4 us


FROZEN = -1  # in the place of coefficients: of what no step changes


class StepForm(NamedTuple):
    """The parts of a training step besides the network."""

    targets: str  # "labels" or "targets"
    weighted: bool = False
    penalised: bool = False
    thresholds: tuple[int, ...] = ()  # of dropout, of the inputs and of each hidden layer, in units of 2^-53
    update: str = SGD.name
    clipped: bool = False
    fetched: bool = False  # rows of X by their order, else they lie side by side
    # Where in a step's coefficients those of each layer begin, and behind them those of each table; FROZEN for those
    # that are not updated. Empty where all of them have the first.
    rates: tuple[int, ...] = ()
    smoothed: bool = False  # targets
    averaged: bool = False  # parameters, behind the optimizer's state

    def fused(self, network: Network) -> bool:
        """Return whether the update is the weight gradient's epilogue, which takes the first coefficients."""
        plain = self.update == SGD.name and not self.clipped and not network.embeddings
        return plain and max(self.rates, default=0) <= 0


NO_STEP = StepForm("labels")  # the form of what is no step: nothing is dropped or smoothed


def thresholds_of(network: Network, dropout: float | tuple[float, ...], input_dropout: float) -> tuple[int, ...]:
    """Return the thresholds of a step's dropout, from the share of all hidden layers or of each, and that of the
    inputs; none where nothing is dropped."""
    hidden = dropout if isinstance(dropout, tuple) else (dropout,) * (network.layers - 1)
    found = tuple(int(share * UNITS) for share in (input_dropout, *hidden))
    return found if any(found) else ()

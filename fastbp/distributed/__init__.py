"""Data-parallel training over MPI: each process holds a shard of the rows, and all take the same steps together.

In a step every rank computes the gradient of its part of the global minibatch; one exchange adds the gradients up, with
the sums of losses and weights behind them; then every rank makes the same update. `fastbp.distributed.shards` says
which rows make up a minibatch, `fastbp.distributed.ranks` how the sum is kept to the same bits. A script that also
fails outside of `fit` without leaving the others to wait is run as ``mpirun -n 4 python -m mpi4py script.py``.
"""

from .fitting import fit, score
from .shards import single_process_order

__all__ = ["fit", "score", "single_process_order"]

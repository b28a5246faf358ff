"""Data-parallel training over MPI: each process holds a shard of the rows, and all take the same steps together.

In a step every rank computes the gradient of its part of the global minibatch; one all-reduce sums the gradients, with
the losses and weights behind them; then every rank makes the same update. `fastbp.distributed.shards` defines which
rows make up a minibatch, `fastbp.distributed.allreduce` how the sum has the same bits in every run. Run a script as
``mpirun -n 4 python -m mpi4py script.py``: an error outside of `fit` then ends the job instead of leaving the other
ranks waiting.
"""

from .fitting import fit, score
from .shards import single_process_order

__all__ = ["fit", "score", "single_process_order"]

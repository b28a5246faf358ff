"""Programs: the table of operations of one step, cut into phases and strands, as the compiled pass reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import operations as op
from ..kernels.functions import Compiled, of_operation
from ..kernels.objects import addresses, lock
from ..kernels.operations import COMMON_COUNTERS, LINE
from .interrupts import interrupt_held
from .memory import address, aligned

Operation = dict[str, int]  # fields of `kernels.operations` that are not 0
Strand = list[Operation]
Place = tuple[int, int] | tuple[int, int, int]  # buffer, offset and, where it has one, leading dimension


def operation(code: int, **fields: int | Place) -> Operation:
    """Return an operation; the places of operands a, b, c, y and bias are spelt out as their fields."""
    found: Operation = {"code": code}
    for name, value in fields.items():
        if isinstance(value, tuple):
            found |= dict(zip((f"{name}_buffer", name, f"ld{name}"), value, strict=False))
        else:
            found[name] = value
    return found


@dataclass(eq=False, repr=False)  # found by its identity
class Program:
    """Phases of strands of operations; `workspace` elements for each thread."""

    table: NDArray[np.int64]
    strands: NDArray[np.int64]
    phases: NDArray[np.int64]
    workspace: int
    threads: int
    activations: int = 0  # elements that they take
    _linked: dict[np.dtype[Any], tuple[NDArray[np.int64], tuple[int, ...]]] = field(default_factory=dict)
    one_step: dict[np.dtype[Any], bytes] = field(default_factory=dict)  # what calls of a single step have in common
    probes: slice = field(default_factory=lambda: slice(0))  # of the activations: finite only where all inputs are
    compiled: Mapping[int, Compiled] = field(default_factory=dict)  # functions of operations for one network

    def functions(self, dtype: np.dtype[Any]) -> Sequence[Compiled]:
        """Return the compiled function of each row."""
        rows = self.table[:, (op.CODE, op.KIND)].tolist()
        return [self.compiled.get(code) or of_operation(code, kind, dtype.name) for code, kind in rows]

    def is_linked(self, dtype: np.dtype[Any]) -> bool:
        """Return whether `words` has the functions' addresses already."""
        return dtype in self._linked

    def words(self, dtype: np.dtype[Any]) -> tuple[int, ...]:
        """Return the program as a call names it (`operations.PROGRAM`), its counters left out."""
        linked = self._linked.get(dtype)
        if linked is None:
            with interrupt_held():
                functions = addresses(self.functions(dtype))
                with lock:  # of several threads the first one's stays: another may be running it
                    linked = self._linked.get(dtype) or self._link(dtype, functions)
        return linked[1]

    def _link(self, dtype: np.dtype[Any], functions: list[int]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
        table = self.table.copy() if self._linked else self.table  # hardly a program serves two dtypes
        table[:, op.FUNCTION] = functions
        self._linked[dtype] = table, (
            address(table), len(table), address(self.strands), self.strands.size - 1, address(self.phases),
            self.phases.size - 1,
        )  # fmt: skip
        return self._linked[dtype]

    def counters(self) -> NDArray[np.int64]:
        """Return counters of 0, as `kernels.team` names them, each on a cache line of its own."""
        counters = aligned(LINE * (COMMON_COUNTERS + self.strands.size - 1), np.int64)
        counters.fill(0)
        return counters

    @classmethod
    def of(
        cls,
        phases: Iterable[list[Strand]],
        workspace: int,
        threads: int,
        compiled: Mapping[int, Compiled] | None = None,
    ) -> Program:
        rows: list[list[int]] = []
        strand_ends, phase_ends = [0], [0]
        for phase in phases:
            for strand in phase:
                rows += [[operation.get(field, 0) for field in op.FIELDS] for operation in strand]
                strand_ends.append(len(rows))
            phase_ends.append(len(strand_ends) - 1)
        table = np.array(rows, np.int64).reshape(len(rows), len(op.FIELDS))
        return cls(table, np.array(strand_ends), np.array(phase_ends), workspace, threads, compiled=compiled or {})


NO_PROGRAM = Program.of([], 0, 1)

"""Trace a plain function of numbers: it is called with symbols, and what it does to them becomes an expression.

A comparison of symbols that decides a branch is answered both ways, one call after another; the results of both are
selected between. No source is needed, so lambdas and functions typed at a prompt are traced as well.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels.expressions import NUMBER, OPERATIONS, Expression

MOST_PATHS = 256  # through the branches of one function
MOST_BRANCHES = 64  # on one path: a loop that ends by a comparison of symbols would never end

# Functions by the names that `math` and NumPy have for them.
NAMES = {name: name for name in OPERATIONS if hasattr(math, name) or hasattr(np, name)} | {
    "fabs": "absolute", "abs": "absolute", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "arctan2": "atan2", "gamma": "tgamma", "lgamma": "lgamma",
    "pow": "power", "power": "power", "float_power": "power", "true_divide": "divide",
}  # fmt: skip


class Symbol:
    """A number of which nothing is known, or a comparison of such numbers."""

    __slots__ = ("trace", "number")

    def __init__(self, trace: Trace, number: int):
        self.trace, self.number = trace, number

    def _with(self, name: str, *others: Any) -> Any:
        return self.trace.apply(name, self, *others)

    def __add__(self, other: Any) -> Any:
        return self._with("add", other)

    def __radd__(self, other: Any) -> Any:
        return self.trace.apply("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self._with("subtract", other)

    def __rsub__(self, other: Any) -> Any:
        return self.trace.apply("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return self._with("multiply", other)

    def __rmul__(self, other: Any) -> Any:
        return self.trace.apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self._with("divide", other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.trace.apply("divide", other, self)

    def __pow__(self, other: Any) -> Any:
        return self._with("power", other)

    def __rpow__(self, other: Any) -> Any:
        return self.trace.apply("power", other, self)

    def __neg__(self) -> Any:
        return self._with("negative")

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self._with("absolute")

    def __floor__(self) -> Any:
        return self._with("floor")

    def __ceil__(self) -> Any:
        return self._with("ceil")

    def __trunc__(self) -> Any:
        return self._with("trunc")

    def __lt__(self, other: Any) -> Any:
        return self._with("less", other)

    def __le__(self, other: Any) -> Any:
        return self._with("less_equal", other)

    def __gt__(self, other: Any) -> Any:
        return self.trace.apply("less", other, self)

    def __ge__(self, other: Any) -> Any:
        return self.trace.apply("less_equal", other, self)

    def __eq__(self, other: Any) -> Any:
        return self._with("equal", other)

    def __ne__(self, other: Any) -> Any:
        return ~self._with("equal", other)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self != 0.0)

    def __float__(self) -> float:
        raise TypeError(
            "it converts its argument to a number, or calls a function that does; import `math` and its functions "
            "outside of it, and call nothing else but functions of arithmetic"
        )

    __int__ = __index__ = __complex__ = __round__ = __float__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        name = NAMES.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or options or (name not in OPERATIONS and name not in COMPOSED):
            raise TypeError(f"it calls numpy.{ufunc.__name__}, which cannot be traced")
        return self.trace.apply(name, *inputs)

    def __array_function__(self, function: Any, kinds: Any, arguments: Any, options: Any) -> Any:
        if function is np.where and len(arguments) == 3 and not options:
            return self.trace.choice(*arguments)
        if function is np.clip and len(arguments) == 3 and not options:
            return np.minimum(np.maximum(arguments[0], arguments[1]), arguments[2])
        raise TypeError(f"it calls numpy.{function.__name__}, which cannot be traced")


class Comparison(Symbol):
    """A comparison of symbols: a branch, if it is asked for its truth; 1 or 0 in arithmetic."""

    __slots__ = ("negated",)

    def __init__(self, trace: Trace, number: int, negated: bool = False):
        super().__init__(trace, number)
        self.negated = negated

    def __invert__(self) -> Comparison:
        return Comparison(self.trace, self.number, not self.negated)

    def __and__(self, other: Any) -> Any:
        return self.trace.choice(self, other, False) != 0.0

    def __or__(self, other: Any) -> Any:
        return self.trace.choice(self, True, other) != 0.0

    __rand__, __ror__ = __and__, __or__

    def __bool__(self) -> bool:
        return self.trace.answer(self.number) is not self.negated


# Operations that are made of others.
def _power(base: Any, exponent: Any) -> Any:
    """A whole power by products; 1/2 by the square root."""
    if isinstance(exponent, numbers.Real):
        exponent = float(exponent)
        if exponent == 0.5:
            return base.trace.apply("sqrt", base)
        if abs(exponent) <= 64 and exponent == int(exponent):
            product, square, left = None, base, abs(int(exponent))
            while left:
                if left & 1:
                    product = square if product is None else product * square
                left >>= 1
                square = square * square if left else square
            product = base * 0.0 + 1.0 if product is None else product
            return 1.0 / product if exponent < 0 else product
    trace = base.trace if isinstance(base, Symbol) else exponent.trace
    return trace.apply("pow", base, exponent)


def _choose(left: Any, right: Any, larger: bool) -> Any:
    """The larger or the smaller one, and NaN where either is."""
    trace = left.trace if isinstance(left, Symbol) else right.trace
    first = trace.apply("less", right, left) if larger else trace.apply("less", left, right)
    return trace.choice(left != left, left, trace.choice(first, left, right))


def _sign(x: Symbol) -> Any:
    return x.trace.choice(x > 0, 1.0, x.trace.choice(x < 0, -1.0, x))


COMPOSED: dict[str, Callable[..., Any]] = {
    "power": _power,
    "maximum": lambda a, b: _choose(a, b, True), "minimum": lambda a, b: _choose(a, b, False),
    "fmax": lambda a, b: _choose(a, b, True), "fmin": lambda a, b: _choose(a, b, False),
    "square": lambda x: x * x, "reciprocal": lambda x: 1.0 / x, "positive": lambda x: x, "sign": _sign,
    "greater": lambda a, b: b < a, "greater_equal": lambda a, b: b <= a, "not_equal": lambda a, b: a != b,
    "exp2": lambda x: x.trace.apply("exp", x * math.log(2.0)),
    "logaddexp": lambda a, b: _choose(a, b, True) + np.log1p(np.exp(-abs(a - b))),
    "radians": lambda x: x * (math.pi / 180.0), "degrees": lambda x: x * (180.0 / math.pi),
    "logical_and": lambda a, b: a & b, "logical_or": lambda a, b: a | b, "logical_not": lambda a: ~a,
}  # fmt: skip


class Trace:
    """The values that functions of the same inputs compute, each once."""

    def __init__(self, inputs: int):
        self.inputs = [Symbol(self, number) for number in range(inputs)]
        self._steps: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._prefix: Sequence[bool] = ()
        self._taken: list[tuple[int, bool]] = []

    def apply(self, name: str, *operands: Any) -> Any:
        """Return the symbol of an operation."""
        if name in COMPOSED:
            return COMPOSED[name](*operands)
        known = [self._number_of(operand) for operand in operands]
        if None in known:
            return NotImplemented
        number = self._step(name, *known)
        return (Comparison if name in ("less", "less_equal", "equal") else Symbol)(self, number)

    def choice(self, condition: Any, yes: Any, no: Any) -> Any:
        """Return one where the condition holds, else the other."""
        if not isinstance(condition, Symbol):
            return yes if condition else no
        if not isinstance(condition, Comparison):
            condition = condition != 0.0
        if condition.negated:
            yes, no = no, yes
        return Symbol(self, self._select(condition.number, self._must(yes), self._must(no)))

    def _must(self, value: Any) -> int:
        number = self._number_of(value)
        if number is None:
            raise TypeError(f"it returns {value!r}, not a number")
        return number

    def _select(self, condition: int, yes: int, no: int) -> int:
        return yes if yes == no else self._step("select", condition, yes, no)

    def _step(self, *step: Any) -> int:
        key = (NUMBER, step[1].hex()) if step[0] == NUMBER else step  # 0 and -0 are equal, and NaN is not
        if key not in self._known:
            self._known[key] = len(self.inputs) + len(self._steps)
            self._steps.append(step)
        return self._known[key]

    def _number_of(self, value: Any) -> int | None:
        if isinstance(value, Comparison):
            one, nothing = (1.0, 0.0) if not value.negated else (0.0, 1.0)
            return self._step("select", value.number, self._step(NUMBER, one), self._step(NUMBER, nothing))
        if isinstance(value, Symbol):
            return value.number
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, (numbers.Real, np.bool_)):
            return self._step(NUMBER, float(value))
        return None

    # ---- branches ----

    def answer(self, condition: int) -> bool:
        """Return the truth of a condition on the path that is followed."""
        for known, truth in self._taken:
            if known == condition:
                return truth
        if len(self._taken) >= MOST_BRANCHES:
            raise RecursionError(f"it takes more than {MOST_BRANCHES} branches one after another, as in a loop that "
                                 "ends by a comparison of its argument")  # fmt: skip
        truth = self._prefix[len(self._taken)] if len(self._taken) < len(self._prefix) else True
        self._taken.append((condition, truth))
        return truth

    def value(self, function: Callable[..., Any], *arguments: Any, **constants: Any) -> int:
        """Return the number of the value that a function returns, by all paths through its branches."""
        leaves: list[tuple[list[tuple[int, bool]], int]] = []
        self._prefix = ()
        while True:
            self._taken = []
            result = self._must(function(*arguments, **constants))
            leaves.append((self._taken, result))
            if len(leaves) > MOST_PATHS:
                raise RecursionError(f"there are more than {MOST_PATHS} paths through its branches")
            path = list(self._taken)
            while path and not path[-1][1]:
                path.pop()
            if not path:
                return self._joined(leaves, 0)
            self._prefix = [*(truth for _, truth in path[:-1]), False]

    def _joined(self, leaves: list[tuple[list[tuple[int, bool]], int]], depth: int) -> int:
        if len(leaves) == 1:
            return leaves[0][1]
        condition = leaves[0][0][depth][0]
        if any(len(path) <= depth or path[depth][0] != condition for path, _ in leaves):
            raise ValueError("it does something else each time it is called")
        yes, no = ([leaf for leaf in leaves if leaf[0][depth][1] is truth] for truth in (True, False))
        return self._select(condition, self._joined(yes, depth + 1), self._joined(no, depth + 1))

    # ---- the result ----

    def needs(self, result: int, inputs: Sequence[int]) -> set[int]:
        """Return the values that a result follows from, and nothing behind the given inputs."""
        found, waiting = set(), [result]
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                if number not in inputs and number >= len(self.inputs):
                    step = self._steps[number - len(self.inputs)]
                    waiting += [] if step[0] == NUMBER else step[1:]
        return found

    def expression(self, result: int, inputs: Sequence[int]) -> Expression:
        """Return the steps from these values to a result."""
        numbers_now = {number: place for place, number in enumerate(inputs)}
        steps: list[tuple[Any, ...]] = []
        for number in sorted(self.needs(result, inputs) - set(inputs)):
            name, *operands = self._steps[number - len(self.inputs)]
            numbers_now[number] = len(inputs) + len(steps)
            steps.append((name, *(operands if name == NUMBER else map(numbers_now.__getitem__, operands))))
        return Expression(len(inputs), tuple(steps), numbers_now[result])

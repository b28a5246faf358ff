"""A property computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class kept(Generic[T]):
    """A property that an object computes when it is first asked for, and then keeps.

    `functools.cached_property` as it is from Python 3.12 on, without the lock that it has before. That one is shared by
    all objects of a class, and a child forked while another thread held it waited for ever: 2 of 68 forks beside two
    threads that fitted small networks. Two threads may compute the same value; the last one stays.

    Examples
    --------
    >>> class Circle:
    ...     radius = 2
    ...
    ...     @kept
    ...     def area(self):
    ...         return 3 * self.radius**2
    >>> circle = Circle()
    >>> circle.area, vars(circle)
    (12, {'area': 12})
    """

    def __init__(self, compute: Callable[[Any], T]):
        self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> T:
        if instance is None:  # asked of the class, by tools that read documentation
            return self  # type: ignore[return-value]
        value: T = self._compute(instance)
        instance.__dict__[self._name] = value  # found before this descriptor from now on; also where it is frozen
        return value

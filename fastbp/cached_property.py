"""A cached property without the lock that `functools.cached_property` holds before Python 3.12."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class cached_property(Generic[T]):
    """A property that is computed on first access and cached in the instance's ``__dict__``.

    It does what `functools.cached_property` does from Python 3.12 on. Before, that one holds a lock shared by all
    instances of a class, and a child that is forked while another thread holds it waits forever: 2 of 68 forks beside
    two threads that fitted small networks. Without the lock, two threads may both compute the value; the last one is
    kept. Frozen dataclasses work too.

    Examples
    --------
    >>> class Circle:
    ...     radius = 2
    ...
    ...     @cached_property
    ...     def area(self):
    ...         return 3 * self.radius**2
    >>> circle = Circle()
    >>> circle.area, vars(circle)
    (12, {'area': 12})
    """

    def __init__(self, compute: Callable[[Any], T]):
        self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> T:
        if instance is None:  # looked up on the class, by tools that read documentation
            return self  # type: ignore[return-value]
        value: T = self._compute(instance)
        instance.__dict__[self._name] = value  # found before this descriptor from now on; works on frozen instances too
        return value

"""Ctrl-C held back while it would do harm."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` wraps it in conversions, which take 25 us a call of a team
import threading
from typing import Any


class interrupt_held:
    """Hold Ctrl-C back to the end of the block: raised within one of LLVM's callbacks it would be lost, and while Numba
    imports a module of its own that module would be half there for ever."""

    def __enter__(self) -> None:
        self._received = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            before = _signal.getsignal(_signal.SIGINT)
            if callable(before):
                _signal.signal(_signal.SIGINT, self._receive)
                self._before = before

    def _receive(self, number: int, frame: Any) -> None:
        self._received = True

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if self._before is not None:
            _signal.signal(_signal.SIGINT, self._before)
            if self._received and kind is None:
                self._before(_signal.SIGINT, None)

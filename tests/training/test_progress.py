"""Progress bars where there is no terminal, or nothing at all, to show them on."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

from fastbp import MLP


def rows(n: int, sizes: tuple[int, ...]) -> tuple[Any, Any]:
    rng = np.random.default_rng(7)
    return rng.standard_normal((n, sizes[0]), np.float32), rng.integers(0, sizes[-1], n)


class _Writes:
    """A standard error such as an editor puts in the place of the terminal's."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None: ...


@pytest.mark.parametrize("progress", [True, None, False])
@pytest.mark.parametrize("error", ["none", "closed", "plain"])
def test_progress_without_a_terminal_to_show_it_on(
    progress: bool | None, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service's, a program's without a console: training goes on."""
    X, y = rows(60, (6, 12, 5))
    stream: Any = None if error == "none" else _Writes()
    if error == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    history = MLP((6, 12, 5), seed=3).fit(X, y, epochs=2, progress=progress)
    assert len(history.loss) == 2
    if error == "plain":
        assert ("row/s" in stream.text) == (progress is True)

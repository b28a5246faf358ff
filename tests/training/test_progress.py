"""Progress bars where there is no terminal, or nothing at all, to show them on; and in notebooks."""

from __future__ import annotations

import importlib.util
import io
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastbp import MLP
from fastbp.training import progress as bars


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


def in_ipython(monkeypatch: pytest.MonkeyPatch, shell: Any) -> _Writes:
    """Run as code of this shell, with a standard error that is no terminal."""
    module, stream = ModuleType("IPython"), _Writes()
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def has(package: str, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "find_spec", lambda name: there if name == package else importlib.util.find_spec(name))


KERNEL, TERMINAL = SimpleNamespace(kernel=object()), SimpleNamespace()


@pytest.mark.parametrize(("shell", "progress", "shown"), [(KERNEL, None, True), (KERNEL, False, False),
                                                          (TERMINAL, None, False), (None, None, False)])  # fmt: skip
def test_by_default_notebooks_show_progress(
    shell: Any, progress: bool | None, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text where there are no widgets, about which tqdm.auto would warn."""
    stream = in_ipython(monkeypatch, shell)
    has("ipywidgets", False, monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)  # an import fails
    MLP((6, 12, 5), seed=3).fit(*rows(60, (6, 12, 5)), epochs=2, progress=progress)
    assert ("row/s" in stream.text) == shown


def test_where_there_are_widgets_tqdm_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    in_ipython(monkeypatch, KERNEL)
    has("ipywidgets", True, monkeypatch)
    auto = ModuleType("tqdm.auto")
    auto.tqdm = lambda **options: options["total"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm.auto", auto)
    assert bars.progress_bar(None, 17) == 17

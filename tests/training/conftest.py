"""Fixtures of the tests in this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastbp.program import execution
from fastbp.training import loop
from support import resume_cases
from support.checkpointed_fits import fit_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.npz"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("resume") / "run.npz"
    fit_of({}, {}, path)[1]()
    return path


@pytest.fixture
def small_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each of them one call, whatever the clock says."""
    monkeypatch.setattr(execution, "STAGED_BYTES", resume_cases.STAGE)
    monkeypatch.setattr(loop.Training, "_calls", resume_cases.calls)

"""Fixtures of the tests in this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastbp.model.npz_file import write
from support.npz_cases import content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.npz"


@pytest.fixture
def saved(path: Path) -> Path:
    write(path, *content())
    return path

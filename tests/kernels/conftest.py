"""Fixtures of the tests in this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cached_package import Copy


@pytest.fixture
def package(tmp_path: Path) -> Copy:
    return Copy(tmp_path)

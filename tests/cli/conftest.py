"""Commands in an empty folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastbp.cli import program
from support.commands import Done, Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Done:
        capsys.readouterr()
        try:
            status: Any = program.main([str(word) for word in words])
        except SystemExit as end:
            status = end.code
        return Done(status, *capsys.readouterr())

    return call


@pytest.fixture
def trained(run: Run) -> Run:
    """The same in a folder with a network of the digits."""
    assert run("train", "--epochs", 5).status == 0
    return run

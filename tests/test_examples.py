"""The scripts of docs/examples run as they stand, in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.lanes import in_lanes

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
EXPECTED = {  # a pattern of what each prints, and the least that its number may be
    "digits.py": (r"(\d+\.\d)% of", 95.0, ["digits.npz"]),
    "regression.py": (r"R\^2 (0\.\d+)", 0.2, ["regression.svg"]),
    "explain.py": (r"(\d+\.\d)% of", 90.0, []),
    "from_scikit_learn.py": (r"score (0\.\d+)", 0.95, []),
    "c_program.py": (r"(\d+\.\d)% of", 90.0, ["digits.c", "digits.so"]),
}


def test_each_script_is_expected() -> None:
    assert sorted(EXPECTED) == sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", in_lanes(EXPECTED, fast=["digits.py"]))
def test_example(name: str, tmp_path: Path) -> None:
    if name == "c_program.py" and shutil.which("cc") is None:
        pytest.skip("no C compiler")
    pattern, least, files = EXPECTED[name]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1]), "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, EXAMPLES / name], cwd=tmp_path, env=environment, capture_output=True,
                          text=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.findall(pattern, done.stdout)
    assert found, done.stdout
    assert min(map(float, found)) >= least, done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == files

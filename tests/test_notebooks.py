"""The notebooks of docs/notebooks run in a kernel, which shows tables, lines and progress bars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
RUN = """
import json, sys, nbformat
from nbclient import NotebookClient
book = nbformat.read(sys.argv[1], 4)
NotebookClient(book, timeout=300, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in book.cells if cell.cell_type == "code"]))
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs a notebook in a process of its own and returns the outputs of each code cell."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")

    def run(name: str) -> list[list[dict[str, Any]]]:
        environment = {**os.environ, "PYTHONPATH": str(NOTEBOOKS.parents[1])}
        folder = tmp_path_factory.mktemp("notebooks")
        done = subprocess.run([sys.executable, "-c", RUN, NOTEBOOKS / name], cwd=folder, env=environment,
                              capture_output=True, text=True, timeout=600, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: list[list[dict[str, Any]]] = json.loads(done.stdout)
        return found

    return run


def html(cell: list[dict[str, Any]]) -> str:
    """The HTML of a cell's value, beside which a text of one line stands."""
    (result,) = (each["data"] for each in cell if each["output_type"] == "execute_result")
    assert "\n" not in result["text/plain"]
    shown: str = result["text/html"]
    return shown


def has_a_bar(cell: list[dict[str, Any]], unit: str) -> bool:
    """Return whether a cell shows a progress bar: a widget, or text where there are no widgets."""
    widget = any("application/vnd.jupyter.widget-view+json" in each.get("data", {}) for each in cell)
    return widget or any(each.get("name") == "stderr" and f"{unit}/s" in each["text"] for each in cell)


def test_notebooks_are_kept_without_outputs() -> None:
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    assert [path.name for path in paths] == ["search.ipynb", "training.ipynb"]
    for path in paths:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), path.name


@pytest.mark.slow
def test_training(outputs: Any) -> None:
    network, fit, frame, stopped, after = outputs("training.ipynb")
    assert "<table>" in html(network) and "<svg" not in html(network)
    assert "<svg" in html(fit) and "validation score" in html(fit)
    assert has_a_bar(fit, "row")
    assert any("text/html" in each.get("data", {}) for each in frame)
    assert [each["ename"] for each in stopped if each["output_type"] == "error"] == ["KeyboardInterrupt"]
    assert [each["text"] for each in after if each.get("name") == "stdout"] == ["3 epochs\n"]
    assert "<svg" in html(after)


@pytest.mark.slow
def test_search(outputs: Any) -> None:
    search, cross_validation, right, wrong = outputs("search.ipynb")
    assert html(search).count("<tr>") == 5
    assert has_a_bar(search, "network")
    assert html(cross_validation).count("<tr>") == 4
    assert "gradcheck passed" in html(right)
    assert "1 of 2 wrong" in html(wrong) and "at [1]" in html(wrong)

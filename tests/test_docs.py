"""Pages hold what they say: what is generated is current, links and names lead somewhere, and code runs."""

from __future__ import annotations

import importlib
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastbp

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
TABLES = runpy.run_path(str(DOCS / "tables.py"))
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", TABLES["pages"](), ids=relative)
def test_what_is_generated_is_current(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert TABLES["rewritten"](text) == text, "stale: run python docs/tables.py"


# ---- links and names ----


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(prose(path)):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_files_and_folders_that_are_named_exist(path: Path) -> None:
    folders = [ROOT / name for name in ("", "fastbp", "tests", "asv_benchmarks", "asv_benchmarks/benchmarks", "docs")]
    for name in re.findall(r"`([\w./-]+(?:\.py|/))`", prose(path)):
        assert any((folder / name).exists() for folder in [*folders, path.parent]), name


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_names_of_the_package_exist(path: Path) -> None:
    if path.name == "CHANGELOG.md":  # it names what was
        return
    for name in re.findall(r"`(fastbp(?:\.\w+)+)", prose(path)):
        found: Any = fastbp
        for part in name.split(".")[1:]:
            found = getattr(found, part, None) or importlib.import_module(f"{found.__name__}.{part}")


@pytest.mark.parametrize("path", sorted((DOCS / "learn").glob("*.md")), ids=relative)
def test_chinese_has_its_own_punctuation_and_no_line_breaks(path: Path) -> None:
    text = LINK.sub("]", prose(path))
    assert not re.search(r"[\u4e00-\u9fff][,:;?!()]|[,;:?!(][\u4e00-\u9fff]", text)
    assert not re.search(r"[\u4e00-\u9fff，。：；、？！）]\n[^\n|]", text)


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for folder in ("guide", "how-to", "internals"):
        for path in (DOCS / folder).glob("*.md"):
            assert f"({folder}/{path.name})" in index, path.name


# ---- code ----


def _of_training() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 104)), rng.standard_normal(200)
    return {"X": X, "y": y, "w": np.ones(200), "X_val": X[:20], "y_val": y[:20]}


def _of_frames() -> dict[str, Any]:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"length": [1.0, 2.0, 3.0], "width": [0.5, 0.1, 0.2], "species_index": [0, 1, 1]})
    return {"net": fastbp.MLP((2, 4, 2), seed=0), "frame": frame, "other": frame}


def _of_saving() -> dict[str, Any]:
    X, y = fastbp.datasets.quadrants(20, seed=0)
    return {"net": fastbp.MLP((2, 4, 4), seed=0), "X": X, "y": y}


def _of_export() -> dict[str, Any]:
    pytest.importorskip("sklearn")
    return {"net": fastbp.MLP((2, 50, 4), seed=0)}


def _of_production() -> dict[str, Any]:
    fastbp.MLP((2, 4, 4), seed=0).save("model.npz")
    return {"sample": np.zeros((1, 2), np.float32)}


def _of_data() -> dict[str, Any]:
    net = fastbp.MLP((2, 3, 2), seed=0)
    net.feature_names = ("length", "width")
    net.save("flowers.npz")
    Path("new.csv").write_text("width,length\n0.1,2\n0.2,3\n", encoding="utf-8")
    return {}


def _of_many_networks() -> dict[str, Any]:
    X, y = fastbp.datasets.load_digits()
    return {"X": X[:100] / 16, "y": y[:100]}


def _of_streaming() -> dict[str, Any]:
    X, y = fastbp.datasets.quadrants(200, seed=0)
    np.save("rows.npy", X)
    np.save("labels.npy", y)
    Path("parts").mkdir()
    np.savez("parts/1.npz", X=X, y=y)
    return {"np": np, "folder": Path("parts"), "net": fastbp.MLP((2, 4, 4), seed=0)}


def _of_scikit_learn() -> dict[str, Any]:
    pytest.importorskip("sklearn")
    return {}


def _of_plotting() -> dict[str, Any]:
    pytest.importorskip("matplotlib")
    return {}


def _of_onnx() -> dict[str, Any]:
    for name in ("onnx", "onnxruntime", "sklearn", "skl2onnx"):
        pytest.importorskip(name)
    return {}


def _of_notebooks() -> dict[str, Any]:
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    return {}


def _nothing() -> dict[str, Any]:
    return {}


PREPARED: dict[str, Callable[[], dict[str, Any]]] = {  # what the code of a page finds there
    "README.md": _of_scikit_learn,
    "docs/guide/training.md": _of_training,
    "docs/guide/frames.md": _of_frames,
    "docs/guide/saving.md": _of_saving,
    "docs/guide/export.md": _of_export,
    "docs/guide/scikit-learn.md": _of_scikit_learn,
    "docs/guide/data.md": _of_data,
    "docs/guide/many-networks.md": _of_many_networks,
    "docs/guide/streaming.md": _of_streaming,
    "docs/guide/graphs.md": _of_plotting,
    "docs/guide/notebooks.md": _of_notebooks,
    "docs/guide/production.md": _of_production,
    "docs/guide/tables.md": _nothing,
    "docs/how-to/call-the-kernels.md": _nothing,
    "docs/how-to/export-to-onnx.md": _of_onnx,
    "docs/how-to/use-your-own-formulas.md": _nothing,
    "docs/how-to/use-your-own-loop.md": _nothing,
    "docs/how-to/verify-a-build.md": _nothing,
}


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_pages_with_code_are_prepared_for() -> None:
    """All but the lessons, which tests of their own run, and guides that show parts of the package's own code."""
    lessons, parts = DOCS / "learn", DOCS / "how-to" / "add-"
    with_code = {path for path in PAGES if blocks(path) and path.parent != lessons}
    assert {relative(path) for path in with_code if not str(path).startswith(str(parts))} <= set(PREPARED)


SLOW = {"docs/how-to/call-the-kernels.md"}  # compiles kernels into a function of its own, which no cache keeps


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PREPARED])
def test_code_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = {"fastbp": fastbp, **PREPARED[name]()}
    for block in blocks(ROOT / name):
        exec(compile(block, f"<{name}>", "exec"), namespace)

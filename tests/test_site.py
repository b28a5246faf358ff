"""The site of the documentation builds without a warning, its links lead somewhere, and it has each public name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import fastbp

for _name in ("sphinx", "myst_parser", "numpydoc", "pydata_sphinx_theme", "sklearn", "matplotlib"):
    pytest.importorskip(_name)

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
METHODS = ("MLP.fit", "MLP.predict_proba", "MLP.to_onnx", "Ensemble.predict", "TableModel.predict")


class Page(HTMLParser):
    """What a page of HTML refers to, and where others may point."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.links_in_tables = 0
        self.in_table = False
        self.loaded: list[str] = []
        self.anchors: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.anchors += [values["id"]] if values.get("id") else []
        self.in_table |= tag == "table"
        if tag == "a":
            self.links += [values["href"]] if values.get("href") else []
            self.links_in_tables += self.in_table
        else:  # a script, a style, a picture, a font
            self.loaded += [value for key in ("href", "src") if (value := values.get(key))]

    def handle_endtag(self, tag: str) -> None:
        self.in_table &= tag != "table"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages of the built site."""
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, str(ROOT / "docs" / "build.py"), str(out)]
    done = subprocess.run(build, cwd=out, capture_output=True, text=True, env={**os.environ, "PYTHONWARNINGS": ""})
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return {path: Page(path) for path in (out / "html").rglob("*.html") if path.parent.name != "_static"}


def test_each_link_and_anchor_leads_somewhere(pages: dict[Path, Page]) -> None:
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            file, _, anchor = unquote(link).partition("#")
            if file.startswith(("http:", "https:", "mailto:")):
                continue
            target = (path.parent / file).resolve() if file else path
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                wrong.append(f"{path.name}: {link}")
    assert not wrong


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for name in page.loaded:
            assert not name.startswith(("http:", "https:", "//")), (path.name, name)
            assert name.startswith(("data:", "#")) or (path.parent / name.partition("?")[0]).exists(), (path.name, name)


def test_each_public_name_has_one_place(pages: dict[Path, Page]) -> None:
    """The names of the package, and what the list of docs/api links, which tests/test_docs.py keeps current."""
    anchors = Counter(anchor for page in pages.values() for anchor in page.anchors if anchor.startswith("fastbp."))
    names = [name for name in dir(fastbp) if callable(getattr(fastbp, name))]
    missing = [name for name in (*names, *METHODS) if anchors[f"fastbp.{name}"] != 1]
    assert not missing
    assert not [anchor for anchor, count in anchors.items() if count > 1]


def test_each_row_of_the_list_of_names_is_a_link(pages: dict[Path, Page]) -> None:
    page = next(page for path, page in pages.items() if path.parts[-2:] == ("api", "index.html"))
    text = (ROOT / "docs" / "api" / "README.md").read_text(encoding="utf-8")
    assert page.links_in_tables == text.count("\n| `") > 100


def test_every_page_of_docs_is_there(pages: dict[Path, Page]) -> None:
    top = next(path.parent for path in pages if path.name == "search.html")
    for path in (ROOT / "docs").rglob("*.md"):
        inner = path.relative_to(ROOT / "docs")
        assert top / str(inner).replace("README.md", "index.md").replace(".md", ".html") in pages, inner
    text = (top / "learn" / "chain-rule.html").read_text(encoding="utf-8")
    assert "链式法则" in text and "<math" in text

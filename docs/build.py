"""Build the documentation site: ``python docs/build.py [folder]`` writes FOLDER/html, and fails at a warning of Sphinx.

The folder is build/site by default. Sphinx reads a copy of the pages in its `source`, where each link leads to a page
of the site, and where there are a page for each public name, script and notebook, and one for each section of
docs/README.md. The pages themselves stay as they are read in the repository.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sphinx.cmd.build import main as sphinx

import tables  # docs/tables.py: this folder is the first place where a script's imports are looked for

DOCS = Path(__file__).parent
ROOT = DOCS.parent
OUT = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT / "build" / "site"
SOURCE = OUT / "source"

# The pages outside docs, and where they stand on the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "fastbp/datasets/data/README.md": "digits.md",
}
# What the head of each page links: a title, and the page.
NAVIGATION = {
    "Guide": "guide/index",
    "How-to": "how-to/index",
    "Learn · 学习": "learn/index",
    "API": "api/index",
    "Internals": "internals/index",
    "Contributing": "contributing",
    "Changes": "changelog",
    "Security": "security",
    "The digits": "digits",
}
# Folders of docs that have files to run instead of pages, and what stands above the list of them.
LISTS = {
    "examples": "# Examples\n\nThese scripts run as they stand. The first lines of each say what it needs.",
    "notebooks": "# Notebooks\n\nThese notebooks run as they stand; here they are without their output.",
}
CODE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


# ---- pages ----


def place(path: str, anchor: str = "") -> str:
    """Return where the site has a file of the repository: a page or a picture."""
    if path in PAGES:
        return PAGES[path]
    if path == "docs/README.md":
        return f"{anchor}/index.md" if anchor else "index.md"
    inner = path.removeprefix("docs/")
    if inner == path or not (ROOT / path).exists():
        raise ValueError(f"{path}: the site has no such page; name it in PAGES of docs/build.py")
    if inner in LISTS:
        return f"{inner}/index.md"
    return re.sub(r"\.(py|ipynb)$", ".md", inner).replace("README.md", "index.md")


def linked(text: str, path: str, here: str) -> str:
    """Return the text of the file `path` with links as the page `here` needs them; code stays as it is."""

    def link(match: re.Match[str]) -> str:
        target, _, anchor = match[1].partition("#")
        if not target or ":" in target:
            return match[0]
        target = os.path.normpath(os.path.join(os.path.dirname(path), target)).replace(os.sep, "/")
        found = os.path.relpath(place(target, anchor), os.path.dirname(here) or ".").replace(os.sep, "/")
        return f"]({found}#{anchor})" if anchor and target != "docs/README.md" else f"]({found})"

    parts = CODE.split(text)
    parts[::2] = [LINK.sub(link, part) for part in parts[::2]]
    return "".join(parts)


def toctree(entries: Iterable[str], caption: str = "") -> str:
    """Return the list of pages that the navigation has below the page that ends with it."""
    options = [":hidden:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "```{toctree}", *options, "", *entries, "```", ""])


def write(here: str, text: str) -> None:
    target = SOURCE / here
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def copy_pages() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in sorted(DOCS.rglob("*.md"))]
    for path in [*PAGES, *files]:
        if path != "docs/README.md":
            here = place(path)
            write(here, linked((ROOT / path).read_text(encoding="utf-8"), path, here) + menu(here))
    for picture in DOCS.rglob("*.svg"):
        shutil.copy(picture, SOURCE / picture.relative_to(DOCS))


def menu(here: str) -> str:
    """Return the list of subpages that a page has in the navigation, if any."""
    if here == "index.md":
        return toctree([f"{title} <{page}>" for title, page in NAVIGATION.items()])
    if here == "learn/index.md":
        text = (DOCS / "learn" / "README.md").read_text(encoding="utf-8")
        return toctree([name for name in LINK.findall(text) if "/" not in name])
    return ""


def section_pages() -> None:
    """Write a page for each section of docs/README.md that has a folder but no page of its own."""
    for section in (DOCS / "README.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        title = section.split("\n", 1)[0]
        here = f"{title.lower()}/index.md"
        if not (SOURCE / here).exists():
            text = linked(f"# {section}", "docs/README.md", here)
            targets = [target for target in LINK.findall(text) if not target.startswith("../api")]
            write(here, text + toctree(targets))


def pages_to_run() -> None:
    """Write a page for each script of docs/examples and each notebook of docs/notebooks, and the lists of them."""
    for folder, head in LISTS.items():
        files = sorted([*(DOCS / folder).glob("*.py"), *(DOCS / folder).glob("*.ipynb")])
        rows = []
        for file in files:
            title, text = notebook(file) if file.suffix == ".ipynb" else script(file)
            write(f"{folder}/{file.stem}.md", f"# {title}\n\n`docs/{folder}/{file.name}`\n\n{text}\n")
            about = f": {tables.sentence_of_file(file)}" if file.suffix == ".py" else ""
            rows.append(f"- [{title}]({file.stem}.md){about}\n")
        write(f"{folder}/index.md", f"{head}\n\n{''.join(rows)}" + toctree([file.stem for file in files]))


def script(file: Path) -> tuple[str, str]:
    """Return the title of a script and its code, as a page shows it."""
    code = file.read_text(encoding="utf-8")
    return file.stem.replace("_", " ").capitalize(), f"```python\n{code}```"


def notebook(file: Path) -> tuple[str, str]:
    """Return the title of a notebook and its cells, as a page shows them."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(file.read_text("utf-8"))["cells"]]
    text = "\n\n".join(f"```python\n{source}\n```" if kind == "code" else source for kind, source in cells)
    title, _, rest = text.partition("\n")
    return title.removeprefix("# "), rest


# ---- the public names ----


def api_pages() -> None:
    """Write a page for each public name, once if several modules have it, and link the list of docs/api to them."""
    page_of: dict[str, str] = {}
    written: dict[int, str] = {}
    menus = []
    for owner, names, _ in tables.sections():
        if owner in page_of:  # a class: its methods are on its page
            continue
        entries = []
        for name, value in names:
            title = f"{owner}.{name}"
            if id(value) not in written:
                alike = {page.lower() for page in written.values()}  # search is like Search where case does not count
                page = written[id(value)] = f"{title}_" if title.lower() in alike else title
                write(f"api/{page}.rst", page_of_name(owner, title, value))
                entries.append(f"{name} <{page}>")
            page_of[title] = written[id(value)]
        menus.append(toctree(entries, caption=owner))

    index = SOURCE / "api" / "index.md"
    parts = index.read_text(encoding="utf-8").split("\n## ")
    text = "\n## ".join(with_links(part, page_of) for part in parts)
    index.write_text(text + "".join(menus), encoding="utf-8")


def with_links(section: str, page_of: dict[str, str]) -> str:
    """Return a section of the list of names, where each name links its page, or its method on the page of the class."""
    owner = section.split("\n", 1)[0]

    def row(match: re.Match[str]) -> str:
        title = f"{owner}.{match[1]}"
        if title in page_of:
            return f"| [`{match[1]}`]({page_of[title]}.rst) |"
        return f"| {{py:obj}}`{match[1]} <{title}>` |"

    return ROW.sub(row, section)


def page_of_name(module: str, title: str, value: Any) -> str:
    """Return the page of a public name, which numpydoc fills from its docstring."""
    lines = [title, "=" * len(title), "", f".. currentmodule:: {module}", ""]
    if not isinstance(value, type):
        return "\n".join([*lines, f".. autofunction:: {title}", ""])
    kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
    lines += [f".. {kind}:: {title}"]
    if members := members_of(title, value):
        lines += [f"   :members: {', '.join(members)}"]
    return "\n".join([*lines, ""])


def members_of(title: str, kind: type) -> list[str]:
    """Return the methods and the documented properties of a class; those of other packages are left out."""
    documented = [
        name
        for each in kind.__mro__
        if each.__module__.startswith("fastbp")
        for name, value in vars(each).items()
        if isinstance(value, property) and not name.startswith("_") and inspect.getdoc(value)
    ]
    return list(dict.fromkeys([*(name for name, _ in tables.methods(title, kind)), *documented]))


def main() -> int:
    for part in ("source", "doctrees", "html"):  # what an earlier build left
        shutil.rmtree(OUT / part, ignore_errors=True)
    copy_pages()
    section_pages()
    pages_to_run()
    api_pages()
    settings = ["-c", str(DOCS / "site"), "-d", str(OUT / "doctrees"), "-q", "-W", "--keep-going"]
    return sphinx([*settings, str(SOURCE), str(OUT / "html")])


if __name__ == "__main__":
    sys.exit(main())

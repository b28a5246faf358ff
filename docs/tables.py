"""Rewrite what the pages take from the package: ``python docs/tables.py``.

Between ``<!-- generated: NAME -->`` and ``<!-- end -->`` a page shows what `GENERATED` makes for that name from the
package's tables, docstrings and contracts. tests/test_docs.py fails where a page is stale.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FunctionType, GenericAlias, ModuleType
from typing import Any

import fastbp
from fastbp import learning_rates
from fastbp.kernels.activations import ACTIVATIONS
from fastbp.kernels.losses import LOSSES
from fastbp.model.initializers import INITIALIZERS
from fastbp.optimizers import OPTIMIZERS

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
BLOCK = re.compile(r"(<!-- generated: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)

DISTRIBUTIONS = {
    "he": "normal, of variance 2 / fan_in",
    "glorot": "normal, of variance 2 / (fan_in + fan_out)",
    "he_uniform": "uniform, of variance 2 / fan_in",
    "glorot_uniform": "uniform, of variance 2 / (fan_in + fan_out)",
    "lecun": "normal, of variance 1 / fan_in",
    "lecun_uniform": "uniform, of variance 1 / fan_in",
}
TARGETS = {
    "classes": "class indices, or rows of probabilities",
    "shares": "numbers from 0 to 1, one for each output",
    "numbers": "numbers",
    "counts": "numbers of at least 0",
}

# What modules without an `__all__`, and classes, hold for other modules, and not for users.
HELPERS = {
    "fastbp.MLP": {"of", "train"},
    "fastbp.TableModel": {"of"},
    "fastbp.graph": {"derivative", "ordered", "summary"},
    "fastbp.optimizers": {"Layout", "optimizer_of"},
    "fastbp.plotting": {"Picture", "check_path"},
    "fastbp.threads": {"by_numba", "configured", "entered", "limited", "load_tbb", "several_allowed", "started"},
}


# ---- tables of names ----


def activations() -> Iterator[str]:
    rows = [(f"`{name}`", row.formula, constants(row), f"`{row.initializer}`") for name, row in ACTIVATIONS.items()]
    return table(("name", "y", "constants", "weights start as"), rows)


def losses() -> Iterator[str]:
    rows = [
        (f"`{name}`", row.formula, constants(row), TARGETS[row.targets], outputs(row)) for name, row in LOSSES.items()
    ]
    return table(("name", "loss of a row", "constants", "y", "outputs"), rows)


def constants(row: Any) -> str:
    texts = [f"`{constant.name}={constant.default:g}`" for constant in row.constants]
    several = [", or a number for each output" * constant.per_output for constant in row.constants]
    return ", ".join(map("".join, zip(texts, several, strict=True)))


def outputs(row: Any) -> str:
    return "softmax of z" if row.output is None else re.sub(r"\bx\b", "z", row.output.formula)


def initializers() -> Iterator[str]:
    return table(("name", "distribution"), [(f"`{name}`", DISTRIBUTIONS[name]) for name in INITIALIZERS])


def optimizers() -> Iterator[str]:
    rows = [
        (f"`{name}`", f"`{kind()!r}`", update_of(kind), f"{kind.default_learning_rate:g}")
        for name, kind in OPTIMIZERS.items()
    ]
    return table(("name", "object", "update", "learning rate by default"), rows)


def update_of(kind: type) -> str:
    """Return the paragraph of the docstring that assigns to w."""
    for paragraph in paragraphs(kind):
        if re.search(r"``w [-+*]?=", paragraph):
            return paragraph
    raise ValueError(f"{kind.__name__}: its docstring has no paragraph with ``w -= ...`` or ``w = ...``")


def rates() -> Iterator[str]:
    kinds = [kind for _, kind in public_names(learning_rates) if not inspect.isabstract(kind)]
    return table(("object", "learning rate"), [(f"`{call_of(kind)}`", paragraphs(kind)[0]) for kind in kinds])


def call_of(kind: Any) -> str:
    """Return how a dataclass is called, with its defaults."""
    fields = [field for field in dataclasses.fields(kind) if field.init]
    defaults = ["" if field.default is dataclasses.MISSING else f"={field.default}" for field in fields]
    words = ", ".join(field.name + default for field, default in zip(fields, defaults, strict=True))
    return f"{kind.__name__}({words})"


# ---- the public names ----


def public() -> Iterator[str]:
    """Yield a table for each of `sections`."""
    for title, names, text in sections():
        yield from section(title, names, text)


def sections() -> Iterator[tuple[str, list[tuple[str, Any]], str]]:
    """Yield titles and names: the package's own, the methods of its networks, and those of each public module."""
    names = [(name, getattr(fastbp, name)) for name in dir(fastbp)]
    modules = [value for _, value in names if isinstance(value, ModuleType)]
    modules.append(importlib.import_module("fastbp.numeric_gradients"))
    yield "fastbp", [(name, value) for name, value in names if callable(value)], ""
    for kind in (fastbp.MLP, fastbp.Ensemble, fastbp.TableModel):
        title = f"fastbp.{kind.__name__}"
        yield title, methods(title, kind), ""
    for module in sorted(modules, key=lambda module: module.__name__):
        yield module.__name__, public_names(module), first_sentence(module)


def section(title: str, names: Iterable[tuple[str, Any]], text: str) -> Iterator[str]:
    yield f"## {title}\n"
    if text:
        yield f"{plain(text)}\n"
    rows = [(f"`{name}`", first_sentence(value)) for name, value in names]
    yield from table(("name", "what it is"), rows)
    yield ""


def methods(title: str, kind: type) -> list[tuple[str, Any]]:
    """Return the public methods of a class, its own first, then those that it inherits within the package."""
    hidden = HELPERS.get(title, set())
    found: dict[str, Any] = {}
    for each in kind.__mro__:
        if each.__module__.startswith("fastbp"):
            for name, value in vars(each).items():
                function = getattr(value, "__func__", value)  # of a class or static method
                ours = isinstance(function, FunctionType) and function.__module__.startswith("fastbp")
                if ours and not name.startswith("_") and name not in hidden:
                    found.setdefault(name, function)
    return list(found.items())


def public_names(module: ModuleType) -> list[tuple[str, Any]]:
    """Return the names of `__all__`; without one, the classes and functions of the module except its helpers."""
    if hasattr(module, "__all__"):
        chosen = [(name, getattr(module, name)) for name in module.__all__]
        return [(name, value) for name, value in chosen if callable(value) and not isinstance(value, GenericAlias)]
    hidden = HELPERS.get(module.__name__, set())
    return [
        (name, value)
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__
        if not name.startswith("_") and name not in hidden
    ]


# ---- the layout ----


def layers() -> Iterator[str]:
    """Yield the layers of the import contract from the top, and what each of their modules is for."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    contract = next(each for each in contracts if each["type"] == "layers" and each["containers"] == ["fastbp"])
    rows = []
    for number, layer in enumerate(contract["layers"], 1):
        for name in re.split(r"\s*[:|]\s*", layer):
            here = ROOT / "fastbp" / name
            head = here / "__init__.py" if here.is_dir() else here.with_suffix(".py")
            rows.append((str(number), f"`{name}/`" if here.is_dir() else f"`{name}.py`", sentence_of_file(head)))
            if here.is_dir():
                parts = [file for file in sorted(here.glob("*.py")) if file != head]
                rows += [("", f"`{name}/{file.name}`", sentence_of_file(file)) for file in parts]
    return table(("layer", "module", "what it is for"), rows)


def sentence_of_file(path: Path) -> str:
    return sentence(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")


# ---- Markdown ----


def paragraphs(thing: Any) -> list[str]:
    return [" ".join(part.split()) for part in (inspect.getdoc(thing) or "").split("\n\n")]


def first_sentence(thing: Any) -> str:
    return sentence(inspect.getdoc(thing) or "")


def sentence(text: str) -> str:
    """Return the first sentence of the first paragraph; a full stop within backquotes or "e.g." ends none."""
    line = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`\"])", line)[0]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table; columns that are empty throughout are left out."""
    rows = list(rows)
    shown = [column for column in range(len(head)) if any(row[column] for row in rows)]
    for row in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell(row[column]) for column in shown) + " |"


def cell(text: str) -> str:
    return plain(text).replace("|", r"\|")


def plain(text: str) -> str:
    """Return Markdown for a docstring's reStructuredText."""
    return text.replace("``", "`")


GENERATED: dict[str, Callable[[], Iterator[str]]] = {
    "activations": activations,
    "losses": losses,
    "initializers": initializers,
    "optimizers": optimizers,
    "learning rates": rates,
    "public names": public,
    "layers": layers,
}


def rewritten(page: str) -> str:
    """Return the text of a page with what is generated as of today."""
    return BLOCK.sub(lambda block: block[1] + "\n".join(GENERATED[block[2]]()).rstrip() + "\n" + block[3], page)


def pages() -> list[Path]:
    """Return the pages that have something generated."""
    return [path for path in sorted(FOLDER.rglob("*.md")) if BLOCK.search(path.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    for path in pages():
        before = path.read_text(encoding="utf-8")
        if (after := rewritten(before)) != before:
            path.write_text(after, encoding="utf-8")
            print(f"rewritten: {path.relative_to(ROOT)}")

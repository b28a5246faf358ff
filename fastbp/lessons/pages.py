"""The parts of a lesson: the blocks of its text in a language, and the code of its steps, which the text refers to.

A text is Markdown in a file such as en/nodes.md. The line ``<!-- step 2 -->`` stands where the second step of the code
is run, and what the step prints is shown.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import textwrap
from importlib import resources
from typing import Any

from . import LESSONS

LANGUAGES = ("en", "zh")
STEP = re.compile(r"<!-- step (\d+) -->")
DRAWING = "from fastbp.plotting import"


def blocks(name: str, language: str) -> list[str]:
    """Return the text of a lesson, cut at its blank lines."""
    file = resources.files(__package__) / language / f"{name}.md"
    return re.split(r"\n{2,}", file.read_text(encoding="utf-8").strip())


def summary(name: str, language: str) -> str:
    """Return what a lesson is about: the line below its heading."""
    return blocks(name, language)[1].strip("*")


def steps(name: str) -> list[str]:
    """Return the code of a lesson, one string for each step."""
    body = inspect.getsource(LESSONS[name]).split('"""', 2)[2]
    return [step.strip() + "\n" for step in re.split(r"^(?=# \d+\. )", textwrap.dedent(body), flags=re.MULTILINE)[1:]]


def divided(step: str) -> tuple[str, str]:
    """Return the code of a step without what draws the picture, and the latter, which only the last step has."""
    code, beginning, rest = step.partition(DRAWING)
    return code, beginning + rest


def output(code: str, namespace: dict[str, Any]) -> str:
    """Run code among the names of the steps before it, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "<lesson>", "exec"), namespace)
    return printed.getvalue()

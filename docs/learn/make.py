"""Put code, output and pictures into the pages of this folder: ``python docs/learn/make.py``.

The code of a page is the body of its lesson in fastbp/lessons.py, cut at its ``# 1.``, ``# 2.``, ...: the n-th code
block of a page is step n, and the ``text`` block behind it is what the step prints. The prose in between belongs to
the page. tests/cli/test_lessons.py makes every page again and compares.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

from fastbp.lessons import LESSONS

FOLDER = Path(__file__).parent
BLOCKS = re.compile(r"^```python\n.*?^```\n(\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)


def steps(lesson: Callable[[], None]) -> list[str]:
    """Return the code of a lesson, one string for each step."""
    body = inspect.getsource(lesson).split('"""', 2)[2]
    return [step.strip() + "\n" for step in re.split(r"^(?=# \d+\. )", textwrap.dedent(body), flags=re.MULTILINE)[1:]]


def page(name: str) -> str:
    """Return the text of a page with its current code, which is run, and output. Pictures go to the current folder."""
    blocks, namespace = [], {}
    for step in steps(LESSONS[name]):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(step, f"<{name}>", "exec"), namespace)
        printed = f"\n```text\n{output.getvalue()}```\n" if output.getvalue() else ""
        blocks.append(f"```python\n{step}```\n{printed}")
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    if (found := len(BLOCKS.findall(text))) != len(blocks):
        raise ValueError(f"{name}.md: got {found} code blocks, expected {len(blocks)}, one for each step")
    rest = iter(blocks)
    return BLOCKS.sub(lambda _: next(rest), text)


if __name__ == "__main__":
    os.chdir(FOLDER)
    for name in LESSONS:
        made = page(name)
        Path(f"{name}.md").write_text(made, encoding="utf-8")

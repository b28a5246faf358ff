"""Make the pages of this folder, and their pictures: ``python docs/learn/make.py``.

A page joins what fastbp/lessons has: the text in English and Chinese, and the code of each step with what it prints. In
README.md the table of the pages is made. tests/cli/test_lessons.py makes every page again and compares.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from fastbp.lessons import LESSONS, pages

FOLDER = Path(__file__).parent
NAMES = list(LESSONS)


def page(name: str) -> str:
    """Return the text of a page. Its code is run, and saves the picture in the current folder."""
    steps, namespace = iter(pages.steps(name)), {}
    english, chinese = (pages.blocks(name, language) for language in pages.LANGUAGES)
    parts = []
    for en, zh in zip(english, chinese, strict=True):
        if pages.STEP.fullmatch(en):
            parts += code_and_output(next(steps), namespace)
        elif en.startswith("#"):
            parts.append(joined(en, zh.lstrip("# ")))
        elif en.startswith("!"):
            parts.append(joined(en[: en.index("](")], zh[2:]))
        elif en.startswith("|"):
            parts.append(joined_table(en, zh))
        else:
            parts += dict.fromkeys((en, zh))  # a formula is the same in both, and stands once
    return "\n\n".join([*parts, neighbours(name)]) + "\n"


def code_and_output(step: str, namespace: dict[str, Any]) -> list[str]:
    printed = pages.output(step, namespace)
    return [f"```python\n{step}```", *([f"```text\n{printed}```"] if printed else [])]


def joined(en: str, zh: str) -> str:
    """Return both languages on one line, or what is the same in both once."""
    return en if en.lstrip("# ") == zh else f"{en} · {zh}"


def joined_table(en: str, zh: str) -> str:
    rows = zip(en.splitlines(), zh.splitlines(), strict=True)
    cells = [zip(*(row.strip("| ").split(" | ") for row in both), strict=True) for both in rows]
    lines = [" | ".join(joined(*both) for both in row) for row in cells]
    return "\n".join(f"|{line}|" if line.startswith("---") else f"| {line} |" for line in lines)


def neighbours(name: str) -> str:
    """Return the last line of a page, which links the pages before and after it."""
    i = NAMES.index(name)
    en, zh = [], []
    for beside, back, forth in (NAMES[:i][-1:], "Back", "上一页"), (NAMES[i + 1 :][:1], "Next", "下一页"):
        for other in beside:
            titles = [pages.blocks(other, language)[0].removeprefix("# ") for language in pages.LANGUAGES]
            en.append(f"{back}: [{titles[0]}]({other}.md)")
            zh.append(f"{forth}：[{titles[1]}]({other}.md)")
    return f"{'. '.join(en)} · {'；'.join(zh)}"


def index(text: str) -> str:
    """Return the text of README.md with current rows in the table of the pages."""
    rows = ""
    for name in NAMES:
        about = (pages.summary(name, language).rstrip(".。") for language in pages.LANGUAGES)
        rows += f"| [{name}]({name}.md) | {' · '.join(about)} |\n"
    return re.sub(r"(?<=\|---\|---\|\n)(\|.*\n)+", lambda _: rows, text)


if __name__ == "__main__":
    os.chdir(FOLDER)
    readme = Path("README.md")
    readme.write_text(index(readme.read_text(encoding="utf-8")), encoding="utf-8")
    for name in NAMES:
        Path(f"{name}.md").write_text(page(name), encoding="utf-8")

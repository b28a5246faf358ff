"""The command learn: a lesson in the reader's language, text and output by turns, and its picture."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import Any

from ..lessons import LESSONS, pages
from . import markdown
from .output import drawing_module, print_rows

WIDEST = 100  # columns: longer lines are hard to read
WORDS = {
    "en": {
        "list": "Lessons in back-propagation: fastbp learn NAME explains each step and saves a picture",
        "saved": "picture saved as {out}",
        "kept": "(no picture: {out} exists; --force replaces it, and --out FILE takes another name)",
        "matplotlib": "(no picture, which needs matplotlib: pip install 'fastbp[plot]')",
        "next": "Next: fastbp learn {name}",
    },
    "zh": {
        "list": "反向传播课程：fastbp learn NAME 逐步讲解，并保存一张图",
        "saved": "图已保存为 {out}",
        "kept": "（没有画图：{out} 已存在；--force 覆盖它，--out FILE 则另存为别的文件）",
        "matplotlib": "（没有画图，画图需要 matplotlib：pip install 'fastbp[plot]'）",
        "next": "下一课：fastbp learn {name}",
    },
}


def learn(args: argparse.Namespace) -> None:
    """Run ``fastbp learn``."""
    language = _language(args.language)
    if args.lesson is None:
        for option, value in (("--out", args.out), ("--force", args.force)):
            if value:
                raise ValueError(f"{option}: got it without the name of a lesson, expected one of {', '.join(LESSONS)}")
        print_rows(WORDS[language]["list"], [(name, pages.summary(name, language)) for name in LESSONS])
        return
    out = f"{args.lesson}.svg" if args.out is None else args.out
    kept = os.path.lexists(out) and not args.force
    if args.out is not None:
        drawing_module("--out", out)
        if kept:
            raise ValueError(f"--out: {out!r} exists; expected another name, or --force to replace the file")
    _run(args.lesson, language, out, kept)


def _run(name: str, language: str, out: str, kept: bool) -> None:
    """Print the text of a lesson, with the output of each step in its place, and save the picture unless `kept`."""
    steps, words = pages.steps(name), WORDS[language]
    namespace: dict[str, Any] = {}
    drawing, width = "", min(shutil.get_terminal_size().columns, WIDEST)
    for block in pages.blocks(name, language):
        if step := pages.STEP.fullmatch(block):
            code, drawing = pages.divided(steps[int(step[1]) - 1])
            if printed := pages.output(code, namespace):
                print(printed, flush=True)
        elif block.startswith("!"):  # the picture of the last step
            end = "kept" if kept else _draw(drawing.replace(f'"{name}.svg"', repr(out)), namespace)
            _print(words[end].format(out=out))
            if end == "saved":
                _print(markdown.shown(block, width) + "\n")
        else:
            _print(markdown.shown(block, width) + "\n")
    later = list(LESSONS)[list(LESSONS).index(name) + 1 :]
    if later:
        _print(words["next"].format(name=later[0]))


def _draw(code: str, namespace: dict[str, Any]) -> str:
    """Save the picture, and return how that ended, in the terms of WORDS."""
    try:
        pages.output(code, namespace)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return "matplotlib"
    return "saved"


def _language(asked: str | None) -> str:
    """Return the language that is asked for, else that of the locale; English where Chinese cannot be printed."""
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))  # the first that is set decides
    language = asked or ("zh" if next(filter(None, names), "").lower().startswith("zh") else "en")
    if language == "zh" and not _can_print(WORDS["zh"]["list"]):
        if asked and sys.stderr is not None:
            sys.stderr.write(f"fastbp learn: note: {sys.stdout.encoding} has no Chinese, so the text is in English\n")
        return "en"
    return language


def _print(text: str) -> None:
    print(text if _can_print(text) else text.translate(markdown.PLAIN), flush=True)


def _can_print(text: str) -> bool:
    """Return whether standard output has all the characters; it is UTF-8 in most places, ASCII or GBK in some."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True

"""Tests of fastbp.lessons, the pages in docs/learn that are made of them, and `fastbp learn`."""

from __future__ import annotations

import io
import os
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp.cli import markdown, program
from fastbp.lessons import LESSONS, pages
from support.processes import PACKAGE, run_python

PAGES = Path(__file__).parents[2] / "docs" / "learn"
MAKE = runpy.run_path(str(PAGES / "make.py"))


@pytest.mark.parametrize("name", LESSONS)
def test_page_is_made_of_its_lesson(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, code and output of the page are those of today (else run docs/learn/make.py), and it shows the picture."""
    monkeypatch.chdir(tmp_path)
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert MAKE["page"](name) == text
    assert (tmp_path / f"{name}.svg").read_bytes().startswith(b"<?xml")
    assert f"]({name}.svg)" in text
    assert (PAGES / f"{name}.svg").stat().st_size < 500_000


def test_table_of_the_pages_is_made_of_the_lessons() -> None:
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    assert MAKE["index"](text) == text
    assert all(f"\n| [{name}]({name}.md) | " in text for name in LESSONS)


@pytest.mark.parametrize("name", LESSONS)
def test_numbers_in_the_prose_are_printed_or_computed_with(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    blocks = "".join(match.group() for match in re.finditer(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL))
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    stated = set(re.findall(r"(?<![\w.])\d+\.\d+", prose))
    assert stated <= set(re.findall(r"\d+\.\d+", blocks))


@pytest.mark.parametrize("name", LESSONS)
def test_page_in_two_languages(name: str) -> None:
    """Every heading and every paragraph in English has its Chinese."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    prose = re.sub(r"^(```|\$\$).*?(```|\$\$)$", "", text, flags=re.MULTILINE | re.DOTALL)
    paragraphs = [part for part in re.split(r"\n{2,}", prose.strip()) if not part.startswith(("!", "|"))]
    prose = [part for part in paragraphs if not part.startswith(("#", "Back", "Next"))]
    chinese = [bool(re.search(r"[\u4e00-\u9fff]", part)) for part in prose]
    assert chinese == [False, True] * (len(prose) // 2)


@pytest.mark.parametrize("language", pages.LANGUAGES)
@pytest.mark.parametrize("name", LESSONS)
def test_text_refers_to_each_step_once_and_ends_with_the_picture(name: str, language: str) -> None:
    blocks = pages.blocks(name, language)
    steps = pages.steps(name)
    found = [int(step[1]) for block in blocks if (step := pages.STEP.fullmatch(block))]
    assert found == [*range(1, len(steps) + 1)]
    assert blocks[0].startswith("# ") and blocks[-1].startswith("!")
    assert [bool(pages.divided(step)[1]) for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].count(f'"{name}.svg"') == 1  # which `fastbp learn --out` replaces


@pytest.mark.parametrize("name", LESSONS)
def test_summary_is_the_docstring(name: str) -> None:
    assert pages.summary(name, "en") == LESSONS[name].__doc__


@pytest.mark.parametrize("width", [40, 79])
@pytest.mark.parametrize("language", pages.LANGUAGES)
@pytest.mark.parametrize("name", LESSONS)
def test_terminal_shows_text_without_marks_in_its_width(name: str, language: str, width: int) -> None:
    for block in pages.blocks(name, language):
        if pages.STEP.fullmatch(block):
            continue
        text = markdown.shown(block, width)
        assert not re.search(r"[\\$*{}#|]|\]\(", text.replace("|W|", "")), text
        if not block.startswith("$$"):
            assert max(map(markdown.columns, text.splitlines())) <= width
        assert not re.search(r"^[，。：；、？！）]", text, re.MULTILINE)


def test_text_is_read_from_a_zip(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(PACKAGE, tmp_path / "sources" / "fastbp", ignore=ignored)
    archive = shutil.make_archive(str(tmp_path / "fastbp"), "zip", tmp_path / "sources")
    code = f"""
import sys
sys.path.insert(0, {archive!r})
from fastbp.lessons import LESSONS, pages
assert pages.__file__.startswith({archive!r})
print([len(pages.steps(name)) == sum("<!--" in b for b in pages.blocks(name, "zh")) for name in LESSONS])
"""
    assert run_python(code) == f"{[True] * len(LESSONS)}\n"


@pytest.fixture
def learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")

    def call(*words: str) -> tuple[int, str]:
        status = program.main(["learn", *words])
        return status, capsys.readouterr().out

    return call


def test_without_a_name_lists_the_lessons(learn: Any) -> None:
    status, out = learn()
    assert status == 0
    assert all(f"\n  {name} " in out for name in LESSONS)


def test_chain_rule_prints_both_passes(learn: Any) -> None:
    status, out = learn("chain-rule")
    assert status == 0
    assert "20.0 -> 40.0 -> 44.0" in out
    assert "1.1 x 2.0 = 2.2" in out
    assert os.listdir() == ["chain-rule.svg"]


CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(
    ("locale", "options", "chinese"),
    [
        ({"LC_ALL": "zh_CN.UTF-8"}, (), True),
        ({"LC_MESSAGES": "zh_TW.UTF-8"}, (), True),
        ({"LANG": "zh_CN"}, (), True),
        ({"LC_ALL": "", "LANG": "zh_CN"}, (), True),
        ({"LC_ALL": "en_GB.UTF-8", "LANG": "zh_CN.UTF-8"}, (), False),
        ({"LC_MESSAGES": "de_DE.UTF-8", "LANG": "zh_CN.UTF-8"}, (), False),
        ({}, (), False),
        ({}, ("--language", "zh"), True),
        ({"LANG": "zh_CN.UTF-8"}, ("--language", "en"), False),
    ],
)
def test_language_is_the_one_asked_for_or_that_of_the_locale(
    learn: Any, monkeypatch: pytest.MonkeyPatch, locale: dict[str, str], options: tuple[str, ...], chinese: bool
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    assert bool(CHINESE.search(learn(*options)[1])) == chinese


def test_lesson_explains_in_each_language_what_it_prints(learn: Any) -> None:
    english, chinese = learn("nodes", "--language", "en")[1], learn("nodes", "--language", "zh", "--force")[1]
    assert not CHINESE.search(english) and CHINESE.search(chinese)
    printed = "a b by a: 4.0, numerically 4.000000\na b by b: 3.0, numerically 3.000000\n\n"
    for out, before in (english, "must\nremember its inputs.\n\n"), (chinese, "所以节点要记住它的输入。\n\n"):
        assert before + printed in re.sub(r"(?<=must) (?=remember)", "\n", out)
        assert "    ∂f/∂x ≈ (f(x + h) - f(x - h))/(2h)\n" in out
        assert out.endswith("fastbp learn layers\n")


def test_terminal_without_chinese_gets_english(learn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True))
    monkeypatch.setattr(sys, "stderr", errors := io.StringIO())
    assert program.main(["learn", "nodes", "--language", "zh"]) == 0
    text = sys.stdout.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "both local gradients" in text and "    df/dx ~= (f(x + h) - f(x - h))/(2h)\n" in text
    assert errors.getvalue() == "fastbp learn: note: ascii has no Chinese, so the text is in English\n"


def test_file_is_not_replaced_unasked(learn: Any) -> None:
    Path("nodes.svg").write_text("mine", encoding="utf-8")
    status, out = learn("nodes")
    assert status == 0 and "by a: 5.0" in out
    assert "(no picture: nodes.svg exists; --force replaces it" in out
    assert Path("nodes.svg").read_text(encoding="utf-8") == "mine"

    status, out = learn("nodes", "--out", "other's.png")
    assert status == 0 and "picture saved as other's.png\n" in out
    assert Path("other's.png").read_bytes().startswith(b"\x89PNG")
    assert Path("nodes.svg").read_text(encoding="utf-8") == "mine"

    status, out = learn("nodes", "--force")
    assert status == 0 and "picture saved as nodes.svg\n" in out
    assert Path("nodes.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nodes", "--out", "mine.svg"), "--out: 'mine.svg' exists; expected another name, or --force"),
        (("nodes", "--out", "nowhere/a.svg"), "--out: got 'nowhere/a.svg', but there is no folder"),
        (("nodes", "--out", "a.gif"), "expected a file name that ends in .svg, .png or .pdf"),
        (("--out", "a.svg"), "--out: got it without the name of a lesson"),
        (("--force",), "--force: got it without the name of a lesson"),
    ],
)
def test_picture_that_cannot_be_saved_is_refused_before_the_lesson(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.svg").write_text("mine", encoding="utf-8")
    assert program.main(["learn", *words]) == 2
    out, err = capsys.readouterr()
    assert message in err and err.count("\n") == 1 and not out
    assert os.listdir() == ["mine.svg"] and Path("mine.svg").read_text(encoding="utf-8") == "mine"


def test_quadrants_learns(learn: Any) -> None:
    status, out = learn("quadrants")
    assert status == 0
    share = re.search(r"right on unseen points: (.*)%", out)
    assert share and float(share[1]) > 99
    assert "the same parameters: True" in out


def test_layers_agree_with_numeric_derivatives(learn: Any) -> None:
    _, out = learn("layers")
    entries = re.findall(r"^d\w\[.*?\]\s+(\S+)\s+(\S+)$", out, re.MULTILINE)
    assert len(entries) == 4 + 6 + 3 + 6 + 6
    analytic, numeric = np.array(entries, float).T
    np.testing.assert_allclose(analytic, numeric, rtol=0, atol=1e-6)


def test_lessons_without_matplotlib_print_their_steps() -> None:
    """Only the picture is missing, and it is said how to get it."""
    code = """
import sys
sys.modules["matplotlib"] = None
from fastbp import cli
assert cli.main(["learn", "chain-rule"]) == 0
"""
    out = run_python(code)
    assert "20.0 -> 40.0 -> 44.0" in out
    assert "pip install 'fastbp[plot]'" in out


def test_unknown_lesson(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        program.main(["learn", "nothing"])
    assert end.value.code == 2
    assert "chain-rule" in capsys.readouterr().err


def test_command_line_starts_without_matplotlib() -> None:
    assert "matplotlib" not in run_python("import sys, fastbp.cli; print([*sys.modules])")

"""Tests of fastbp.lessons, the pages in docs/learn that are made of them, and `fastbp learn`."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastbp.cli import program
from fastbp.lessons import LESSONS
from support.processes import run_python

PAGES = Path(__file__).parents[2] / "docs" / "learn"
MAKE = runpy.run_path(str(PAGES / "make.py"))


@pytest.mark.parametrize("name", LESSONS)
def test_page_is_made_of_its_lesson(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code and output of the page are those of today (else run docs/learn/make.py), and it shows the picture."""
    monkeypatch.chdir(tmp_path)
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert MAKE["page"](name) == text
    assert (tmp_path / f"{name}.svg").read_bytes().startswith(b"<?xml")
    assert f"]({name}.svg)" in text
    assert (PAGES / f"{name}.svg").stat().st_size < 500_000


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


@pytest.fixture
def learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)

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

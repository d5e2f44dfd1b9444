"""``pytest --submission=FILE -m task3_1``: coursework as tests, in a folder that was handed out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tutorial_coursework import FOLDER

from npresnet.grading.assignment import Assignment
from npresnet.grading.handout import new_coursework
from npresnet.grading.solution_source import solution_text

ROOT = Path(__file__).parents[1]
WRONG = solution_text() + "\n\ndef relu_forward(x):\n    return abs(x), x > 0\n"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was handed out, with two submissions in ``student``."""
    assignment = Assignment(tasks=("3.1", "4.1"), seed=99, feedback="kind")
    folder = new_coursework(tmp_path_factory.mktemp("coursework") / "ps1", assignment)
    (folder / "student" / "good.py").write_text(solution_text())
    (folder / "student" / "bad.py").write_text(WRONG)
    return folder


def run(folder: Path, *argv: str) -> tuple[int, str]:
    """Run pytest in a folder; returns the status and what it said."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120"}
    environment = {name: value for name, value in environment.items() if not name.startswith(("PYTEST", "NPRESNET"))}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # quicker
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *argv]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def counts(text: str) -> dict[str, int]:
    return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|deselected|skipped|error)", text)}


def test_a_mistake_fails_its_own_tests_with_an_explanation(folder: Path) -> None:
    status, text = run(folder / "student", "--submission=bad.py")
    assert status == 1
    assert counts(text)["failed"] >= 1
    assert counts(text)["passed"] >= 2
    assert "y has wrong values" in text
    assert "smallest case" in text
    assert "Traceback" not in text
    assert "pytest_plugin.py" not in text
    assert "linear_forward-" not in text.split("short test summary")[1]


def test_a_marker_for_every_task(folder: Path) -> None:
    status, text = run(folder / "student", "--submission=bad.py", "-m", "task4_1", "--strict-markers")
    assert status == 0, text
    assert counts(text)["deselected"] >= 1


def test_a_right_submission_passes_and_so_do_hidden_cases_with_the_assignment_of_the_teacher(folder: Path) -> None:
    status, public = run(folder / "student", "--submission=good.py")
    assert status == 0, public
    assert set(counts(public)) == {"passed"}
    status, text = run(folder / "student", "--submission=good.py", "--assignment=../teacher/coursework.toml")
    assert status == 0, text
    assert counts(text)["passed"] == 2 * counts(public)["passed"]


def test_the_file_of_the_assignment_is_the_default(folder: Path) -> None:
    status, text = run(folder / "student")
    assert status == 1
    assert set(counts(text)) == {"failed"}
    assert "not written yet" in text


def test_wrong_paths_are_one_line(folder: Path) -> None:
    status, text = run(folder / "student", "--submission=gone.py")
    assert status == 4
    assert "gone.py: there is no such file" in text
    status, text = run(folder / "student", "--assignment=gone.toml")
    assert status == 4
    assert "gone.toml" in text


def test_it_runs_in_the_tutorials(folder: Path) -> None:
    status, text = run(FOLDER, f"--submission={folder / 'student' / 'bad.py'}", "-m", "task3_2 or task4_1")
    assert status == 0, text
    assert counts(text)["passed"] >= 4


def test_the_tests_of_the_project_do_not_collect_it() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'testpaths = ["tests"]' in text
    assert (ROOT / "tests") not in FOLDER.parents

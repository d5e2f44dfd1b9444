"""tutorials/coursework is what the package would hand out today, and its tests run there."""

from __future__ import annotations

import re

import pytest
from tutorial_coursework import FOLDER, generated

from npresnet.grading.assignment import Assignment
from npresnet.grading.handout.readme import task_table


@pytest.mark.parametrize("name", sorted(generated()))
def test_files_are_up_to_date(name: str) -> None:
    stored = (FOLDER / name).read_text(encoding="utf-8")
    assert stored == generated()[name], f"{name} is out of date: python tests/tutorial_coursework.py"


def test_the_readme_has_the_tasks_and_both_paths() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert task_table(Assignment()) in text, "the table of tasks is out of date"
    assert "## A teacher's path" in text
    assert "## A student's path" in text


def test_every_command_in_the_readme_exists() -> None:
    from npresnet.cli import build_parser

    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^npresnet (.+)$", text, re.MULTILINE)
    assert len(commands) >= 9
    for command in commands:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
        build_parser().parse_args(words)

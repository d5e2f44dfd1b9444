"""What a teacher hands out, and keeps: everything that ``npresnet coursework new`` writes.

All files follow from the assignment and from ``solution.py``, of which students get signatures and docstrings alone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...checkpoint.atomic import temporary_neighbour
from ..assignment import Assignment, AssignmentError
from ..assignment_file import FILE, format_assignment, format_public
from ..solution_source import solution_text
from .notebook import stub_notebook
from .readme import notebook_name, student_readme, teacher_readme
from .stubs import stub_file

CONFTEST = '"""Options and markers of the tests, such as --submission=FILE and -m task1_1; see README.md."""\n\n\
pytest_plugins = ["npresnet.grading.pytest_plugin"]\n'

TESTS = '''\
"""One test for every returned value of every kind of case: pytest --submission=FILE; see README.md."""

from npresnet.grading.pytest_plugin import check_cell


def test_public(coursework_cell):
    check_cell(coursework_cell)
'''


def student_files(assignment: Assignment) -> dict[str, str]:
    """The content of all files that are handed out, by name."""
    return {
        "README.md": student_readme(assignment),
        assignment.file: stub_file(assignment),
        notebook_name(assignment): stub_notebook(assignment),
        FILE: format_public(assignment),
        "conftest.py": CONFTEST,
        "test_public.py": TESTS,
    }


def teacher_files(assignment: Assignment) -> dict[str, str]:
    """The content of all files that stay with the teacher, by name."""
    return {
        "README.md": teacher_readme(assignment),
        FILE: format_assignment(assignment),
        "solution.py": solution_text(),
    }


def new_coursework(directory: str | os.PathLike[str], assignment: Assignment) -> Path:
    """Write a folder with everything for an assignment: ``student`` and ``teacher``, whole or not at all.

    Parameters
    ----------
    directory : path
        A new folder, or an empty one.
    assignment : Assignment

    Returns
    -------
    Path
        ``directory``.

    Raises
    ------
    AssignmentError
        If the assignment cannot be set.
    FileExistsError
        If there is something in the way; nothing is overwritten.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} exists already, and nothing is overwritten; choose another name")
    if assignment.file in ("conftest.py", "test_public.py"):
        raise AssignmentError(f"file must not be {assignment.file}, which is a file of the tests; choose another name")
    folders = {"student": student_files(assignment), "teacher": teacher_files(assignment)}
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_neighbour(directory)
    try:
        for folder, files in folders.items():
            (temporary / folder).mkdir(parents=True)
            for name, content in files.items():
                (temporary / folder / name).write_text(content, encoding="utf-8", newline="\n")
        if directory.is_dir():
            directory.rmdir()  # empty
        os.replace(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory

"""Coursework as tests: ``pytest --submission=FILE -m task2_1``, one for every returned value of every kind of case.

A ``conftest.py`` beside the tests names this module as a plugin. Functions are run by the judge, each in a process of
its own, when the first of their tests is run, and not again in the session. By default the public cases alone are run.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from .assignment import Assignment, AssignmentError
from .assignment_file import FILE, read_assignment
from .marking import mark
from .marks import Cell, PartMark
from .part import Part
from .submission import Submission, SubmissionError, read_submission
from .texts import Texts
from .wording import outcome, visible


class Slot(NamedTuple):
    """A test: one returned value of a function under one criterion."""

    part: str
    criterion: str
    output: str
    hidden: bool


class Tested(NamedTuple):
    """The mark of a test, and the language in which it is explained."""

    cell: Cell
    language: str


_ASSIGNMENT = pytest.StashKey[Assignment]()
_SUBMISSION = pytest.StashKey[Submission]()
_MARKS = pytest.StashKey[dict[str, PartMark]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("npresnet coursework")
    group.addoption("--submission", metavar="FILE", help="the .py file, notebook or folder to test")
    group.addoption("--assignment", metavar="FILE", help=f"{FILE} to test by (default: the one beside the tests)")


def pytest_configure(config: pytest.Config) -> None:
    """Read the assignment, and register a marker for every task."""
    from .parts import PARTS

    try:
        config.stash[_ASSIGNMENT] = _assignment(config)
        config.stash[_ASSIGNMENT].parts()
    except (AssignmentError, OSError) as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_MARKS] = {}
    for part in PARTS.values():
        config.addinivalue_line("markers", f"{marker_name(part)}: task {part.task}, {part.name}")


def _assignment(config: pytest.Config) -> Assignment:
    given = config.getoption("--assignment")
    if given is not None:
        return read_assignment(_absolute(config, given))
    for folder in dict.fromkeys([config.invocation_params.dir, *(_folder(config, arg) for arg in config.args)]):
        if (folder / FILE).is_file():
            return read_assignment(folder / FILE)
    return Assignment(hidden_share=0.0)


def _absolute(config: pytest.Config, path: str) -> Path:
    return config.invocation_params.dir / path


def _folder(config: pytest.Config, argument: str) -> Path:
    path = _absolute(config, argument.split("::")[0])
    return path if path.is_dir() else path.parent


def marker_name(part: Part) -> str:
    """The marker of a part's task: ``task2_1``."""
    return f"task{part.task.replace('.', '_')}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make the tests."""
    if "coursework_cell" not in metafunc.fixturenames:
        return
    assignment = metafunc.config.stash[_ASSIGNMENT]
    sides = [
        hidden for hidden, share in ((False, 1 - assignment.hidden_share), (True, assignment.hidden_share)) if share
    ]
    tests = [
        pytest.param(
            Slot(part.name, criterion.name, output, hidden),
            id=f"{part.name}-{criterion.name}-{output}{'-hidden' if hidden else ''}",
            marks=getattr(pytest.mark, marker_name(part)),
        )
        for part in assignment.parts()
        for hidden in sides
        for criterion in part.criteria
        for output in part.outputs
    ]
    metafunc.parametrize("coursework_slot", tests)


@pytest.fixture
def coursework_cell(request: pytest.FixtureRequest, coursework_slot: Slot) -> Tested:
    """The mark of one test."""
    config = request.config
    language = config.stash[_ASSIGNMENT].language
    marks = config.stash[_MARKS]
    if coursework_slot.part not in marks:
        assignment = config.stash[_ASSIGNMENT]
        task = next(part.task for part in assignment.parts() if part.name == coursework_slot.part)
        report = visible(mark(_submission(config), assignment.restricted([task])))
        marks.update({part.name: part for part in report.parts})
    for cell in marks[coursework_slot.part].cells:
        if (cell.criterion, cell.output, cell.hidden) == coursework_slot[1:]:
            return Tested(cell, language)
    pytest.skip(Texts(language).phrase("this hidden test is not shown"))


def _submission(config: pytest.Config) -> Submission:
    if _SUBMISSION not in config.stash:
        assignment = config.stash[_ASSIGNMENT]
        given = config.getoption("--submission") or assignment.file
        try:
            config.stash[_SUBMISSION] = read_submission(_absolute(config, given), assignment)
        except (SubmissionError, OSError) as error:
            pytest.exit(f"{error} (pytest --submission=FILE)", returncode=pytest.ExitCode.USAGE_ERROR)
    return config.stash[_SUBMISSION]


def check_cell(tested: Tested) -> None:
    """Fail with an explanation, without a traceback, unless the test was passed."""
    if not tested.cell.passed:
        pytest.fail(outcome(tested.cell, tested.language), pytrace=False)

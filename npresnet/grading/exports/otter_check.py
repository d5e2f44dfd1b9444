"""What the test files for Otter-Grader call: one test of the file that is handed in."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..assignment import Assignment
from ..handout.readme import notebook_name
from ..marking import mark
from ..marks import Report
from ..submission import read_submission
from ..texts import Texts
from ..wording import outcome, visible


def check(name: str, criterion: str, output: str, hidden: bool, options: Mapping[str, Any]) -> None:
    """Raise an AssertionError that explains what is wrong, unless the test is passed.

    Parameters
    ----------
    name, criterion, output, hidden : str, str, str, bool
        Which test: of a function, of a kind of case, of a returned value, public or hidden.
    options : mapping
        Keys of the assignment.
    """
    path = _submission(Assignment(**options))
    report = _marked(path, path.stat().st_mtime_ns if path.is_file() else 0, name, tuple(options.items()))
    if next(cell for cell in _cells(report) if cell[:3] == (criterion, output, hidden))[3]:
        return
    for cell in visible(report).parts[0].cells:
        if (cell.criterion, cell.output, cell.hidden) == (criterion, output, hidden):
            raise AssertionError(outcome(cell, report.language))
    raise AssertionError(Texts(report.language).phrase("a hidden test"))


def _cells(report: Report) -> list[tuple[str, str, bool, bool]]:
    return [(cell.criterion, cell.output, cell.hidden, cell.passed) for cell in report.parts[0].cells]


def _submission(assignment: Assignment) -> Path:
    """The file in the current folder that was saved last, or the folder, in which another name may be found."""
    names = [Path(assignment.file), Path(notebook_name(assignment))]
    return max((path for path in names if path.is_file()), key=lambda path: path.stat().st_mtime_ns, default=Path())


@functools.lru_cache(maxsize=64)
def _marked(path: Path, saved: int, name: str, options: tuple[tuple[str, Any], ...]) -> Report:
    """The marks of one function, once for every state of the file."""
    assignment = Assignment(**dict(options))
    task = next(part.task for part in assignment.parts() if part.name == name)
    return mark(read_submission(path.absolute(), assignment), assignment.restricted([task]))

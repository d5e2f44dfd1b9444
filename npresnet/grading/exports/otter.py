"""Test files for Otter-Grader: one for every function, a test case for every returned value of every kind of case."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ...checkpoint.atomic import temporary_neighbour
from ..assignment import Assignment
from ..assignment_file import FILE, format_public
from ..handout.readme import notebook_name
from ..marks import Cell
from ..part import Part
from ..report.explanation import cell_name
from ..texts import Texts

README = """\
# {title} for Otter-Grader

`student/` is for students, with the public tests alone; `autograder/` is yours, with the seed of the hidden ones in its
test files. npresnet must be installed wherever tests run.

The tests do not look into the running notebook. They take the file that is handed in, `{file}` or `{notebook}` in the
current folder (of both, the one that was saved last), and run its functions in npresnet's judge. A notebook must be
saved before it is checked.

```sh
cd student && otter check {file} -t tests                 # students, with their file in student/
otter check {file} -t PATH/autograder/tests               # one submission, in its folder, with the hidden tests
otter generate -t autograder/tests -r autograder/requirements.txt -o autograder.zip
```

Before `otter generate`, write into `autograder/requirements.txt` where npresnet is installed from.

A test case counts as a whole: where npresnet gives a part of the points because some gradients of a block are right,
Otter-Grader gives none.
"""

REQUIREMENTS = "# The folder, the address or the version that npresnet is installed from:\nnpresnet\n"

HEADING = '''\
"""Tests of {name} (task {task}) for Otter-Grader; made by npresnet coursework otter."""

from otter.test_files import test_case

from npresnet.grading.exports.otter_check import check

OK_FORMAT = False

name = "{name}"
assignment = {options}
'''

CASE = """

@test_case(name={title!r}, points={points!r}, hidden={hidden})
def test_{number}():
    check(name, {criterion!r}, {output!r}, {hidden}, assignment)
"""


def otter_files(assignment: Assignment) -> dict[str, str]:
    """The content of all files, by path."""
    public = assignment.replace(hidden_share=0.0, seed=0)
    files = {
        "README.md": README.format(title=assignment.title, file=assignment.file, notebook=notebook_name(assignment)),
        f"student/{FILE}": format_public(assignment),
        "autograder/requirements.txt": REQUIREMENTS,
    }
    for folder, kind in (("student", public), ("autograder", assignment)):
        for part in kind.parts():
            files[f"{folder}/tests/{part.name}.py"] = _test_file(part, kind)
    return files


def write_otter(directory: str | os.PathLike[str], assignment: Assignment) -> Path:
    """Write all files into a new folder, whole or not at all, and return its path.

    Raises
    ------
    FileExistsError
        If there is something in the way; nothing is overwritten.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory} exists already, and nothing is overwritten; choose another name")
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_neighbour(directory)
    try:
        for name, content in otter_files(assignment).items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_text(content, encoding="utf-8", newline="\n")
        if directory.is_dir():
            directory.rmdir()  # empty
        os.replace(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _test_file(part: Part, assignment: Assignment) -> str:
    return HEADING.format(name=part.name, task=part.task, options=_options(assignment)) + "".join(
        _cases(part, assignment)
    )


def _options(assignment: Assignment) -> str:
    """The keys that the marking of one function depends on, as a dict in Python."""
    names = ("hidden_share", "seed", "feedback", "seconds", "memory_mb", "allow", "file", "language")
    lines = [f"    {name!r}: {getattr(assignment, name)!r}," for name in names]
    return "\n".join(["{", *lines, "}"]).replace("'", '"')


def _cases(part: Part, assignment: Assignment) -> Iterator[str]:
    number, say = 0, Texts(assignment.language)
    for hidden, share in ((False, 1 - assignment.hidden_share), (True, assignment.hidden_share)):
        if not share:
            continue
        for criterion in part.criteria:
            for output, weight in part.outputs.items():
                number += 1
                title = cell_name(Cell(criterion.name, output, 0.0, 0.0, hidden), say)
                points = round(part.points * criterion.share * weight * share, 6)
                yield CASE.format(
                    title=title, points=points, hidden=hidden, number=number, criterion=criterion.name, output=output
                )

"""A source notebook for nbgrader: solutions between its marks, locked tests, points, partial credit.

``nbgrader generate_assignment`` removes the solutions and the hidden tests; ``nbgrader autograde`` puts the tests back.
The last value of a test is the points that it earned, which nbgrader takes as partial credit.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from ..assignment import Assignment
from ..handout.functions import Function, functions_of, private_functions
from ..handout.notebook import HEADING, Cell, cell_name, code, heading, introduction, markdown, notebook
from ..handout.titles import TITLES, counted
from ..part import Part
from ..texts import Texts

BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"
BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"


def source_notebook(assignment: Assignment) -> str:
    """The notebook of a teacher, as JSON, for ``source/ASSIGNMENT/`` of a course."""
    return notebook(list(_cells(assignment)))


def _cells(assignment: Assignment) -> Iterator[Cell]:
    parts = assignment.parts()
    own = {part.name: part for part in parts}
    t = Texts(assignment.language)
    yield markdown(
        "introduction", introduction(assignment), nbgrader=_metadata("introduction", "markdown", locked=True)
    )
    imports = "import numpy as np\nfrom npresnet.grading.jupyter import check, earned"
    yield code("imports", imports, nbgrader=_metadata("imports", "code", locked=True))
    for function in functions_of(parts):
        name = cell_name(function.name)
        yield markdown(f"{name}-text", heading(function, assignment))
        yield code(name, _solved(function, t), nbgrader=_metadata(name, "code", solution=True))
        if function.name in own:
            yield _test(own[function.name], assignment)
    for part in parts:
        if not part.stand_ins:
            title = t(HEADING, task=part.task, title=t(TITLES[part.name]), points=counted(part.points, t))
            yield markdown(f"{cell_name(part.name)}-text", f"## {title}")
            yield _test(part, assignment)


def _test(part: Part, assignment: Assignment) -> Cell:
    """A locked cell whose last value is the points of a part."""
    name = f"{cell_name(part.name)}-test"
    options = f", allow={assignment.allow!r}" if assignment.allow else ""
    options += f", language={assignment.language!r}" if assignment.language != "en" else ""
    call = f"earned({part.name!r}, points={part.points!r}"
    lines = [f"{call}{options})"]
    if assignment.hidden_share:
        hidden = f", seed={assignment.seed}, hidden_share={assignment.hidden_share}, feedback={assignment.feedback!r}"
        lines += [BEGIN_HIDDEN, f"{call}{hidden}{options})", END_HIDDEN]
    return code(name, "\n".join(lines), nbgrader=_metadata(name, "code", grade=True, locked=True, points=part.points))


def _solved(function: Function, texts: Texts) -> str:
    """A function with its body between the marks, and the private functions that it calls inside of it."""
    private = private_functions()
    body = "\n".join([*(private[name].rstrip("\n") for name in function.private), function.body])
    heading_and_docstring = function.stub(texts).rsplit("\n    raise NotImplementedError", 1)[0]
    marked = textwrap.indent("\n".join([BEGIN_SOLUTION, body, END_SOLUTION]), "    ")
    return f"{heading_and_docstring}\n{marked}\n"


def _metadata(
    name: str,
    cell_type: str,
    *,
    grade: bool = False,
    solution: bool = False,
    locked: bool = False,
    points: float | None = None,
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "schema_version": 3, "grade_id": name, "grade": grade, "solution": solution, "locked": locked, "task": False,
        "cell_type": cell_type,
    }  # fmt: skip
    return values if points is None else {**values, "points": points}

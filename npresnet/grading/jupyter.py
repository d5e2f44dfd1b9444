"""Tests in a notebook: ``check("conv2d_forward")`` below a function runs its tests and shows what is wrong.

The functions are not called in the notebook's process. What was run so far is collected, and goes through the same
judge as a file that is handed in.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, NamedTuple

from .assignment import Assignment, AssignmentError, suggestion
from .assignment_file import FILE, read_assignment
from .marking import mark
from .marks import Failure, PartMark, Report
from .notebook import definitions
from .report.explanation import explain
from .report.visible import NOT_WRITTEN
from .submission import Submission
from .wording import visible


class Cells(NamedTuple):
    """Definitions of the cells that were run."""

    source: str
    origins: list[str]  # of every line: "line 3 of cell 12"


def check(*names: str) -> None:
    """Run the tests of functions of this notebook, of all that are set if none is named, and print what came out.

    Parameters
    ----------
    *names : str
        Such as ``"conv2d_forward"``. A ``coursework.toml`` in the folder of the notebook says what is set.
    """
    assignment = read_assignment(FILE) if Path(FILE).is_file() else Assignment(hidden_share=0.0)
    cells = executed_cells()
    report = visible(_mark(cells, assignment, names))
    for part in report.parts:
        print("\n".join(table(part)))
        print("\n".join(explanations(part, cells.origins)))
    if len(report.parts) > 1:
        print(f"{report.points:.4g} of {report.max_points:.4g} points")


def earned(name: str, points: float, seed: int = 0, hidden_share: float = 0.0, **options: Any) -> float:
    """Run the tests of one function, print what came out, and return the points earned; for nbgrader.

    Parameters
    ----------
    name : str
    points : float
        To be earned.
    seed, hidden_share : int, float
        Of the hidden cases.
    **options
        Further keys of an assignment.
    """
    assignment = Assignment(points={name: points}, seed=seed, hidden_share=hidden_share, **options)
    cells = executed_cells()
    report = _mark(cells, assignment, (name,))
    for part in visible(report).parts:
        print("\n".join([*table(part), *explanations(part, cells.origins)]))
    return round(report.points, 6)


def _mark(cells: Cells, assignment: Assignment, names: tuple[str, ...]) -> Report:
    known = {part.name: part for part in assignment.parts()}
    for name in names:
        if name not in known:
            raise AssignmentError(f"there is no test of {name!r}; {suggestion(name, list(known))}")
    if names:
        assignment = assignment.restricted([known[name].task for name in names])
    return mark(Submission("notebook", cells.source, "notebook"), assignment)


def table(part: PartMark) -> list[str]:
    """Lines with a row for every kind of case and a column for every returned value."""
    outputs = list(dict.fromkeys(cell.output for cell in part.cells))
    rows = list(dict.fromkeys((cell.criterion, cell.hidden) for cell in part.cells))
    marks = {(cell.criterion, cell.hidden, cell.output): cell for cell in part.cells}
    width = max([len(part.name), *(len(criterion) + (9 if hidden else 0) for criterion, hidden in rows)]) + 2
    columns = [max(len(output), 5) + 2 for output in outputs]
    lines = [
        f"{part.name:<{width}}"
        + "".join(f"{output:<{column}}" for output, column in zip(outputs, columns, strict=True))
        + f"{part.points:.4g} of {part.max_points:.4g} points"
    ]
    for criterion, hidden in rows:
        words = [
            "" if cell is None else "right" if cell.passed else "wrong"
            for cell in (marks.get((criterion, hidden, output)) for output in outputs)
        ]
        name = f"{criterion} (hidden)" if hidden else criterion
        line = f"{name:<{width}}" + "".join(f"{word:<{c}}" for word, c in zip(words, columns, strict=True))
        lines.append(line.rstrip())
    return lines


def explanations(part: PartMark, origins: list[str]) -> list[str]:
    """Lines that say what is wrong and how it shows."""
    lines = []
    for reason in explain(part):
        lines += ["", reason.headline]
        if reason.headline == NOT_WRITTEN:
            continue
        for fact in reason.facts:
            text = _origin(reason.failure, origins) if fact.label == "line" else fact.text
            lines.append(f"  {fact.label}: {text}")
    return lines


def _origin(failure: Failure, origins: list[str]) -> str:
    number = failure.line or 0
    return origins[number - 1] if 0 < number <= len(origins) else str(number)


def executed_cells() -> Cells:
    """The definitions of all cells that were run so far in this notebook, later ones last.

    Raises
    ------
    RuntimeError
        Outside a notebook.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        get_ipython = None
    shell = get_ipython() if get_ipython is not None else None
    if shell is None:
        raise RuntimeError("this works in a Jupyter notebook alone; for a file, run `npresnet grade FILE`")
    sources, numbers = [], []
    for number, raw in enumerate(shell.history_manager.input_hist_raw):
        if _is_python(shell.transform_cell(raw)):
            sources.append(raw)
            numbers.append(number)
    document = {"cells": [{"cell_type": "code", "source": source} for source in sources]}
    origins = []
    for number, raw in zip(numbers, sources, strict=True):
        origins += [f"{line} of cell [{number}]" for line in range(1, max(len(raw.splitlines()), 1) + 1)]
        origins.append("")  # between two cells
    return Cells(definitions(json.dumps(document)), origins)


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True

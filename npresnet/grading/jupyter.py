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
from .handout.docstrings import columns
from .marking import mark
from .marks import Failure, PartMark, Report
from .notebook import definitions
from .report.explanation import LINE, criterion_name, explain
from .report.visible import is_stub
from .submission import Submission
from .texts import ENGLISH, Texts
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
    say = Texts(assignment.language)
    cells = executed_cells(say)
    report = visible(_mark(cells, assignment, names))
    for part in report.parts:
        print("\n".join(table(part, say)))
        print("\n".join(explanations(part, cells.origins, say)))
    if len(report.parts) > 1:
        print(_total(report, say))


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
    say = Texts(assignment.language)
    cells = executed_cells(say)
    report = _mark(cells, assignment, (name,))
    for part in visible(report).parts:
        print("\n".join([*table(part, say), *explanations(part, cells.origins, say)]))
    return round(report.points, 6)


def _mark(cells: Cells, assignment: Assignment, names: tuple[str, ...]) -> Report:
    known = {part.name: part for part in assignment.parts()}
    for name in names:
        if name not in known:
            raise AssignmentError(f"there is no test of {name!r}; {suggestion(name, list(known))}")
    if names:
        assignment = assignment.restricted([known[name].task for name in names])
    return mark(Submission("notebook", cells.source, "notebook"), assignment)


def _total(marked: Report | PartMark, say: Texts) -> str:
    return say.phrase("{points} of {most} points", points=f"{marked.points:.4g}", most=f"{marked.max_points:.4g}")


def table(part: PartMark, say: Texts = ENGLISH) -> list[str]:
    """Lines with a row for every kind of case and a column for every returned value."""
    outputs = list(dict.fromkeys(cell.output for cell in part.cells))
    names = {
        (cell.criterion, cell.hidden): criterion_name(cell.criterion, cell.hidden, say) for cell in part.cells
    }  # fmt: skip
    marks = {(cell.criterion, cell.hidden, cell.output): cell for cell in part.cells}
    widths = [max(map(columns, [part.name, *names.values()])) + 2]
    widths += [max(len(output), 5) + 2 for output in outputs]
    lines = [_row([part.name, *outputs], widths) + _total(part, say)]
    for row, name in names.items():
        words = [
            "" if cell is None else say.phrase("right" if cell.passed else "wrong")
            for cell in (marks.get((*row, output)) for output in outputs)
        ]
        lines.append(_row([name, *words], widths).rstrip())
    return lines


def _row(words: list[str], widths: list[int]) -> str:
    return "".join(word + " " * (width - columns(word)) for word, width in zip(words, widths, strict=True))


def explanations(part: PartMark, origins: list[str], say: Texts = ENGLISH) -> list[str]:
    """Lines that say what is wrong and how it shows."""
    lines = []
    for reason in explain(part, say):
        lines += ["", reason.headline]
        if is_stub(reason.failure):
            continue
        for fact in reason.facts:
            text = _origin(reason.failure, origins) if fact.name == LINE else fact.text
            lines.append(f"  {say.phrase('{label}: {text}', label=fact.label, text=text)}")
    return lines


def _origin(failure: Failure, origins: list[str]) -> str:
    number = failure.line or 0
    return origins[number - 1] if 0 < number <= len(origins) else str(number)


def executed_cells(say: Texts = ENGLISH) -> Cells:
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
        lines = range(1, max(len(raw.splitlines()), 1) + 1)
        origins += [say.phrase("{line} of cell [{number}]", line=line, number=number) for line in lines]
        origins.append("")  # between two cells
    return Cells(definitions(json.dumps(document)), origins)


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True

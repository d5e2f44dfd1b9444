"""The same as the stub file for those who like notebooks: a text, a stub and a test for every function."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..assignment import Assignment
from ..texts import Texts
from .functions import Function, functions_of
from .stubs import INTRODUCTION, chapter_of, remark, rules
from .titles import CHAPTERS, TITLES, counted

USE = """\
Run the cells from the top. Below every function, `check` runs its public tests in a process of its own and shows what
is wrong. Hand in this notebook; only imports, functions, classes and constants of it are read, so you may add cells
that try things out."""

HEADING = "Task {task}: {title} ({points})"
HEADING_WITHOUT = "{title} (needed by later tasks, no points of its own)"
END = "All together"

Cell = dict[str, Any]


def stub_notebook(assignment: Assignment) -> str:
    """The notebook that students fill in, as JSON."""
    return notebook(list(_cells(assignment)))


def notebook(cells: list[Cell]) -> str:
    """The JSON of a notebook."""
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    document = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def markdown(name: str, text: str, **metadata: Any) -> Cell:
    """A cell of text."""
    return {"cell_type": "markdown", "id": name, "metadata": metadata, "source": text.strip("\n").splitlines(True)}


def code(name: str, text: str, **metadata: Any) -> Cell:
    """A cell of Python that has not been run."""
    lines = text.strip("\n").splitlines(True)
    return {
        "cell_type": "code", "execution_count": None, "id": name, "metadata": metadata, "outputs": [], "source": lines,
    }  # fmt: skip


def introduction(assignment: Assignment) -> str:
    """What stands at the top, as Markdown."""
    t = Texts(assignment.language)
    sentences = "\n".join(f"- {rule}" for rule in rules(assignment))
    return f"# {assignment.title}\n\n{t(INTRODUCTION)}\n\n{sentences}\n\n{t(USE)}\n"


def heading(function: Function, assignment: Assignment) -> str:
    """What stands above a function, as Markdown."""
    t = Texts(assignment.language)
    title = t(TITLES[function.name])
    for part in assignment.parts():
        if part.name == function.name:
            return f"## {t(HEADING, task=part.task, title=title, points=counted(part.points, t))}"
    return f"## {t(HEADING_WITHOUT, title=title)}"


def cell_name(name: str) -> str:
    """The id of a cell: letters, digits and hyphens."""
    return name.replace("_", "-")


def _cells(assignment: Assignment) -> Iterator[Cell]:
    parts = assignment.parts()
    t = Texts(assignment.language)
    set_names = {part.name for part in parts}
    yield markdown("introduction", introduction(assignment))
    yield code("imports", "import numpy as np\nfrom npresnet.grading.jupyter import check")
    chapter = ""
    for function in functions_of(parts):
        name, number = cell_name(function.name), chapter_of(function, parts)
        if number != chapter:
            yield markdown(f"chapter-{number}", f"# {number} {t(CHAPTERS[number])}")
        chapter = number
        yield markdown(f"{name}-text", heading(function, assignment))
        yield code(name, f"{remark(function, parts, t)}\n{function.stub(t)}")
        if function.name in set_names:
            yield code(f"{name}-test", f'check("{function.name}")')
    for part in parts:
        if not part.stand_ins:
            title = t(HEADING, task=part.task, title=t(TITLES[part.name]), points=counted(part.points, t))
            yield markdown(f"{cell_name(part.name)}-text", f"# {title}")
            yield code(f"{cell_name(part.name)}-test", f'check("{part.name}")')
    yield markdown("end", f"# {t(END)}")
    yield code("end-test", "check()")

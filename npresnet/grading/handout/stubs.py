"""The file that students fill in: signatures and docstrings of the functions that are set, without their bodies."""

from __future__ import annotations

from collections.abc import Sequence

from ..assignment import Assignment
from ..part import Part
from ..texts import Texts
from .docstrings import bullet, columns
from .functions import Function, functions_of
from .titles import CHAPTERS, counted

INTRODUCTION = """\
Write the functions below, each in place of its NotImplementedError. How they work is up to you: loops, einsum, slices,
helper functions, classes, anything in NumPy. Only the mathematics and what the docstrings say is marked."""

RULES = (
    "Images are (N, C, H, W), weights (O, C, kh, kw), as in PyTorch. Inputs may be float32 or float64.",
    "Every forward function returns a cache for its backward function; what is in it is your own business.",
    "No function writes to its arguments, and the same call twice gives the same values.",
    "Return NumPy arrays of the shapes that the docstrings give.",
    "You may call functions of earlier tasks. When a later task is marked, right ones take their place, so that a "
    "mistake is paid once.",
)
"""One sentence or two each, for the file, the notebook and the README."""

IMPORTS = "Import NumPy and the standard library; no files, no network, no other processes."
IMPORTS_ALLOWED = "Import NumPy, {modules} and the standard library; no files, no network, no other processes."


def rules(assignment: Assignment) -> list[str]:
    """The rules in the language of the assignment."""
    t = Texts(assignment.language)
    imports = t(IMPORTS_ALLOWED, modules=", ".join(assignment.allow)) if assignment.allow else t(IMPORTS)
    return [*map(t, RULES), imports]


def stub_file(assignment: Assignment) -> str:
    """The Python file that students fill in."""
    parts = assignment.parts()
    t = Texts(assignment.language)
    sentences = [bullet(rule, assignment.language) for rule in rules(assignment)]
    pieces = [
        "\n".join([f'"""{assignment.title}', "", t(INTRODUCTION), "", *sentences, '"""', ""]),
        "import numpy as np\n",
    ]
    chapter = ""
    for function in functions_of(parts):
        text = f"{remark(function, parts, t)}\n{function.stub(t)}"
        number = chapter_of(function, parts)
        if number != chapter:
            text = f"{_ruler(f'{number} {t(CHAPTERS[number])}')}\n{text}"
        chapter = number
        pieces.append(f"\n{text}")
    return "\n".join(pieces)


def chapter_of(function: Function, parts: Sequence[Part]) -> str:
    """The chapter that a function belongs to, whether it is set or comes with another one."""
    from ..parts import PARTS

    return PARTS[function.name].task.split(".")[0]


def remark(function: Function, parts: Sequence[Part], texts: Texts) -> str:
    """A comment: the task of a function and its points, or what it is needed for."""
    for part in parts:
        if part.name == function.name:
            return f"# {texts('task {task}, {points}', task=part.task, points=counted(part.points, texts))}"
    needed = next(part.task for part in parts if function.name in part.functions or not part.stand_ins)
    return f"# {texts('needed for task {task}, no points of its own', task=needed)}"


def _ruler(text: str) -> str:
    return f"# {'-' * (97 - columns(text))} {text}"

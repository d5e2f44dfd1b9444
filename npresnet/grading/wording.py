"""Short explanations of single tests, for pytest, notebooks and other systems that show one test at a time."""

from __future__ import annotations

from .marks import Cell, Report
from .texts import Texts


def outcome(cell: Cell, language: str = "en") -> str:
    """What a test found, in a few lines: ``right``, or what is wrong, how it shows, and where to read on."""
    from .report.explanation import explain_alone

    say = Texts(language)
    return say.phrase("right") if cell.failure is None else "\n".join(explain_alone(cell, say))


def visible(report: Report) -> Report:
    """What the student may see of a report."""
    from .report.visible import student_view

    return student_view(report).report

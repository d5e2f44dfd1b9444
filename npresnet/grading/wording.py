"""Short explanations of single tests, for pytest, notebooks and other systems that show one test at a time."""

from __future__ import annotations

from .marks import Cell, PartMark, Report


def outcome(cell: Cell) -> str:
    """What a test found, in a few lines: ``right``, or what is wrong, how it shows, and where to read on."""
    from .report.explanation import explain

    if cell.failure is None:
        return "right"
    alone = explain(PartMark("", "", (cell,), 0))[0]
    return "\n".join([alone.headline, *(f"{fact.label}: {fact.text}" for fact in alone.facts if fact.label != "tests")])


def cell_name(part: PartMark, cell: Cell) -> str:
    """A name for a test: ``conv2d_backward: dx, stride 2``."""
    return f"{part.name}: {cell.output}, {cell.criterion}{' (hidden)' if cell.hidden else ''}"


def visible(report: Report) -> Report:
    """What the student may see of a report."""
    from .report.visible import student_view

    return student_view(report).report

"""What of a report may be seen by the student it is about. Every format is made from this view and nothing else.

Public tests are shown in full. Of a hidden one, ``report.feedback`` decides: ``full`` shows the same; ``kind`` the kind
of mistake, the returned value, the shapes of the smallest failing case and the size of the error, but neither seed nor
settings nor values; ``none`` nothing but how many hidden tests there are. What a submission printed or said in an
exception can hold the inputs of a hidden case, so that neither is shown where hidden tests are kept back.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..marks import Cell, Failure, PartMark, Report
from .text import count, points, printable, printable_lines

KINDS = {
    "values": "wrong values",
    "shape": "the wrong shape",
    "dtype": "the wrong dtype",
    "missing": "not returned",
    "not finite": "NaN or infinity",
    "type": "the wrong type",
    "mutated": "an argument was changed",
    "unstable": "two calls with the same arguments gave different results",
    "exception": "an exception",
    "import": "the file could not be executed",
    "time": "it took too long",
    "memory": "it needed too much memory",
    "exit": "it ended the process",
    "killed": "the process was killed",
    "output": "it printed too much",
    "protocol": "the process did not answer",
    "refused": "the file was refused",
}
"""A few words for every kind of failure, of which none depends on the case."""

NOT_WRITTEN = "not written yet"
"""The message about a stub; it gives nothing away."""


@dataclass(frozen=True)
class View:
    """A report without what is kept back, its text made harmless.

    Attributes
    ----------
    report : Report
    hidden : int
        Hidden tests, shown or not.
    withheld : int
        Hidden tests that are not in ``report``.
    withheld_points : float
        To be earned in them.
    """

    report: Report
    hidden: int
    withheld: int
    withheld_points: float

    @property
    def sentence(self) -> str:
        """How many hidden tests there are, and what is shown of them."""
        if not self.hidden:
            return "There are no hidden tests."
        if self.withheld:
            are = "is" if self.withheld == 1 else "are"
            worth = f"worth {points(self.withheld_points)} of the points"
            return f"{count(self.withheld, 'hidden test')}, {worth}, {are} not shown."
        tests = sum(len(part.cells) for part in self.report.parts)
        shown = "they are shown like the others"
        if self.report.feedback == "kind":
            shown = "of those that fail, the kind of mistake is shown, but neither seeds nor values"
        return f"{self.hidden:,} of the {tests:,} tests are hidden; {shown}."


def student_view(report: Report) -> View:
    """What the student may see.

    Raises
    ------
    ValueError
        If ``report.feedback`` is none of the three.
    """
    if report.feedback not in ("full", "kind", "none"):
        raise ValueError(f"feedback must be full, kind or none, found {report.feedback!r}")
    hidden = [cell for part in report.parts for cell in part.cells if cell.hidden]
    withheld = hidden if report.feedback == "none" else []
    clean = dataclasses.replace(
        report,
        submission=printable(report.submission),
        assignment=printable(report.assignment),
        isolation=printable(report.isolation),
        findings=tuple(printable(finding) for finding in report.findings),
        parts=tuple(_part(part, report.feedback) for part in report.parts),
        seed=report.seed if report.feedback == "full" else 0,
    )
    return View(clean, len(hidden), len(withheld), sum(cell.max_points for cell in withheld))


def _part(part: PartMark, feedback: str) -> PartMark:
    keeps_back = feedback != "full" and any(cell.hidden for cell in part.cells)
    cells = tuple(_cell(cell, feedback) for cell in part.cells if feedback != "none" or not cell.hidden)
    stdout = "" if keeps_back else printable_lines(part.stdout)
    return dataclasses.replace(part, name=printable(part.name), task=printable(part.task), cells=cells, stdout=stdout)


def _cell(cell: Cell, feedback: str) -> Cell:
    failure = cell.failure
    if failure is not None:
        failure = _clean(failure) if feedback == "full" or not cell.hidden else _kind_alone(failure)
    return dataclasses.replace(
        cell, criterion=printable(cell.criterion), output=printable(cell.output), failure=failure
    )


def _kind_alone(failure: Failure) -> Failure:
    """Built from nothing, so that a field that is added later stays hidden until somebody thinks of it."""
    return _clean(
        Failure(
            kind=failure.kind,
            message=NOT_WRITTEN if failure.message == NOT_WRITTEN else "",
            shapes=failure.shapes,
            dtype=failure.dtype,
            output=failure.output,
            error=failure.error,
            allowed=failure.allowed,
            wrong=failure.wrong,
            line=failure.line,
            mistake=failure.mistake,
            hint=failure.hint,
            section=failure.section,
        )
    )


def _clean(failure: Failure) -> Failure:
    return dataclasses.replace(
        failure,
        kind=printable(failure.kind),
        message=printable(failure.message),
        settings={printable(str(key)): _clean_value(value) for key, value in failure.settings.items()},
        shapes={printable(name): shape for name, shape in failure.shapes.items()},
        dtype=printable(failure.dtype),
        output=printable(failure.output),
        mistake=None if failure.mistake is None else printable(failure.mistake),
        hint=printable(failure.hint),
        section=printable(failure.section),
    )


def _clean_value(value: object) -> object:
    return printable(value) if isinstance(value, str) else value

"""What of a report may be seen by the student it is about. Every format is made from this view and nothing else.

Public tests are shown in full. Of a hidden one, ``report.feedback`` decides: ``full`` shows the same; ``kind`` the kind
of mistake, the returned value, the shapes of the smallest failing case and the size of the error, but neither seed nor
settings nor values; ``none`` nothing but how many hidden tests there are. What a submission printed or said in an
exception can hold the inputs of a hidden case, so that neither is shown where hidden tests are kept back.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

from ..assignment import LANGUAGES
from ..marks import Cell, Failure, PartMark, Report
from ..texts import Texts
from .text import points, printable, printable_lines

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


@functools.cache
def _not_written() -> frozenset[str]:
    return frozenset(Texts(language)(NOT_WRITTEN) for language in LANGUAGES)


def is_stub(failure: Failure) -> bool:
    """Whether the function is not written yet, as said in any language."""
    return failure.message in _not_written()


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
        say = self.say
        if not self.hidden:
            return say.phrase("There are no hidden tests.")
        if self.withheld:
            return say.counted(
                self.withheld,
                "{count} hidden test, worth {points} of the points, is not shown.",
                "{count} hidden tests, worth {points} of the points, are not shown.",
                points=points(self.withheld_points),
            )
        shown = say.phrase("they are shown like the others")
        if self.report.feedback == "kind":
            shown = say.phrase("of those that fail, the kind of mistake is shown, but neither seeds nor values")
        tests = sum(len(part.cells) for part in self.report.parts)
        return say.phrase(
            "{hidden} of the {tests} tests are hidden; {shown}.",
            hidden=f"{self.hidden:,}", tests=f"{tests:,}", shown=shown,
        )  # fmt: skip

    @property
    def say(self) -> Texts:
        """The language of the report."""
        return Texts(self.report.language)


def student_view(report: Report) -> View:
    """What the student may see.

    Raises
    ------
    ValueError
        If ``report.feedback`` is none of the three, or there are no texts in ``report.language``.
    """
    if report.feedback not in ("full", "kind", "none"):
        raise ValueError(f"feedback must be full, kind or none, found {report.feedback!r}")
    hidden = [cell for part in report.parts for cell in part.cells if cell.hidden]
    withheld = hidden if report.feedback == "none" else []
    clean = _Cleaner(report.feedback, Texts(report.language)).report(report)
    return View(clean, len(hidden), len(withheld), sum(cell.max_points for cell in withheld))


class _Cleaner:
    """Takes away what is kept back, and makes harmless what is left."""

    def __init__(self, feedback: str, say: Texts) -> None:
        self._feedback, self._say = feedback, say
        self._clean = functools.partial(printable, say=say)

    def report(self, report: Report) -> Report:
        clean = self._clean
        return dataclasses.replace(
            report,
            submission=clean(report.submission),
            assignment=clean(report.assignment),
            isolation=clean(report.isolation),
            findings=tuple(clean(finding) for finding in report.findings),
            parts=tuple(self._part(part) for part in report.parts),
            seed=report.seed if self._feedback == "full" else 0,
        )

    def _part(self, part: PartMark) -> PartMark:
        keeps_back = self._feedback != "full" and any(cell.hidden for cell in part.cells)
        return dataclasses.replace(
            part,
            name=self._clean(part.name),
            task=self._clean(part.task),
            cells=tuple(self._cell(cell) for cell in part.cells if self._feedback != "none" or not cell.hidden),
            stdout="" if keeps_back else printable_lines(part.stdout, say=self._say),
        )

    def _cell(self, cell: Cell) -> Cell:
        failure = cell.failure
        if failure is not None:
            shown_in_full = self._feedback == "full" or not cell.hidden
            failure = self._failure(failure) if shown_in_full else self._kind_alone(failure)
        return dataclasses.replace(
            cell, criterion=self._clean(cell.criterion), output=self._clean(cell.output), failure=failure
        )

    def _kind_alone(self, failure: Failure) -> Failure:
        """Built from nothing, so that a field that is added later stays hidden until somebody thinks of it."""
        return self._failure(
            Failure(
                kind=failure.kind,
                message=self._say(NOT_WRITTEN) if is_stub(failure) else "",
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

    def _failure(self, failure: Failure) -> Failure:
        clean = self._clean
        return dataclasses.replace(
            failure,
            kind=clean(failure.kind),
            message=clean(failure.message),
            settings={clean(str(key)): self._value(value) for key, value in failure.settings.items()},
            shapes={clean(name): shape for name, shape in failure.shapes.items()},
            dtype=clean(failure.dtype),
            output=clean(failure.output),
            mistake=None if failure.mistake is None else clean(failure.mistake),
            hint=clean(failure.hint),
            section=clean(failure.section),
        )

    def _value(self, value: object) -> object:
        return self._clean(value) if isinstance(value, str) else value

"""What is shown while a class is marked: a bar on a terminal, a line for each submission anywhere else, or nothing."""

from __future__ import annotations

import sys
from typing import Any

from .class_marks import StudentMark
from .report.text import points, printable


class ClassProgress:
    """A context manager that draws on stderr.

    Parameters
    ----------
    total : int
        Submissions to be marked now.
    quiet : bool
        Show nothing but notes.
    """

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total, self._done = total, 0
        self._working: list[str] = []
        self._lines = not quiet and not sys.stderr.isatty()
        self._bar: Any = None
        if not quiet and not self._lines:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("grading"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn(),
                TextColumn("left {task.fields[working]}", markup=False),
            )  # fmt: skip
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
            self._task = self._bar.add_task("grading", total=total, working="")

    def __enter__(self) -> ClassProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def started(self, student: str) -> None:
        """A submission is being marked."""
        self._working.append(printable(student, 20))
        self._draw()

    def finished(self, mark: StudentMark) -> None:
        """A submission is done with."""
        self._done += 1
        name = printable(mark.student, 20)
        if name in self._working:
            self._working.remove(name)
        self._draw()
        if mark.report is None:
            self.note(f"{printable(mark.student)}: not graded: {printable(mark.problem)}")
        elif self._lines:
            total = f"{points(mark.report.points)} of {points(mark.report.max_points)}"
            self.note(f"{self._done}/{self._total}  {printable(mark.student)}: {total}")

    def note(self, text: str) -> None:
        """Something that the teacher should know."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, working=f"({', '.join(self._working)})")

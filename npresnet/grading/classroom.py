"""Mark a class: every submission in a folder, in several processes, with what is done kept at every moment.

Beside the CSV file ``marks.csv`` stands a folder ``marks`` with a file for each student. A second call takes from there
what did not change: the submission, the assignment and this program. One submission that breaks the grader costs itself
alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .assignment import Assignment
from .class_files import Found, Stranger, find_submissions
from .class_marks import StudentMark, file_names, key_of, load_report, save_mark
from .class_progress import ClassProgress
from .class_table import write_marks
from .class_workers import run_each
from .marks import Report
from .report.text import count, listed, points, printable
from .submission import SubmissionError

__all__ = ["find_submissions", "grade_class"]

FEEDBACK = {"html": ".html", "markdown": ".md"}


class _Task(NamedTuple):
    found: Found
    content: bytes
    key: str


def grade_class(
    folder: str | os.PathLike[str],
    assignment: Assignment,
    *,
    csv: str | os.PathLike[str],
    jobs: int = 1,
    resume: bool = True,
    feedback: str | os.PathLike[str] | None = None,
    feedback_format: str = "html",
    plot: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    mark: Callable[..., Report] | None = None,
) -> int:
    """Mark all submissions of a class, write the table, and print statistics.

    Parameters
    ----------
    folder : path
        See :func:`find_submissions`.
    assignment : Assignment
    csv : path
        The table; complete at the end, and up to date after every submission.
    jobs : int
        Submissions at a time.
    resume : bool
        Take over what an earlier call marked and did not change.
    feedback : path, optional
        A folder for a page for every student.
    feedback_format : {"html", "markdown"}
    plot : path, optional
        A .png, .pdf or .svg file.
    quiet : bool
        No progress and no statistics.
    mark : callable, optional
        ``mark(submission, assignment) -> Report``, a function of a module; by default
        :func:`npresnet.grading.marking.mark`.

    Returns
    -------
    int
        The exit status: 0, 1 if a submission could not be graded, 130 if it was interrupted.

    Raises
    ------
    ValueError
        If there is no submission.
    OSError
        If a file cannot be written; as far as it can be known, before the first submission is marked.
    """
    if feedback_format not in FEEDBACK:
        raise ValueError(f"feedback_format must be html or markdown, found {feedback_format!r}")
    table = Path(csv)
    results = table.with_suffix("") if table.suffix else table.with_name(f"{table.name}_results")
    if plot is not None:
        from .plot import check_plot

        check_plot(plot)
    own = [path for path in (table, results, feedback, plot) if path is not None]
    found, strangers = find_submissions(folder, assignment, ignore=own)
    if not found:
        raise ValueError(f"{folder} holds no submissions: {_wanted(assignment)}")
    desk = _Desk(found, table, results, None if feedback is None else Path(feedback), feedback_format)
    waiting = desk.take_over(found, assignment, resume)
    progress = ClassProgress(len(waiting), quiet=quiet)
    kept = len(desk.reports)
    if kept and not quiet:
        progress.note(f"{count(kept, 'submission')} did not change and {'is' if kept == 1 else 'are'} not marked again")
    try:
        with progress, _terminations():
            desk.write_table()
            for student, outcome in _outcomes(waiting, assignment, mark, jobs, progress):
                desk.settle(outcome, waiting[student].key)
                progress.finished(outcome)
                try:
                    desk.write_table()
                except OSError as error:  # open in a spreadsheet, say; there is a file for every student
                    progress.note(f"{table} cannot be written at the moment: {error}")
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            desk.write_table()
        done = sum(one.status != "waiting" for one in desk.marks.values())
        print(
            f"npresnet: stopped; {done} of {len(found)} submissions are marked and kept in {results}; "
            "the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    desk.write_table()
    _finish(desk.reports, list(desk.marks.values()), strangers, table, plot, quiet)
    return int(len(desk.reports) < len(found))


class _Desk:
    """The marks of a class as they come in, and the files that keep them."""

    def __init__(
        self, found: Sequence[Found], table: Path, results: Path, pages: Path | None, feedback_format: str
    ) -> None:
        self.marks = {one.student: StudentMark(one.student, one.label) for one in found}
        self._names = file_names(self.marks)
        self._table, self._results, self._pages, self._format = table, results, pages, feedback_format
        self.write_table()  # a path that cannot be written must not show after an hour
        for directory in (results, *([] if pages is None else [pages])):
            _make_writable(directory)

    @property
    def reports(self) -> list[Report]:
        """Of all that are graded."""
        return [one.report for one in self.marks.values() if one.report is not None]

    def take_over(self, found: Sequence[Found], assignment: Assignment, resume: bool) -> dict[str, _Task]:
        """Settle what is known without marking, and return what is to do for the other students."""
        waiting = {}
        for one in found:
            known, task = _known(one, self._file(one.student), assignment, resume)
            if task is not None:
                waiting[one.student] = task
            if known is not None:
                self.settle(known)
        return waiting

    def settle(self, one: StudentMark, key: str | None = None) -> None:
        """Note a mark and write the student's page; with a key, also keep the mark for the next call."""
        self.marks[one.student] = one
        if self._pages is not None and one.report is not None:
            _write_page(self._pages / f"{self._names[one.student]}{FEEDBACK[self._format]}", one.report, self._format)
        if key is not None:
            save_mark(self._file(one.student), one, key)

    def write_table(self) -> None:
        """Write the table as it is now."""
        write_marks(self._table, list(self.marks.values()))

    def _file(self, student: str) -> Path:
        return self._results / f"{self._names[student]}.json"


def _known(one: Found, path: Path, assignment: Assignment, resume: bool) -> tuple[StudentMark | None, _Task | None]:
    """What is known without marking: a report that was kept, or a problem; or else the task to do."""
    try:
        content = one.read()
    except SubmissionError as error:
        problem = StudentMark(one.student, one.label, "not graded", None, printable(str(error)))
        save_mark(path, problem, "")
        return problem, None
    key = key_of(one.filename, content, assignment)
    report = load_report(path, key) if resume else None
    if report is not None:
        return StudentMark(one.student, one.label, "graded", report), None
    return None, _Task(one, content, key)


def _outcomes(
    waiting: Mapping[str, _Task],
    assignment: Assignment,
    mark: Callable[..., Report] | None,
    jobs: int,
    progress: ClassProgress,
) -> Iterator[tuple[str, StudentMark]]:
    """Mark what is waiting."""
    from .report.plain_json import report_from_json

    tasks: Iterator[tuple[str, tuple[Any, ...]]] = (
        (student, (student, task.found.filename, task.content, assignment, mark)) for student, task in waiting.items()
    )
    seconds = max(600.0, 100 * assignment.seconds)  # far more than all parts can take, each of which has its limits
    for student, outcome in run_each(tasks, _mark_one, jobs=jobs, seconds=seconds, started=progress.started):
        label, problem = waiting[student].found.label, outcome.problem
        report = None
        if outcome.answer is not None:
            try:
                report = report_from_json(outcome.answer.decode())
            except ValueError as error:
                problem = f"the grader's answer makes no sense: {error}"
        status = "not graded" if report is None else "graded"
        yield student, StudentMark(student, label, status, report, printable(problem))


def _mark_one(
    student: str, filename: str, content: bytes, assignment: Assignment, mark: Callable[..., Report] | None
) -> bytes:
    """In a process of its own: mark one submission."""
    from .report.plain_json import report_to_json
    from .submission import submission_from_text

    if mark is None:
        from .marking import mark as marking

        mark = marking
    return report_to_json(mark(submission_from_text(student, filename, content), assignment)).encode()


def _make_writable(directory: Path) -> None:
    """Create a directory, and make sure that files can be written to it."""
    from ..checkpoint.atomic import atomic_write

    directory.mkdir(parents=True, exist_ok=True)
    probe = directory / ".probe"
    with atomic_write(probe) as temporary:
        temporary.write_bytes(b"")
    probe.unlink()


def _write_page(path: Path, report: Report, feedback_format: str) -> None:
    from .report import write_report

    write_report(report, path, feedback_format)


def _finish(
    reports: Sequence[Report],
    marks: Sequence[StudentMark],
    strangers: Sequence[Stranger],
    table: Path,
    plot: str | os.PathLike[str] | None,
    quiet: bool,
) -> None:
    """Write and print statistics."""
    from .items import common_mistakes, item_statistics, print_items, write_items, write_mistakes

    items, mistakes = item_statistics(reports), common_mistakes(reports)
    files = [table, table.with_name(f"{table.stem}-items.csv"), table.with_name(f"{table.stem}-mistakes.csv")]
    write_items(files[1], items)
    write_mistakes(files[2], mistakes)
    if plot is not None and reports:
        from .plot import draw_class

        draw_class(plot, reports, items, mistakes)
        files.append(Path(plot))
    for line in describe_strangers(strangers):
        print(line, file=sys.stderr)
    if quiet:
        return
    print(summary(marks))
    if reports:
        print()
        print_items(items, mistakes)
    print(f"\nwritten: {', '.join(printable(str(file)) for file in files)}")


def summary(marks: Sequence[StudentMark]) -> str:
    """A few lines about the class: how many are graded, their points, and why others are not."""
    values = sorted(one.report.points for one in marks if one.report is not None)
    lines = [f"{len(values)} of {count(len(marks), 'submission')} graded"]
    if values:
        most = max(one.report.max_points for one in marks if one.report is not None)
        middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
        mean = sum(values) / len(values)
        lines[0] += f": mean {points(mean)}, median {points(middle)}, from {points(values[0])} to {points(values[-1])}"
        lines[0] += f", of {points(most)} points"
    lines += [f"not graded: {printable(one.student)}: {one.problem}" for one in marks if one.status == "not graded"]
    return "\n".join(lines)


def describe_strangers(strangers: Sequence[Stranger]) -> list[str]:
    """A line for each reason why files are no submissions."""
    reasons = Counter(stranger.why for stranger in strangers)
    lines = []
    for why, number in reasons.items():
        labels = [printable(stranger.label) for stranger in strangers if stranger.why == why]
        lines.append(f"no submission ({why}): {count(number, 'file')}: {listed(labels, 5)}")
    return lines


def _wanted(assignment: Assignment) -> str:
    return f"expected NAME.py, NAME.ipynb, NAME.zip or folders NAME with {assignment.file}"


@contextlib.contextmanager
def _terminations() -> Iterator[None]:
    """Take the end that a system or a scheduler asks for like Ctrl-C; only possible in the main thread."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

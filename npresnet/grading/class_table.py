"""The marks of a class as CSV, for a spreadsheet or the import of a learning platform."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..checkpoint.atomic import atomic_write
from .class_marks import StudentMark
from .marks import Report
from .report.text import printable

MISTAKES = 3
"""The dearest ones of a student that are named."""

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula."""


def write_marks(path: str | os.PathLike[str], marks: Sequence[StudentMark]) -> None:
    """Write the table, a row for every student, whole or not at all.

    The file is UTF-8 with a mark at the beginning, by which spreadsheets recognise it (``encoding="utf-8-sig"``).
    """
    parts = _parts(marks)
    header = ["name", "file", "status", "points", "max", *parts.values(), "tests failed", "worst mistakes", "reason"]
    write_rows(path, header, [_row(mark, list(parts)) for mark in marks])


def write_rows(path: str | os.PathLike[str], header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV file in which no text is a formula and none breaks a line."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        for row in (header, *rows):
            writer.writerow([safe(value) if isinstance(value, str) else value for value in row])


def safe(text: str) -> str:
    """Text that a spreadsheet shows and does not calculate."""
    clean = printable(text)
    return f"'{clean}" if clean.lstrip(" '\"").startswith(FORMULA) else clean


def _parts(marks: Sequence[StudentMark]) -> dict[str, str]:
    """Names of all parts with the titles of their columns, in order of the tasks."""
    reports = [mark.report for mark in marks if mark.report is not None]
    titles = {part.name: f"{part.task} {part.name} ({part.max_points:.6g})" for r in reports for part in r.parts}
    order = {part.name: _numbers(part.task) for report in reports for part in report.parts}
    return {name: titles[name] for name in sorted(titles, key=lambda name: order[name])}


def _numbers(task: str) -> list[tuple[int, str]]:
    return [(int(piece), "") if piece.isdecimal() else (0, piece) for piece in task.split(".")]


def _row(mark: StudentMark, parts: Sequence[str]) -> list[Any]:
    report = mark.report
    if report is None:
        return [mark.student, mark.label, mark.status, "", "", *([""] * len(parts)), "", "", mark.problem]
    earned = {part.name: round(float(part.points), 4) for part in report.parts}
    failed = sum(not cell.passed for part in report.parts for cell in part.cells)
    return [
        mark.student,
        mark.label,
        mark.status,
        round(float(report.points), 4),
        round(float(report.max_points), 4),
        *(earned.get(name, "") for name in parts),
        failed,
        "; ".join(worst_mistakes(report)),
        "; ".join(report.findings),
    ]


def worst_mistakes(report: Report) -> list[str]:
    """The mistakes that cost most points, by their names, or the kind of failure where they have none."""
    lost: Counter[str] = Counter()
    for part in report.parts:
        for cell in part.cells:
            if cell.failure is not None:
                lost[cell.failure.mistake or f"{part.name}: {cell.failure.kind}"] += cell.max_points  # type: ignore[assignment]
    return [name for name, _ in lost.most_common(MISTAKES)]

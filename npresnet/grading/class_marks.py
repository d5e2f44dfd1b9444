"""What is known of each student of a class, and kept in a file, so that a second call goes on from there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import npresnet

from ..checkpoint.atomic import atomic_write
from .assignment import Assignment
from .marks import Report
from .report.plain_json import json_values, report_from_values

FORMAT = 1
"""Of the files; others are marked again."""


@dataclass(frozen=True)
class StudentMark:
    """The outcome for one student.

    Attributes
    ----------
    student, label : str
    status : str
        ``graded``, ``not graded`` or ``waiting``.
    report : Report or None
    problem : str
        Why it is not graded.
    """

    student: str
    label: str
    status: str = "waiting"
    report: Report | None = None
    problem: str = ""


def key_of(filename: str, content: bytes, assignment: Assignment) -> str:
    """A digest of all that the marks follow from: what was handed in, the assignment, and this program."""
    digest = hashlib.sha256()
    fields = json.dumps(dataclasses.asdict(assignment), sort_keys=True, default=str)
    for text in (f"{FORMAT} {npresnet.__version__}", fields, Path(filename).suffix):
        digest.update(f"{len(text)} {text}".encode())
    digest.update(content)
    return digest.hexdigest()


def save_mark(path: Path, mark: StudentMark, key: str) -> None:
    """Write the file of a student, whole or not at all."""
    document = {
        "format": FORMAT,
        "student": mark.student,
        "file": mark.label,
        "key": key,
        "status": mark.status,
        "problem": mark.problem,
        "report": None if mark.report is None else json_values(mark.report),
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")


def load_report(path: Path, key: str) -> Report | None:
    """The report in the file of a student, if it was made from the same things; None if there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT or document["key"] != key or document["status"] != "graded":
            return None
        return report_from_values(document["report"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # nothing, or a damaged file: mark again
        return None


def file_names(students: Iterable[str]) -> dict[str, str]:
    """A name for the files of each student that any file system takes, and no two students share."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for student in students:
        name = "".join(c if c.isalnum() or c in "-_. " else "_" for c in student).strip(". ")[:80]
        if name != student or name.casefold() in taken or not name.isascii():
            name = f"{name or 'student'}-{hashlib.sha256(student.encode(errors='surrogateescape')).hexdigest()[:8]}"
        taken.add(name.casefold())
        names[student] = name
    return names

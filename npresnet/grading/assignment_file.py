"""Assignments as files: ``coursework.toml``, written with a line of explanation for every key."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .assignment import CHECKS, Assignment, AssignmentError, suggestion
from .texts import Texts

FILE = "coursework.toml"

MAX_BYTES = 2**20
"""A file that is larger is no assignment."""

MEANINGS = {
    "title": "as in the heading of reports",
    "file": "name of the file that students hand in; a notebook of that name is read, too",
    "language": "of stubs, texts and feedback: en or zh",
    "tasks": 'numbers such as "1.2", chapters such as "2", ranges such as "1.1-1.4"; empty: all',
    "total": "what all points are scaled to; without this line they stay as they are",
    "hidden_share": "part of all points that hidden cases decide, from 0 (there are none) to 1",
    "seed": "of the hidden cases; keep it secret, and keep it, so that marks can be repeated",
    "feedback": "what is told of hidden cases that fail: full (the case, too), kind (what kind of mistake), none",
    "seconds": "time limit of one function's process",
    "memory_mb": "memory limit of one function's process",
    "allow": 'modules that submissions may import besides NumPy and the standard library, such as "scipy"',
}
"""What stands behind every key of the file, in its order."""

HEADING = "An assignment of npresnet: what is set, for how many points, and what is kept for the teacher."
PUBLIC_HEADING = "The assignment as students have it: the public cases alone. Hidden cases are added when it is marked."
POINTS = "by function, where they are not the usual ones (npresnet coursework tasks)"


def read_assignment(path: str | os.PathLike[str]) -> Assignment:
    """Read a ``coursework.toml``, or the one in a folder.

    Raises
    ------
    AssignmentError
        If it is not TOML, or a key or a value is wrong; the message names the file and the nearest known key.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FILE
    if path.stat().st_size > MAX_BYTES:
        raise AssignmentError(f"{path}: {path.stat().st_size:,} bytes are too much; expected a small text file")
    try:
        assignment = parse_assignment(path.read_text(encoding="utf-8-sig"))
        check_points(assignment)
    except UnicodeDecodeError as error:
        raise AssignmentError(f"{path}: not a text file in UTF-8: {error}") from None
    except AssignmentError as error:
        raise AssignmentError(f"{path}: {error}") from None
    return assignment


def check_points(assignment: Assignment) -> None:
    """Raise where points are given to a function of a task that is not set."""
    names = [part.name for part in assignment.parts()]
    for name in assignment.points:
        if name not in names:
            raise AssignmentError(
                f"points: the task of {name} is not set; add it to the tasks, or leave its points out"
            )


def parse_assignment(text: str) -> Assignment:
    """An assignment from the text of its file.

    Raises
    ------
    AssignmentError
        If it is not TOML, or a key or a value is wrong.
    """
    values = parse_toml(text)
    for name in values:
        if name not in CHECKS:
            raise AssignmentError(f"there is no key {name!r}; {suggestion(name, list(CHECKS))}")
    return Assignment(**values)


def parse_toml(text: str) -> dict[str, Any]:
    """The content of a TOML document.

    Raises
    ------
    AssignmentError
        If it is none; the message says where.
    """
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AssignmentError(f"this is not TOML: {error}") from None
    return values


def format_assignment(assignment: Assignment) -> str:
    """An assignment as TOML, complete, with a comment for every key in the language of the assignment."""
    return "\n".join(_lines(assignment, HEADING)) + "\n"


def format_public(assignment: Assignment) -> str:
    """The same without the seed and without hidden cases, to be handed out."""
    return "\n".join(_lines(assignment.replace(seed=0, hidden_share=0.0), PUBLIC_HEADING, without=("seed",))) + "\n"


def _lines(assignment: Assignment, heading: str, without: tuple[str, ...] = ()) -> Iterator[str]:
    t = Texts(assignment.language)
    yield f"# {t(heading)}"
    yield ""
    for name, meaning in MEANINGS.items():
        if name in without:
            continue
        value = getattr(assignment, name)
        line = f"# {name} = 100" if value is None else f"{name} = {_toml(value)}"
        yield f"{line:<36} # {t(meaning)}"
    yield ""
    yield f"[points] # {t(POINTS)}"
    for name, points in assignment.points.items():
        yield f"{name} = {_toml(points)}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)

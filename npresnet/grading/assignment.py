"""An assignment: which parts are set, for how many points, and what is kept for the teacher.

As a file it is ``coursework.toml``, see :mod:`npresnet.grading.assignment_file`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .part import Part

LANGUAGES = ("en", "zh")
FEEDBACK = ("full", "kind", "none")


class AssignmentError(ValueError):
    """An assignment that cannot be set; the message names the key, what was found, and what would do."""


@dataclass(frozen=True)
class Assignment:
    """What a teacher decides.

    Functions of tasks that are not set are not asked for: in the marking, the reference ones take their place, so that
    every task can be set alone.

    Attributes
    ----------
    title : str
    tasks : tuple of str
        Numbers of the tasks in order, such as ``("1.1", "1.2")``; empty for all. Ranges and whole chapters may be
        given, too (``"1.1-1.4"``, ``"2"``).
    points : dict
        By function name, where they are not the usual ones.
    total : float or None
        What all points are scaled to; None leaves them as they are.
    hidden_share : float
        The part of all points that hidden cases decide, from 0 to 1; with 0 there are no hidden cases.
    language : str
        Of stubs, texts and feedback: ``en`` or ``zh``.
    seed : int
        Of the hidden cases; the teacher's secret. Public cases have the seed 0.
    feedback : str
        What students are told of hidden cases: ``full``, ``kind`` or ``none``.
    seconds, memory_mb : float, int
        Limits of one part's process.
    allow : tuple of str
        Modules that submissions may import besides NumPy and the harmless part of the standard library.
    file : str
        The name of the file that students hand in.

    Raises
    ------
    AssignmentError
        If a value is of the wrong type or size, or a task or a function does not exist.
    """

    title: str = "ResNet from scratch"
    tasks: tuple[str, ...] = ()
    points: dict[str, float] = field(default_factory=dict)
    total: float | None = None
    hidden_share: float = 0.5
    language: str = "en"
    seed: int = 0
    feedback: str = "kind"
    seconds: float = 10.0
    memory_mb: int = 1024
    allow: tuple[str, ...] = ()
    file: str = "resnet_layers.py"

    def __post_init__(self) -> None:
        for name, check in CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    def replace(self, **changes: Any) -> Assignment:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def parts(self) -> list[Part]:
        """The parts that are set, in order, with the points that they have in this assignment.

        Raises
        ------
        AssignmentError
            If a task or a function does not exist.
        """
        from .parts import PARTS

        known = list(PARTS.values())
        tasks = expand_tasks(self.tasks, [part.task for part in known])
        for name in self.points:
            if name not in PARTS:
                raise AssignmentError(f"points: there is no function {name!r}; {suggestion(name, list(PARTS))}")
        chosen = [part for part in known if part.task in tasks]
        chosen = [dataclasses.replace(part, points=self.points.get(part.name, part.points)) for part in chosen]
        if self.total is None:
            return chosen
        scale = self.total / sum(part.points for part in chosen)
        return [dataclasses.replace(part, points=part.points * scale) for part in chosen]

    def restricted(self, tasks: Sequence[str]) -> Assignment:
        """The same with some of its tasks alone, each for the points that it has here.

        Raises
        ------
        AssignmentError
            If a task does not exist or is not set.
        """
        parts = self.parts()
        wanted = self.replace(tasks=tuple(tasks)).parts()
        set_tasks = [part.task for part in parts]
        for part in wanted:
            if part.task not in set_tasks:
                raise AssignmentError(f"task {part.task} is not set; the assignment has {', '.join(set_tasks)}")
        names = [part.name for part in wanted]
        points = {part.name: part.points for part in parts if part.name in names}
        return self.replace(tasks=tuple(part.task for part in wanted), points=points, total=None)


def expand_tasks(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """The numbers of tasks that ``1.1``, ``2`` (a whole chapter) and ``1.3-2.1`` (a range) stand for, in order.

    Parameters
    ----------
    wanted : sequence of str
        Empty for all.
    known : sequence of str
        All tasks, in order.

    Raises
    ------
    AssignmentError
        If one of them stands for nothing.
    """
    if not wanted:
        return list(known)
    found: set[str] = set()
    for item in wanted:
        first, dash, last = (piece.strip() for piece in item.partition("-"))
        begin, end = _tasks_of(first, known), _tasks_of(last if dash else first, known)
        span = known[known.index(begin[0]) : known.index(end[-1]) + 1]
        if not span:
            raise AssignmentError(f"tasks: {item!r} ends before it begins; write {last}-{first}")
        found.update(span)
    return [task for task in known if task in found]


def _tasks_of(number: str, known: Sequence[str]) -> list[str]:
    found = [task for task in known if task == number or task.startswith(f"{number}.")]
    if not found:
        raise AssignmentError(
            f"tasks: there is no task {number!r}; there are {', '.join(known)}, chapters such as '2', and ranges such "
            "as '1.1-1.4'"
        )
    return found


def suggestion(name: str, known: Sequence[str]) -> str:
    """The nearest known name as a question, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


# ------------------------------------------------------------------------------------------------------------- checks


def _wrong(name: str, expected: str, found: object) -> AssignmentError:
    return AssignmentError(f"{name} must be {expected}, found {found!r}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _wrong(name, "a line of text", value)
    return value


def _number(
    expected: str, accept: Callable[[float], bool], integer: bool = False, optional: bool = False
) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        if value is None and optional:
            return None
        kinds: Any = int if integer else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value) or not accept(value):
            raise _wrong(name, expected, value)
        return value if integer else float(value)

    return check


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in choices:
            near = difflib.get_close_matches(value, choices, n=1) if isinstance(value, str) else []
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AssignmentError(f"{name} must be one of {', '.join(choices)}, found {value!r}{hint}")
        return str(value)

    return check


def _texts(expected: str, pattern: str) -> Callable[[str, Any], tuple[str, ...]]:
    def check(name: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, (list, tuple)):
            raise _wrong(name, expected, value)
        for item in value:
            if not isinstance(item, str) or not re.fullmatch(pattern, item):
                raise AssignmentError(f"{name} must be {expected}; one of them is {item!r}")
        return tuple(value)

    return check


def _points(name: str, value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise _wrong(name, "a table of function names and points, such as conv2d_backward = 12", value)
    return {str(key): _positive(f"{name}.{key}", points) for key, points in value.items()}


def _file(name: str, value: Any) -> str:
    text = _text(name, value)
    if PurePath(text).name != text or "\\" in text or not text.endswith(".py") or not text[:-3].isidentifier():
        raise _wrong(name, "the name of a Python file without a folder, such as resnet_layers.py", value)
    return text


_positive = _number("a number above 0", lambda value: value > 0)

CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "title": _text,
    "tasks": _texts("a list of numbers of tasks, such as ['1.1-1.4', '2']", r"\s*[0-9.]+\s*(-\s*[0-9.]+\s*)?"),
    "points": _points,
    "total": _number("a number above 0", lambda value: value > 0, optional=True),
    "hidden_share": _number("a number from 0 to 1", lambda value: 0 <= value <= 1),
    "language": _one_of(*LANGUAGES),
    "seed": _number("a whole number, not negative", lambda value: value >= 0, integer=True),
    "feedback": _one_of(*FEEDBACK),
    "seconds": _positive,
    "memory_mb": _number("a whole number of at least 128", lambda value: value >= 128, integer=True),
    "allow": _texts("a list of names of modules, such as ['scipy']", r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"),
    "file": _file,
}
"""What checks the value of every key and returns it in its final form."""

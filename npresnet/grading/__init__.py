"""Coursework on the layers of a ResNet: handed out, marked fairly and safely, and explained.

How a mark comes about:

1. `solution.py` is the coursework, solved. Stubs are made from it (`handout/`), and what a student reads there is what
   is marked.
2. `parts/` knows each function: the sub-cases (criteria) with their points, how inputs are drawn from a seed, and the
   answer, computed by :mod:`npresnet.ops` in float64, with a bound on what rounding may do to it (`tolerance.py`).
3. `judge/` runs a submission, every part in a process of its own, with hard limits and without a way out. Only inputs
   go in; only bytes come back.
4. `marking.py` compares them with the answers, outside (`comparing.py`), finds the smallest failing case
   (`shrinking.py`), and asks the bank of known mistakes (`bank/`, `diagnosis.py`) which one it looks like.
5. `report/` shows the marks; `classroom.py` does it for a class, `similarity.py` compares submissions with each other.

>>> from npresnet.grading import Assignment, mark, read_submission
>>> report = mark(read_submission("resnet_layers.py"), Assignment())  # doctest: +SKIP
>>> report.points, report.max_points  # doctest: +SKIP
(87.5, 100.0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_attributes

if TYPE_CHECKING:
    from .assignment import Assignment
    from .marking import mark
    from .marks import Cell, Failure, PartMark, Report
    from .submission import Submission, read_submission

_HOME = {
    "Assignment": "assignment",
    "mark": "marking",
    "Cell": "marks",
    "Failure": "marks",
    "PartMark": "marks",
    "Report": "marks",
    "Submission": "submission",
    "read_submission": "submission",
}

__all__ = ["Assignment", "Cell", "Failure", "PartMark", "Report", "Submission", "mark", "read_submission"]

__getattr__ = lazy_attributes(__name__, _HOME)

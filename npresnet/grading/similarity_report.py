"""``npresnet grade DIR --similarity``: compare the submissions of a class with each other and with the solution."""

from __future__ import annotations

import os
import sys

from .assignment import Assignment
from .class_files import find_submissions
from .classroom import describe_strangers
from .handout.stubs import stub_file
from .report.text import printable
from .similarity import compare_sources, print_pairs, write_pairs
from .solution_source import solution_text
from .submission import SubmissionError, submission_from_text

SOLUTION = "(the published solution)"
"""It comes with the package, so that anybody can read it."""


def run(folder: str | os.PathLike[str], assignment: Assignment, *, csv: str | os.PathLike[str] | None = None) -> int:
    """Print the pairs that are suspiciously alike, and write them if asked to.

    Parameters
    ----------
    folder : path
        As for :func:`.classroom.grade_class`.
    assignment : Assignment
        Its stubs count for nobody.
    csv : path, optional

    Returns
    -------
    int
        The exit status: 0, or 1 if a submission could not be compared.

    Raises
    ------
    ValueError
        If there are not two submissions.
    """
    own = [] if csv is None else [csv]
    found, strangers = find_submissions(folder, assignment, ignore=own)
    sources, problems = {}, {}
    for one in found:
        try:
            sources[one.student] = submission_from_text(one.student, one.filename, one.read()).source
        except SubmissionError as error:
            problems[one.student] = str(error)
    if len(sources) < 2:
        raise ValueError(f"{folder} holds {len(sources)} readable submissions; a comparison needs two")
    similar = compare_sources(sources, stub=stub_file(assignment), known={SOLUTION: solution_text()})
    if csv is not None:
        write_pairs(csv, similar)
    print_pairs(similar)
    for student, problem in problems.items():
        print(f"not compared: {printable(student)}: {printable(problem)}")
    for line in describe_strangers(strangers):
        print(line, file=sys.stderr)
    return int(bool(problems or similar.unread))

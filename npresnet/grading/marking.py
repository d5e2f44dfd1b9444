"""Mark one submission: ask the judge for its results, compare them with the answers, and explain what is wrong.

Every part is run once on top of the reference versions of all earlier functions, so that a mistake is paid once. When
that is not perfect, it is run again on the submission's own functions, since a student's block may well rely on the
cache of his own convolution; the better of the two counts. Nothing that comes back is believed: results are compared
here, outside the submission's process, with answers that never were in it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import npresnet

from . import judge
from .assignment import Assignment
from .comparing import compare, members
from .diagnosis import diagnose_criteria
from .judge import CaseResult, Limits, PartRun
from .marks import Cell, Failure, PartMark, Report
from .part import Case, Expected, Part
from .parts import PARTS
from .shrinking import MOST, smaller_cases
from .solution_source import solution_text
from .submission import Submission
from .texts import Texts
from .written import written_names

PUBLIC_SEED = 0
"""Of the cases that students run themselves."""


@dataclasses.dataclass(frozen=True)
class _Questions:
    """The cases of a part with their answers, public ones first."""

    part: Part
    cases: tuple[Case, ...]
    hidden: tuple[bool, ...]
    answers: tuple[Mapping[str, Expected], ...]


def mark(
    submission: Submission,
    assignment: Assignment,
    *,
    jobs: int = 1,
    progress: Callable[[Report], None] | None = None,
) -> Report:
    """Mark a submission.

    Parameters
    ----------
    submission : Submission
    assignment : Assignment
        Which parts, for how many points, with how many hidden ones.
    jobs : int
        Parts that are judged at the same time, each in its own process.
    progress : callable, optional
        Called after every part with the report of all parts that have been marked by then, the latest last.

    Returns
    -------
    Report
        Marks and explanations. No property of the submission raises an error: what cannot be run scores nothing and
        the report says why.

    Notes
    -----
    Answers are computed with the backend ``numpy``, which is switched on for the whole process meanwhile. Whoever marks
    several submissions in threads must switch it on around all of them.
    """
    started = time.perf_counter()
    findings = judge.check_source(submission.source, assignment.allow)
    refused = [finding for finding in findings if finding.fatal]
    parts = assignment.parts()
    say = Texts(assignment.language)

    def report(marks: Sequence[PartMark]) -> Report:
        return Report(
            submission=submission.name,
            assignment=assignment.title,
            parts=tuple(marks),
            seconds=time.perf_counter() - started,
            isolation=say(judge.isolation()),
            findings=tuple(f"{submission.filename}:{finding.line}: {say(finding.message)}" for finding in findings),
            seed=assignment.seed,
            feedback=assignment.feedback,
            language=assignment.language,
        )

    done: list[PartMark] = []
    lock = threading.Lock()

    def mark_one(part: Part) -> PartMark:
        questions = _questions(part, assignment.seed, assignment.hidden_share)
        if refused:
            first = refused[0]
            failure = Failure(kind="refused", message=say(first.message), line=first.line)
            marked = PartMark(part.name, part.task, _same_for_all(questions, assignment, failure), seconds=0.0)
        else:
            marked = _mark_part(questions, submission, assignment)
        with lock:
            done.append(marked)
            if progress is not None:
                progress(report(done))
        return marked

    with npresnet.use_backend("numpy"):  # small arrays: nothing to compile
        if jobs > 1:
            with ThreadPoolExecutor(jobs) as pool:
                return report(tuple(pool.map(mark_one, parts)))
        return report(tuple(map(mark_one, parts)))


@functools.lru_cache(maxsize=256)
def _questions_of(name: str, seed: int, with_hidden: bool) -> _Questions:
    """All cases of a part and their answers: the same for every submission of a class."""
    part = PARTS[name]
    public = list(part.cases(PUBLIC_SEED, hidden=False))
    hidden = list(part.cases(seed, hidden=True)) if with_hidden else []
    cases = tuple(public + hidden)
    return _Questions(
        part,
        cases,
        tuple(index >= len(public) for index in range(len(cases))),
        tuple(part.expected(case) for case in cases),
    )


def _questions(part: Part, seed: int, hidden_share: float) -> _Questions:
    return dataclasses.replace(_questions_of(part.name, seed, hidden_share > 0), part=part)  # with its own points


def _mark_part(questions: _Questions, submission: Submission, assignment: Assignment) -> PartMark:
    """Run, compare, run again on the submission's own functions if that may help, and explain."""
    part = questions.part
    stand_ins = _stand_ins(part)
    run = _run(questions.cases, submission, assignment, stand_ins)
    cells, standing, seconds = _cells(questions, run, assignment), "reference" if stand_ins else "", run.seconds
    if stand_ins and run.ended == "finished" and not _is_over(cells):
        missing = tuple(name for name in stand_ins if name not in written_names(submission.source))
        own = _run(questions.cases, submission, assignment, missing)
        seconds += own.seconds
        own_cells = _cells(questions, own, assignment)
        # Of two runs without points, the one that came further says more about what is wrong.
        if (_points(own_cells), -_interrupted(own)) > (_points(cells), -_interrupted(run)):
            run, cells, standing, stand_ins = own, own_cells, "own", missing
    speed = _speed(questions, run, standing, assignment)
    if run.ended == "finished" and not _is_over(cells):
        cells = _explained(questions, run, cells, submission, assignment, stand_ins, standing)
    return PartMark(part.name, part.task, cells, seconds, standing, run.stdout, speed)


def _stand_ins(part: Part) -> tuple[str, ...]:
    """The functions of the solution that earlier parts are about. With later ones a task might solve itself: im2col is
    the transpose of col2im."""
    if not part.stand_ins:
        return ()
    everything = list(dict.fromkeys(function for other in PARTS.values() for function in other.functions))
    return tuple(everything[: everything.index(part.functions[0])])


def _is_over(cells: Sequence[Cell]) -> bool:
    """Whether there is nothing to explain: all is right, or nothing is written."""
    return all(cell.failure is None for cell in cells) or all(
        cell.failure is not None and cell.failure.kind == "missing" and cell.failure.line is not None for cell in cells
    )


def _interrupted(run: PartRun) -> float:
    """Cases that ended with an exception."""
    return math.inf if run.ended != "finished" else sum(result.raised is not None for result in run.results)


def _run(cases: Sequence[Case], submission: Submission, assignment: Assignment, stand_ins: Sequence[str]) -> PartRun:
    limits = Limits(seconds=assignment.seconds, memory_mb=assignment.memory_mb)
    return judge.run_part(submission.source, submission.filename, stand_ins, cases, limits, assignment.allow)


# ------------------------------------------------------------------------------------------------ cells
def _cells(questions: _Questions, run: PartRun, assignment: Assignment) -> tuple[Cell, ...]:
    """Compare all results with their answers: one cell for every criterion and output, public and hidden apart."""
    if run.ended != "finished":
        return _same_for_all(questions, assignment, _ending(run, Texts(assignment.language)))
    say, cells = Texts(assignment.language), []
    for criterion, output, hidden, points in _slots(questions, assignment):
        failures: dict[str, Failure | None] = {}  # by member: a member must be right in all cases
        whole: Failure | None = None
        for index in _indices(questions, criterion, hidden):
            case, answer = questions.cases[index], questions.answers[index]
            compared = compare(case, answer, run.results[index], output, say)
            names = members(answer, output)
            if len(compared) == len(names):
                for name, failure in zip(names, compared, strict=True):
                    failures[name] = _smaller_failure(failures.get(name), failure)
            else:  # the output as a whole: not returned, raised an error, should be None
                whole = _smaller_failure(whole, compared[0])
                failures.update(dict.fromkeys(names, whole) if whole else {})
        wrong = [failure for failure in (whole, *failures.values()) if failure is not None]
        right = 0.0 if whole else _share_right(failures)
        cells.append(Cell(criterion, output, points * right, points, hidden, wrong[0] if wrong else None))
    return tuple(cells)


def _slots(questions: _Questions, assignment: Assignment) -> list[tuple[str, str, bool, float]]:
    """All cells of a part: criterion, output, hidden or not, and points."""
    part, share = questions.part, assignment.hidden_share
    sides = [(hidden, side) for hidden, side in ((False, 1 - share), (True, share)) if side > 0]
    return [
        (criterion.name, output, hidden, part.points * criterion.share * weight * side)
        for hidden, side in sides
        for criterion in part.criteria
        for output, weight in part.outputs.items()
    ]


def _indices(questions: _Questions, criterion: str, hidden: bool) -> list[int]:
    return [
        index
        for index, case in enumerate(questions.cases)
        if case.criterion == criterion and questions.hidden[index] == hidden
    ]


def _share_right(failures: Mapping[str, Failure | None]) -> float:
    """The fraction of the members of an output that are right; an output without members is None, and right."""
    return sum(failure is None for failure in failures.values()) / len(failures) if failures else 1.0


def _smaller_failure(first: Failure | None, second: Failure | None) -> Failure | None:
    """Of two failures the one of the smaller case."""
    if first is None or second is None:
        return first or second
    return min(first, second, key=_size)


def _size(failure: Failure) -> int:
    """Numbers in the inputs of its case."""
    return sum(map(math.prod, failure.shapes.values()))


def _same_for_all(questions: _Questions, assignment: Assignment, failure: Failure) -> tuple[Cell, ...]:
    return tuple(
        Cell(criterion, output, 0.0, points, hidden, failure)
        for criterion, output, hidden, points in _slots(questions, assignment)
    )


def _ending(run: PartRun, say: Texts) -> Failure:
    """The failure of a part whose process did not come to a good end."""
    if run.raised is None:
        return Failure(kind=run.ended, message=say(run.detail))
    raised = run.raised
    return Failure(kind="exception", message=f"{say(run.detail)}: {raised.type}: {raised.message}", line=raised.line)


def _points(cells: Sequence[Cell]) -> float:
    return sum(cell.points for cell in cells)


# ------------------------------------------------------------------------------------------------ explanation
def _explained(
    questions: _Questions,
    run: PartRun,
    cells: Sequence[Cell],
    submission: Submission,
    assignment: Assignment,
    stand_ins: Sequence[str],
    standing: str,
) -> tuple[Cell, ...]:
    """Failing cells with the smallest failing case, and with the known mistake that explains their results."""
    part, say = questions.part, Texts(assignment.language)
    smaller = _shrunk(questions, cells, submission, assignment, stand_ins)
    mistakes = diagnose_criteria(part, questions.cases, run.results, questions.answers, own=standing != "reference")
    explained = []
    for cell in cells:
        failure = cell.failure
        if failure is not None and failure.kind in ("values", "shape", "not finite", "exception"):
            failure = _smallest(failure, cell, smaller, say)
        if failure is not None and failure.line is None:  # a result, not an exception
            mistake = mistakes.get((cell.criterion, failure.output)) or mistakes.get((cell.criterion, cell.output))
            if mistake is not None:
                hint = say(mistake.hint) if mistake.sure else say("Perhaps: {hint}", hint=say(mistake.hint))
                failure = dataclasses.replace(failure, mistake=mistake.name, hint=hint, section=mistake.section)
        if failure is not None and not failure.section:
            failure = dataclasses.replace(failure, section=part.section)
        explained.append(dataclasses.replace(cell, failure=failure))
    return tuple(explained)


_Shrunk = tuple[Case, Mapping[str, Expected], CaseResult]


def _shrunk(
    questions: _Questions,
    cells: Sequence[Cell],
    submission: Submission,
    assignment: Assignment,
    stand_ins: Sequence[str],
) -> list[_Shrunk]:
    """Run smaller versions of some failing cases, all in one process."""
    part = questions.part
    failing = {(cell.criterion, cell.failure.seed) for cell in cells if cell.failure is not None}
    cases = [case for case in questions.cases if (case.criterion, case.seed) in failing]
    each = max(MOST // max(1, len(cases)), 4)
    candidates = [small for case in cases for small in smaller_cases(part, case)[:each]]
    if not candidates:
        return []
    run = _run(candidates, submission, assignment, stand_ins)
    if run.ended != "finished":
        return []
    return [
        (case, part.expected(case), result) for case, result in zip(candidates, run.results, strict=True)
    ]  # fmt: skip


def _smallest(failure: Failure, cell: Cell, smaller: Sequence[_Shrunk], say: Texts) -> Failure:
    """The same failure in the smallest case that shows it."""
    best = failure
    for case, answer, result in smaller:
        if (case.criterion, case.seed) != (cell.criterion, failure.seed):
            continue
        for found in compare(case, answer, result, cell.output, say):
            same = found is not None and (found.output, found.kind) == (failure.output, failure.kind)
            if same and found is not None and _size(found) < _size(best):
                best = found
    return best


# ------------------------------------------------------------------------------------------------ speed
def _speed(questions: _Questions, run: PartRun, standing: str, assignment: Assignment) -> float | None:
    """How many times as fast as the reference solution, on the same cases in the same judge; None unless all ran."""
    if run.ended != "finished" or any(result.raised for result in run.results):
        return None
    reference = _reference_seconds(questions.part.name, assignment.seed, assignment.hidden_share > 0)
    own = sum(result.seconds for result in run.results)
    return None if reference is None or own <= 0 else reference / own


@functools.lru_cache(maxsize=256)
def _reference_seconds(name: str, seed: int, with_hidden: bool) -> float | None:
    questions = _questions_of(name, seed, with_hidden)
    reference = Submission("reference", solution_text(), "solution.py")
    run = _run(questions.cases, reference, Assignment(), ())
    return sum(result.seconds for result in run.results) if run.ended == "finished" else None

"""Marks, through the real judge: what is right gets everything, what is wrong loses what is wrong, and is told why."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from coursework_submissions import right_submissions, source_of, wrong_submissions

import npresnet
from npresnet.grading.assignment import Assignment
from npresnet.grading.handout.stubs import stub_file
from npresnet.grading.marking import mark
from npresnet.grading.parts import PARTS
from npresnet.grading.solution_source import solution_text
from npresnet.grading.submission import Submission

JOBS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
EVERYTHING = Assignment(seed=5, feedback="full")


def marks_of(source, *, name="student", jobs=JOBS, parts=(), **changes):
    """Mark a text by all parts, or by some."""
    tasks = tuple(PARTS[part].task for part in parts)
    return mark(Submission(name, source, f"{name}.py"), EVERYTHING.replace(tasks=tasks, **changes), jobs=jobs)


def test_the_solution_gets_all_points():
    report = marks_of(solution_text())
    assert (report.points, report.max_points) == (100, 100)
    assert all(cell.passed for part in report.parts for cell in part.cells)
    assert {part.name for part in report.parts} == set(PARTS)
    assert all(part.speed is not None and part.speed > 0 for part in report.parts)


def test_untouched_stubs_get_no_points():
    report = marks_of(stub_file(EVERYTHING))
    assert report.points == 0
    assert {cell.failure.message for part in report.parts for cell in part.cells} == {"not written yet"}


@pytest.mark.parametrize("right", right_submissions(), ids=lambda right: right.name)
def test_every_style_gets_all_points(right):
    parts = [name for name in PARTS if name in right.solves or (right.whole and name == "whole")]
    report = marks_of(source_of(right.path), name=right.name, parts=parts)
    lost = [(part.name, cell.criterion, cell.failure) for part in report.parts for cell in part.cells if cell.failure]
    assert lost == []
    assert not report.findings


class Outcome:
    """What the marks of one wrong submission say."""

    def __init__(self, wrong):
        report = marks_of(wrong.source, parts=[wrong.part], jobs=1)
        (self.part,) = report.parts
        self.wrong = wrong
        self.failed = {cell.output for cell in self.part.cells if not cell.passed}
        self.named = {cell.failure.mistake for cell in self.part.cells if cell.failure and cell.failure.mistake}
        self.fails_everywhere = self.part.points == 0


@pytest.fixture(scope="module")
def outcomes():
    """Of all wrong submissions."""
    # The backend is the whole process's: set once for all threads, so that none switches it back under another.
    with npresnet.use_backend("numpy"), ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(Outcome, wrong_submissions()))


def test_there_are_many_mistakes_in_every_function(outcomes):
    assert len({outcome.wrong.mistake for outcome in outcomes}) >= 80
    functions = {function for part in PARTS.values() for function in part.functions}
    assert {outcome.wrong.part for outcome in outcomes} == functions


def test_every_mistake_costs_points_where_it_is_and_nowhere_else(outcomes):
    wrong = {o.wrong.mistake: (o.failed, o.wrong.fails) for o in outcomes if o.failed != set(o.wrong.fails)}
    assert wrong == {}


def test_nine_of_ten_mistakes_are_named(outcomes):
    unnamed = {o.wrong.mistake: o.named for o in outcomes if o.named != {o.wrong.mistake}}
    assert len(unnamed) <= 0.1 * len(outcomes), unnamed


def test_every_failure_shows_a_small_case_and_where_it_is_off(outcomes):
    for outcome in outcomes:
        for cell in outcome.part.cells:
            if cell.failure is None or cell.failure.kind != "values":
                continue
            failure = cell.failure
            assert failure.error > failure.allowed, outcome.wrong.mistake
            assert failure.got != failure.expected
            assert failure.shapes
            assert failure.seed is not None


# ------------------------------------------------------------------------------------------------ fairness
RELU_WRONG = """
def relu_backward(dy, cache):
    return dy
"""


def test_one_mistake_is_paid_once():
    report = marks_of(solution_text() + RELU_WRONG, parts=["relu_backward", "basic_block_backward", "whole"])
    relu, block, whole = report.parts
    assert relu.points < relu.max_points
    assert (block.points, block.standing) == (block.max_points, "reference")
    assert whole.points < whole.max_points  # only a whole that works earns these


def test_a_function_that_is_missing_costs_itself_alone():
    source = solution_text().replace("def linear_forward(", "def another_name(")
    report = marks_of(source, parts=["linear_forward", "linear_backward", "relu_forward"])
    relu, forward, backward = report.parts
    assert (relu.points, forward.points, backward.points) == (relu.max_points, 0, 0)
    assert "linear_forward" in forward.cells[0].failure.message


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_points_are_split_between_public_and_hidden_cases(share):
    report = marks_of(solution_text(), parts=["relu_forward"], hidden_share=share)
    (part,) = report.parts
    hidden = sum(cell.points for cell in part.cells if cell.hidden)
    assert hidden == pytest.approx(share * part.max_points)
    assert {cell.hidden for cell in part.cells} == {flag for flag, some in ((True, share), (False, 1 - share)) if some}


def test_answers_that_were_learned_by_heart_do_not_pass_hidden_cases():
    part = PARTS["relu_forward"]
    known = [(case.inputs["x"].tolist(), part.expected(case)["y"].value.tolist()) for case in part.cases(0, False)]
    source = f"import numpy as np\nKNOWN = {known!r}\ndef relu_forward(x):\n"
    source += "    for a, b in KNOWN:\n        if np.shape(a) == x.shape and np.allclose(a, x):\n"
    source += "            return np.array(b).reshape(x.shape), None\n    return x * 0, None\n"
    report = marks_of(source, parts=["relu_forward"])
    public = [cell for cell in report.parts[0].cells if not cell.hidden]
    hidden = [cell for cell in report.parts[0].cells if cell.hidden]
    assert all(cell.passed for cell in public)
    assert not any(cell.passed for cell in hidden)


def test_the_smallest_failing_case_is_shown():
    source = solution_text().replace("def relu_forward(x):", "def _right(x):")
    source += "\ndef relu_forward(x):\n    return (_right(x)[0], x > 0) if x.size < 5 else (x, x > 0)\n"
    report = marks_of(source, parts=["relu_forward"])
    sizes = {
        shape
        for cell in report.parts[0].cells
        if cell.failure and cell.criterion in ("a table", "images")
        for shape in cell.failure.shapes.values()
    }
    assert min(len(shape) for shape in sizes) >= 1
    for shape in sizes:
        count = 1
        for length in shape:
            count *= length
        assert 5 <= count <= 12, sizes


def test_the_same_seed_gives_the_same_marks():
    source = solution_text() + RELU_WRONG
    first, second = (marks_of(source, parts=["relu_backward"]).to_dict() for _ in range(2))
    for report in (first, second):
        report.pop("seconds")
        for part in report["parts"]:
            part.pop("seconds"), part.pop("speed")
    assert first == second

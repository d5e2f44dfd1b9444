"""Submissions of other hands: right ones agree with the solution in every call, a wrong one differs where it says."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from coursework_cases import Array, Namespace, Values, calls
from coursework_submissions import FUNCTIONS, Right, Wrong, load, right_submissions, source_of, wrong_submissions

from npresnet.grading import solution

CALLS = list(calls())
RIGHT = right_submissions()
WRONG = wrong_submissions()

ROUNDING = 2e-5
"""Of results that a right submission may have computed in float32, against their largest value."""
MISTAKEN = 1e-3
"""A mistake that nobody could take for rounding."""


@cache
def answers(index: int) -> Values:
    """What the solution gives."""
    return CALLS[index].run(vars(solution))


def error(got: Any, expected: Array | None) -> float:
    """The largest error as a fraction of the largest value; infinite for a wrong shape, type or missing value."""
    if expected is None:
        return 0.0 if got is None else np.inf
    if not isinstance(got, np.ndarray) or got.shape != np.shape(expected) or not np.isfinite(got).all():
        return np.inf
    return float(np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-3))


def errors(index: int, functions: Namespace) -> dict[str, float]:
    """The error of every output of a call, members of a dict taken together."""
    expected = answers(index)
    with np.errstate(all="ignore"):
        got = CALLS[index].run(functions)
    result: dict[str, float] = {}
    for name in expected | got:
        one = error(got.get(name), expected[name]) if name in expected and name in got else np.inf
        output = name.split("/")[0]
        result[output] = max(result.get(output, 0.0), one)
    return result


def calls_of(function: str) -> list[int]:
    """The numbers of a function's calls."""
    return [index for index, call in enumerate(CALLS) if call.part == function]


def functions_of(right: Right) -> Namespace:
    """A submission's globals, with the solution's functions where it has none."""
    submission = vars(load(source_of(right.path), f"right_{right.name}"))
    for name in FUNCTIONS:
        submission.setdefault(name, getattr(solution, name))
    return submission


def test_every_function_is_called() -> None:
    assert {call.part for call in CALLS} == set(FUNCTIONS)


def test_there_are_enough_submissions() -> None:
    assert len(RIGHT) >= 30
    assert len({wrong.mistake for wrong in WRONG}) == len(WRONG) >= 90
    assert {name for right in RIGHT for name in right.solves} == {wrong.part for wrong in WRONG} == set(FUNCTIONS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("right", RIGHT, ids=[right.name for right in RIGHT])
def test_right_submissions_agree_with_the_solution(right: Right) -> None:
    with np.errstate(all="raise", under="ignore"):
        functions = functions_of(right)
    assert {name for name in FUNCTIONS if functions[name] is not getattr(solution, name)} == set(right.solves)
    for name in right.solves:
        for index in calls_of(name):
            found = errors(index, functions)
            assert max(found.values()) <= ROUNDING, f"{name}, {CALLS[index].kind}: {found}"


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.mistake for wrong in WRONG])
def test_wrong_submissions_differ_in_what_they_say(wrong: Wrong) -> None:
    functions = vars(load(wrong.source, "wrong_" + wrong.mistake.replace("-", "_")))
    worst: dict[str, float] = {}
    for index in calls_of(wrong.part):
        try:
            found = errors(index, functions)
        except (ValueError, IndexError, TypeError, KeyError):  # shapes that do not fit together
            found = dict.fromkeys(wrong.fails, np.inf)
        for output, one in found.items():
            worst[output] = max(worst.get(output, 0.0), one)
    assert {output for output, one in worst.items() if one > ROUNDING} == set(wrong.fails), worst
    assert min(worst[output] for output in wrong.fails) > MISTAKEN

"""Schedules: the published formulas at single steps, warm-up, and clear errors."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from npresnet.train import SCHEDULES, make_schedule

OPTIONS: dict[str, dict[str, Any]] = {
    "constant": {}, "step": {"milestones": [30, 60, 61]}, "cosine": {}, "one_cycle": {},
}  # fmt: skip
names = pytest.mark.parametrize("name", OPTIONS)


def test_every_schedule_is_tested() -> None:
    assert SCHEDULES.keys() == OPTIONS.keys()


def test_constant() -> None:
    schedule = make_schedule("constant", 10)
    assert [schedule(step) for step in (0, 5, 9, 10, 100)] == [1.0] * 5


def test_step() -> None:
    schedule = make_schedule("step", 100, milestones=[30, 60, 61], gamma=0.5)
    assert [schedule(step) for step in (0, 29, 30, 59, 60, 61, 99, 1000)] == [1, 1, 0.5, 0.5, 0.25, 0.125, 0.125, 0.125]
    paper = make_schedule("step", 64_000, milestones=(32_000, 48_000))
    assert [paper(step) for step in (31_999, 32_000, 48_000)] == [1.0, 0.1, pytest.approx(0.01)]
    assert make_schedule("step", 5, milestones=[])(4) == 1.0


def test_cosine() -> None:
    schedule = make_schedule("cosine", 120)
    points = {0: 1.0, 40: 0.75, 60: 0.5, 80: 0.25, 120: 0.0, 999: 0.0}
    assert {step: schedule(step) for step in points} == pytest.approx(points, abs=1e-15)
    schedule = make_schedule("cosine", 120, final=0.2)
    assert [schedule(step) for step in (0, 60, 120)] == pytest.approx([1.0, 0.6, 0.2])


def test_one_cycle() -> None:
    schedule = make_schedule("one_cycle", 101, pct_start=41 / 101, div_factor=10, final_div_factor=100)
    points = {0: 0.1, 20: 0.55, 40: 1.0, 70: (1 + 0.001) / 2, 100: 0.001, 500: 0.001}
    assert {step: schedule(step) for step in points} == pytest.approx(points, rel=1e-12)
    schedule = make_schedule("one_cycle", 100)
    assert (schedule(0), schedule(29), schedule(99)) == pytest.approx((1 / 25, 1.0, 1 / 250_000))


@names
def test_warm_up(name: str) -> None:
    """A line up to the first value; then the schedule as it would be for the remaining steps."""
    options = dict(OPTIONS[name])
    warmed = make_schedule(name, 100, warmup_steps=10, warmup_start=0.2, **options)
    if name == "step":
        options["milestones"] = [20, 50, 51]  # milestones are counted from the beginning of the training
    plain = make_schedule(name, 90, **options)
    first = plain(0)
    assert [warmed(step) for step in (0, 5, 8)] == pytest.approx([0.2 * first, 0.6 * first, 0.84 * first])
    assert [warmed(step) for step in range(10, 105)] == [plain(step) for step in range(95)]


def test_where_the_warm_up_starts() -> None:
    assert make_schedule("cosine", 100, warmup_steps=10)(0) == 0.1
    assert make_schedule("cosine", 100, warmup_steps=10, warmup_start=0)(0) == 0.0
    assert make_schedule("constant", 100, warmup_steps=10, warmup_start=1)(3) == 1.0


@names
@pytest.mark.parametrize("warmup_steps", [0, 7])
def test_a_function_of_the_step_alone(name: str, warmup_steps: int) -> None:
    schedule = make_schedule(name, 100, warmup_steps=warmup_steps, **OPTIONS[name])
    forwards = [schedule(step) for step in range(100)]
    copy = pickle.loads(pickle.dumps(schedule))
    assert [copy(np.int64(step)) for step in reversed(range(100))] == forwards[::-1]
    assert copy == schedule
    assert all(type(factor) is float and 0 <= factor <= 1 and math.isfinite(factor) for factor in forwards)


@names
def test_a_single_step(name: str) -> None:
    options = {"milestones": []} if name == "step" else OPTIONS[name]
    assert 0 < make_schedule(name, 1, **options)(0) <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cosin", 10), "unknown schedule 'cosin'; did you mean 'cosine'"),
        (("§", 10), "unknown schedule '§'; choose one of 'constant', 'step', 'cosine', 'one_cycle'"),
        ((["cosine"], 10), r"unknown schedule \['cosine'\]; did you mean 'cosine'"),
        (("cosine", 0), "total_steps must be an integer >= 1, found 0"),
        (("cosine", 10.5), "total_steps must be an integer >= 1, found 10.5"),
        (("cosine", 10, {"gamma": 0.1}), "the schedule 'cosine' has no option 'gamma'; its options are final"),
        (("constant", 10, {"final": 0.1}), "the schedule 'constant' has no option 'final'; it has no options"),
        (("step", 10), "the schedule 'step' needs milestones"),
        (("step", 10, {"milestones": [5, 3]}), r"milestones must grow, found \[5, 3\]"),
        (("step", 10, {"milestones": [3, 3]}), r"milestones must grow, found \[3, 3\]"),
        (("step", 10, {"milestones": [3, 10]}), "milestone 10 is never reached: the steps are 0 to 9"),
        (("step", 10, {"milestones": [0, 3]}), "milestones must hold integers >= 1, found 0"),
        (("step", 10, {"milestones": [2.5]}), "milestones must hold integers, .*, found 2.5"),
        (("step", 10, {"milestones": 3}), "milestones must be a list of integers, .*, found 3"),
        (("step", 10, {"milestones": [3], "gamma": -0.1}), "gamma must not be negative, found -0.1"),
        (("step", 10, {"milestones": [3], "gamma": math.nan}), "gamma must be a finite number, found nan"),
        (("step", 10, {"milestones": [3], "warmup_steps": 3}), r"milestones \[3\] must lie behind the 3 steps"),
        (("step", 10, {"milestones": [12], "warmup_steps": 3}), "milestone 12 is never reached: the steps are 0 to 9"),
        (("cosine", 10, {"final": -1}), "final must not be negative, found -1"),
        (("one_cycle", 10, {"pct_start": 1.2}), r"pct_start must be in \[0, 1\], found 1.2"),
        (("one_cycle", 10, {"div_factor": 0}), "div_factor must be positive, found 0"),
        (("one_cycle", 10, {"final_div_factor": -3.0}), "final_div_factor must be positive, found -3"),
        (("cosine", 10, {"warmup_steps": 10}), "the warm-up of 10 steps leaves nothing of 10 steps in all"),
        (("cosine", 10, {"warmup_steps": -1}), "warmup_steps must be an integer >= 0, found -1"),
        (("cosine", 10, {"warmup_start": 1.5}), r"warmup_start must be in \[0, 1\], found 1.5"),
        (("cosine", 10, {"warmup_start": math.nan}), "warmup_start must be a finite number, found nan"),
    ],
)
def test_wrong_arguments(arguments: tuple[Any, ...], message: str) -> None:
    name, steps, *options = arguments
    with pytest.raises(ValueError, match=message):
        make_schedule(name, steps, **(options[0] if options else {}))


@pytest.mark.parametrize("step", [-1, 1.5, None, True])
def test_wrong_step(step: Any) -> None:
    for warmup_steps in (0, 3):
        with pytest.raises(ValueError, match="step must be an integer >= 0, found"):
            make_schedule("cosine", 10, warmup_steps=warmup_steps)(step)

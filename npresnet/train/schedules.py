"""How the learning rate changes during training: functions from the number of a step to a factor of the base rate."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ..config_fields import check_integer, check_integers, check_number
from .checks import check_not_negative


@dataclass(frozen=True)
class Schedule:
    """Base class: call it with the number of a step, from 0, for the factor of the base learning rate.

    The factor depends on nothing else, so that training can be continued at any step. Beyond the last step it stays
    at its last value.

    Attributes
    ----------
    total_steps : int
        Steps of the whole training.
    """

    name: ClassVar[str]
    total_steps: int

    def __post_init__(self) -> None:
        self._set("total_steps", check_integer("total_steps", self.total_steps, 1))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen; only __post_init__ converts fields

    def __call__(self, step: int) -> float:
        """Return the factor at step ``step``, counted from 0."""
        return self._factor(min(check_integer("step", step, 0), self.total_steps))

    def _factor(self, step: int) -> float:
        """The factor at a step up to ``total_steps``; to be written by each schedule."""
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """Always 1."""

    name = "constant"

    def _factor(self, step: int) -> float:
        return 1.0


@dataclass(frozen=True)
class MultiStep(Schedule):
    """Multiply by ``gamma`` at each milestone, as ``torch.optim.lr_scheduler.MultiStepLR``.

    Attributes
    ----------
    milestones : tuple of int
        Steps that are the first ones with a smaller factor, in order.
    gamma : float
    """

    name = "step"
    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("milestones", check_integers("milestones", self.milestones, "steps where the rate changes", 1))
        self._set("gamma", check_not_negative("gamma", self.gamma))
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must grow, found {list(self.milestones)}; sort them, each one once")
        if self.milestones and self.milestones[-1] >= self.total_steps:
            raise ValueError(
                f"milestone {self.milestones[-1]} is never reached: the steps are 0 to {self.total_steps - 1}; "
                "give earlier milestones, or more steps"
            )

    def _factor(self, step: int) -> float:
        return self.gamma ** sum(milestone <= step for milestone in self.milestones)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from 1 to ``final`` (Loshchilov & Hutter 2017), as ``CosineAnnealingLR`` with ``total_steps``.

    Attributes
    ----------
    final : float
        What step number ``total_steps`` would have.
    """

    name = "cosine"
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("final", check_not_negative("final", self.final))

    def _factor(self, step: int) -> float:
        return _between(1.0, self.final, step / self.total_steps)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to 1 and down to almost nothing along two half cosines (Smith & Topin 2018), as ``OneCycleLR``.

    Attributes
    ----------
    pct_start : float
        Which part of the steps goes up, in [0, 1].
    div_factor : float
        The factor starts at ``1 / div_factor``.
    final_div_factor : float
        At the last step it is ``1 / (div_factor * final_div_factor)``.
    """

    name = "one_cycle"
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("pct_start", "div_factor", "final_div_factor"):
            self._set(field, check_number(field, getattr(self, field)))
        if not 0 <= self.pct_start <= 1:
            raise ValueError(f"pct_start must be in [0, 1], found {self.pct_start!r}")
        for field in ("div_factor", "final_div_factor"):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} must be positive, found {getattr(self, field)!r}")

    def _factor(self, step: int) -> float:
        top, end = self.pct_start * self.total_steps - 1, self.total_steps - 1
        step = min(step, end)
        start = 1 / self.div_factor
        if step <= top:
            return _between(start, 1.0, step / top if top > 0 else 1.0)
        return _between(1.0, start / self.final_div_factor, (step - top) / (end - top))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A straight line up to the first value of another schedule, which then has the remaining steps.

    As ``SequentialLR`` of ``LinearLR`` and that schedule.

    Attributes
    ----------
    steps : int
        Of the warm-up, fewer than ``total_steps``.
    start : float
        Where it starts, as a part of that first value.
    then : Schedule
    """

    name = "warm-up"
    steps: int
    start: float
    then: Schedule

    def _factor(self, step: int) -> float:
        if step >= self.steps:
            return self.then(step - self.steps)
        return self.then(0) * (self.start + (1 - self.start) * step / self.steps)


SCHEDULES: dict[str, Callable[..., Schedule]] = {kind.name: kind for kind in (Constant, MultiStep, Cosine, OneCycle)}
"""Schedules by their name in a recipe."""


def make_schedule(
    name: str, total_steps: int, *, warmup_steps: int = 0, warmup_start: float = 0.1, **options: Any
) -> Schedule:
    """Return a schedule by name, with a linear warm-up before it.

    Parameters
    ----------
    name : {"constant", "step", "cosine", "one_cycle"}
    total_steps : int
        Steps of the whole training, warm-up and all.
    warmup_steps : int
        How many of them grow linearly (Goyal et al. 2017, arXiv:1706.02677).
    warmup_start : float
        Where they start, as a part of the rate they lead to.
    **options
        ``milestones``, counted from the beginning of the training, and ``gamma`` for ``"step"``; ``final`` for
        ``"cosine"``; ``pct_start``, ``div_factor`` and ``final_div_factor`` for ``"one_cycle"``.

    Returns
    -------
    Schedule
        ``schedule(step)`` is the factor of the base rate; a pure function.

    Raises
    ------
    ValueError
        For an unknown name (with the nearest), an option that the schedule does not have or lacks, and numbers out of
        range or out of order.

    Examples
    --------
    >>> schedule = make_schedule("step", 64_000, milestones=[32_000, 48_000], gamma=0.1)
    >>> schedule(31_999), schedule(32_000)
    (1.0, 0.1)
    """
    if not isinstance(name, str) or name not in SCHEDULES:
        near = difflib.get_close_matches(str(name), SCHEDULES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(map(repr, SCHEDULES))}"
        raise ValueError(f"unknown schedule {name!r}; {hint}")
    kind = SCHEDULES[name]
    parameters = inspect.signature(kind).parameters
    known = [option for option in parameters if option != "total_steps"]
    for option in options:
        if option not in known:
            takes = f"its options are {', '.join(known)}" if known else "it has no options"
            raise ValueError(f"the schedule {name!r} has no option {option!r}; {takes}")
    for option in known:
        if parameters[option].default is inspect.Parameter.empty and option not in options:
            raise ValueError(f"the schedule {name!r} needs {option}")

    total_steps = check_integer("total_steps", total_steps, 1)
    warmup_steps = check_integer("warmup_steps", warmup_steps, 0)
    warmup_start = check_number("warmup_start", warmup_start)
    if not 0 <= warmup_start <= 1:
        raise ValueError(f"warmup_start must be in [0, 1], found {warmup_start!r}")
    if warmup_steps >= total_steps:
        raise ValueError(f"the warm-up of {warmup_steps} steps leaves nothing of {total_steps} steps in all")
    if warmup_steps == 0:
        return kind(total_steps, **options)
    kind(total_steps, **options)  # so that a bad milestone is named as it was given
    if "milestones" in options:
        if any(milestone <= warmup_steps for milestone in options["milestones"]):
            raise ValueError(f"milestones {list(options['milestones'])} must lie behind the {warmup_steps} steps of "
                             "the warm-up")  # fmt: skip
        options["milestones"] = [milestone - warmup_steps for milestone in options["milestones"]]
    return WarmUp(total_steps, warmup_steps, warmup_start, kind(total_steps - warmup_steps, **options))


def _between(start: float, end: float, part: float) -> float:
    """Go from start to end along half a cosine, ``part`` from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2

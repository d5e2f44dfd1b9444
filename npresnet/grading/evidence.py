"""What a submission returned in the cases of a part, next to what is right: the evidence for a diagnosis."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .comparing import ROUNDOFF, members
from .part import Array, Case, Expected

if TYPE_CHECKING:
    from .judge import CaseResult

SLACK = 4
"""Two wrong results may be apart by so many times what rounding explains: both are rounded, along different ways."""

SMALLEST = 1e-30
"""Something to divide by where all numbers are zero."""


@dataclass(frozen=True)
class Pair:
    """One returned array and the right one."""

    got: Array
    right: Array
    allowed: Array | float  # how far rounding may carry the right one, absolute

    @functools.cached_property
    def fails(self) -> bool:
        """Whether it would not count."""
        if self.got.dtype.kind != "f" or self.got.shape != self.right.shape or not np.isfinite(self.got).all():
            return True
        return bool((np.abs(np.asarray(self.got, np.float64) - self.right) > self.allowed).any())

    def matches(self, other: Array, slack: float = SLACK) -> bool:
        """Whether the returned array is some other one, but for rounding."""
        return self.distance(other) <= slack

    def distance(self, other: Array) -> float:
        """The largest error against another array, in units of what rounding explains; infinite for another shape."""
        if self.got.shape != other.shape:
            return np.inf
        if self.got.size == 0:
            return 0.0
        got, other = np.asarray(self.got, np.float64), np.asarray(other, np.float64)
        finite = np.isfinite(other)
        if not np.array_equal(finite, np.isfinite(got)):
            return np.inf
        if not finite.any():
            return 0.0
        error = np.where(finite, np.abs(np.where(finite, got, 0) - np.where(finite, other, 0)), 0)
        return float((error / self._room(other, finite)).max())

    def off(self, other: Array) -> float:
        """The largest difference from another array; infinite when it cannot be told."""
        if self.got.shape != other.shape or not np.isfinite(self.got).all():
            return np.inf
        return float(np.abs(np.asarray(self.got, np.float64) - other).max(initial=0))

    def _room(self, other: Array, finite: Array) -> Array:
        """What rounding explains of a difference from another array, which may have larger numbers than the right one.

        Where the right result is exactly zero, it has no room at all, but a wrong one may be rounded there.
        """
        allowed = np.asarray(self.allowed, np.float64)
        if allowed.ndim and allowed.shape != other.shape:
            allowed = np.asarray(allowed.max(initial=0))
        size, usual = (float(np.abs(values).max(initial=0)) for values in (other[finite], self.right))
        scale = max(1.0, size / usual if usual else 1.0)
        return np.maximum(allowed * scale, ROUNDOFF * max(size, usual, SMALLEST))


@dataclass(frozen=True)
class Finding:
    """One output in one case."""

    case: Case
    output: str
    pairs: Mapping[str, Pair]  # members that were returned as arrays and that are asked for
    surplus: Mapping[str, Array]  # what was returned where None is asked for
    absent: tuple[str, ...]  # those that were not returned
    wrong_type: str  # what the output was in words, when it was no array

    @functools.cached_property
    def fails(self) -> bool:
        """Whether anything about it is wrong."""
        return bool(self.surplus or self.absent or self.wrong_type or any(pair.fails for pair in self.pairs.values()))

    def failing(self) -> dict[str, Pair]:
        """The members that are wrong."""
        return {name: pair for name, pair in self.pairs.items() if pair.fails}


def findings(
    output: str,
    cases: Sequence[Case],
    results: Sequence[CaseResult],
    answers: Sequence[Mapping[str, Expected]],
) -> list[Finding]:
    """One output in all cases that raised no error, the smallest case first."""
    found = []
    for case, result, answer in zip(cases, results, answers, strict=True):
        if result.raised is not None:
            continue
        names = members(answer, output)
        returned = {
            name: np.asarray(value)
            for name, value in result.outputs.items()
            if name == output or name.startswith(f"{output}/")
        }
        pairs = {
            name: Pair(
                returned[name],
                np.asarray(answer[name].value, np.float64),
                np.asarray(answer[name].bound, np.float64) * ROUNDOFF,
            )
            for name in names
            if name in returned
        }
        surplus = {} if names else returned  # members of a dict that nobody asks for do no harm
        wrong_type = result.wrong_types.get(output, "")
        if not names and wrong_type in ("None", "NoneType"):  # as it should be
            wrong_type = ""
        absent = tuple(name for name in names if name not in returned) if not wrong_type else ()
        found.append(Finding(case, output, pairs, surplus, absent, wrong_type))
    return sorted(found, key=lambda finding: finding.case.size)

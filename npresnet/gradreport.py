"""What :func:`npresnet.gradcheck` returns and raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

SMALLEST = 1e-8
"""The least floor of a relative error, that of CS231n."""


class GradientError(AssertionError):
    """A written gradient is not the derivative. The message names the worst position and both values there."""


class Position(NamedTuple):
    """One coordinate, and its derivative measured and written."""

    index: tuple[int, ...]  # type: ignore[assignment]  # tuple.index is shadowed on purpose
    numeric: float
    analytic: float

    @property
    def difference(self) -> float:
        """Written minus measured derivative."""
        return self.analytic - self.numeric


class ArrayReport(NamedTuple):
    """What was found out about the gradient of one array."""

    name: str
    shape: tuple[int, ...]
    checked: int  # coordinates compared; 0 when there was no gradient to compare
    rejected: int  # coordinates not compared: a kink lies within h
    error: float  # largest relative error
    worst: Position | None  # where it is


@dataclass(frozen=True, repr=False)
class GradientReport:
    """The outcome of :func:`gradcheck`. It is true when all gradients are right, and prints as a table.

    Attributes
    ----------
    arrays : tuple of ArrayReport
        One for each array, in order.
    tolerance : float
        The largest relative error that passes.
    """

    arrays: tuple[ArrayReport, ...]
    tolerance: float

    @property
    def error(self) -> float:
        """The largest relative error of all arrays."""
        return max(array.error for array in self.arrays)

    @property
    def ok(self) -> bool:
        """Whether every relative error is within the tolerance."""
        return self.error <= self.tolerance

    def raise_if_wrong(self) -> GradientReport:
        """Return this report if all gradients are right.

        Raises
        ------
        GradientError
            With the worst position of every wrong array.
        """
        wrong = [
            f"the gradient of {a.name} {a.shape} is wrong: at {a.name}[{', '.join(map(str, a.worst.index))}] backward "
            f"returned {a.worst.analytic:.10g}, but the measured derivative is {a.worst.numeric:.10g} (difference "
            f"{a.worst.difference:.3g}, relative error {a.error:.2g}, allowed {self.tolerance:.2g})"
            for a in self.arrays
            if a.error > self.tolerance and a.worst is not None
        ]
        if wrong:
            raise GradientError("\n".join(wrong))
        return self

    def __bool__(self) -> bool:
        return self.ok

    def __getitem__(self, name: str) -> ArrayReport:
        for array in self.arrays:
            if array.name == name:
                return array
        raise KeyError(f"no array {name!r} in this report; there are {[array.name for array in self.arrays]}")

    def __repr__(self) -> str:
        width = max(len("array"), *(len(array.name) for array in self.arrays))
        lines = [f"{'array':<{width}}  {'shape':<18} checked  rejected  relative error"]
        for name, shape, checked, rejected, error, _ in self.arrays:
            verdict = "not checked" if not checked else f"{error:8.1e}  {'ok' if error <= self.tolerance else 'WRONG'}"
            lines.append(f"{name:<{width}}  {shape!s:<18} {checked:>7}  {rejected:>8}  {verdict}")
        return "\n".join(lines)


def relative_error(a: ArrayLike, b: ArrayLike) -> float:
    """Return ``max |a - b| / max(1e-8, |a| + |b|)``, the measure of CS231n; NaN in one of them counts as infinite."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"arrays of different shapes cannot be compared: {a.shape} and {b.shape}")
    errors = np.abs(a - b) / np.maximum(SMALLEST, np.abs(a) + np.abs(b))
    return float(np.max(np.where(np.isnan(errors), np.inf, errors), initial=0.0))

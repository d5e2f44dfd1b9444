"""Whoever learns something else is not timed.

Loss and statistics of right programs differ by rounding alone. Gradients differ by more: where the input of a ReLU
rounds to the other side of zero, a gradient is switched on or off, and one of ten thousand is a percent of their norm.
So the weights that right programs have learned differ by 1e-3 or so of their change, PyTorch's in both layouts too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .outcome import NUMBERS

Arrays = Mapping[str, NDArray[Any]]

TOLERANCES = {
    "loss": 1e-5,  # relative; seen 4e-7
    "gradient_norm": 5e-3,  # relative, of all gradients together; seen 8e-4
    "statistics": 5e-3,  # of BatchNorms: the worst array, relative to its change; seen 2e-4, PyTorch channels-last 2e-3
    "weights": 5e-2,  # all together, relative to their change; seen 1e-2
    "worst_weights": 0.2,  # the worst array, relative to its change; seen 4e-2
}
"""How far each of :func:`errors` may be from what is right."""

LEAST_CHANGE = 1e-5  # of the array; of smaller changes too much is rounding of the sum


class Verdict(NamedTuple):
    """How far the outcome of a step is from the right one."""

    right: bool
    errors: dict[str, float]  # under the names of TOLERANCES; NaN where there is none
    reason: str = ""  # what is wrong


def failed(reason: str) -> Verdict:
    """The verdict on an outcome that is not there."""
    return Verdict(False, dict.fromkeys(TOLERANCES, math.nan), reason)


def judge(found: Arrays, right: Arrays, before: Arrays) -> Verdict:
    """Compare what a step has left behind with what it should.

    Parameters
    ----------
    found, right : mapping of name to array
        See :mod:`.outcome`.
    before : mapping of name to array
        Weights and statistics before the step; may have others as well.
    """
    if found.keys() != right.keys():
        name = min(found.keys() ^ right.keys())
        return failed(f"{name} is in {'its' if name in found else 'the right'} outcome only")
    for name in right:
        if found[name].shape != right[name].shape:
            return failed(f"its {name} has shape {found[name].shape}, expected {right[name].shape}")
    values = errors(found, right, before)
    for name, value in values.items():
        if not value <= TOLERANCES[name]:  # so that NaN is wrong
            reason = f"its {name.replace('_', ' ')} after a step: {value:.1e} off, {TOLERANCES[name]:.0e} is allowed"
            return Verdict(False, values, reason)
    return Verdict(True, values)


def errors(found: Arrays, right: Arrays, before: Arrays) -> dict[str, float]:
    """Relative errors of an outcome, under the names of :data:`TOLERANCES`."""
    values = {name: float(abs(found[name] - right[name]) / abs(right[name])) for name in NUMBERS}
    distances, changes = {}, {}
    for name in right:
        if name not in NUMBERS:
            exact = right[name].astype(np.float64)
            distances[name] = _norm(found[name] - exact)
            changes[name] = max(_norm(exact - before[name]), LEAST_CHANGE * _norm(exact))
    weights = {name for name in distances if name.endswith((".weight", ".bias"))}
    values["statistics"] = _worst(distances, changes, distances.keys() - weights)
    values["weights"] = math.hypot(*(distances[n] for n in weights)) / math.hypot(*(changes[n] for n in weights))
    values["worst_weights"] = _worst(distances, changes, weights)
    return values


def _norm(array: NDArray[Any]) -> float:
    return float(np.linalg.norm(array.ravel()))


def _worst(distances: Mapping[str, float], changes: Mapping[str, float], names: Iterable[str]) -> float:
    """The largest relative distance, NaN if one is."""
    return float(np.max([distances[name] / changes[name] for name in names], initial=0.0))

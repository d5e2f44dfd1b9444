"""Checks of hyper-parameters and of saved states, with errors that say what was expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config_fields import check_number

LISTED = 3  # differences of each kind in a message


def check_not_negative(name: str, value: float) -> float:
    """Return a finite number that is at least 0, as a float of Python."""
    value = check_number(name, value)
    if value < 0:
        raise ValueError(f"{name} must not be negative, found {value!r}")
    return value


def check_fraction(name: str, value: float) -> float:
    """Return a number in [0, 1), such as a momentum."""
    value = check_number(name, value)
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), found {value!r}")
    return value


def check_betas(betas: Any) -> tuple[float, float]:
    """Return the two decay rates of Adam's means."""
    if not isinstance(betas, Sequence) or len(betas) != 2:
        raise ValueError(f"betas must be two numbers in [0, 1), found {betas!r}")
    return check_fraction("betas[0]", betas[0]), check_fraction("betas[1]", betas[1])


def check_eps(eps: float) -> float:
    """Return a positive number; without it a gradient that is always 0 would give 0 / 0."""
    value = check_number("eps", eps)
    if not value > 0:
        raise ValueError(f"eps must be positive, found {value!r}")
    return value


def check_state(title: str, own: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
    """Compare names, shapes and dtypes of a state with those that are expected.

    Raises
    ------
    ValueError
        With the first differences.
    """
    found = {name: np.asarray(array) for name, array in state.items()}
    missing = [f"{name} is missing" for name in own if name not in found]
    unknown = [f"{name} is unknown" for name in found if name not in own]
    other = [
        f"{name} has shape {found[name].shape} and dtype {found[name].dtype}, expected {array.shape} and {array.dtype}"
        for name, array in own.items()
        if name in found and (array.shape, array.dtype) != (found[name].shape, found[name].dtype)
    ]
    lines = []
    for differences in (missing, unknown, other):
        lines += differences[:LISTED]
        lines += [f"... and {len(differences) - LISTED} more"] if len(differences) > LISTED else []
    if lines:
        raise ValueError("\n  ".join([f"{title}:", *lines]))

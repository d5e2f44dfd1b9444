"""Comparison of arrays with known answers, and the largest error of each kind for the report of a test run."""

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST: dict[str, tuple[float, float]] = {}
"""By kind of comparison: the largest relative error seen, and the one allowed."""


def agree(what: str, found: Any, expected: Any, tolerance: float, norm: bool = False) -> None:
    """Assert equal shapes, and a difference of at most ``tolerance`` relative to the expected array.

    Both are measured by their largest value, or with ``norm`` by their Euclidean norm.
    """
    found, expected = (np.asarray(a, np.float64) for a in (found, expected))
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    assert np.isfinite(expected).all(), f"{what}: the expected values are not finite"
    size = np.linalg.norm if norm else (lambda a: np.abs(a).max(initial=0))
    error = float(size((found - expected).ravel()) / max(size(expected.ravel()), np.finfo(np.float64).tiny))
    kind = what.partition(":")[0]
    largest = max(error, LARGEST.get(kind, (0.0, 0.0))[0])
    LARGEST[kind] = largest, tolerance
    assert error <= tolerance, f"{what}: relative error {error:.1e}, allowed {tolerance:.0e}"

"""Whoever gives other logits is not timed."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .contestants import Contestant

Array = NDArray[np.floating]

LARGEST_DIFFERENCE = 1e-3  # float32: of any logit, in standard deviations of a picture's logits
LEAST_CORRELATION = 0.9  # fewer bits: between a picture's logits and the right ones


class Verdict(NamedTuple):
    """How far logits are from the right ones, in standard deviations of the right logits of a picture."""

    right: bool
    largest: float  # difference of any logit
    rms: float  # root of the mean squared difference
    correlation: float  # over classes, mean over pictures
    top1: float  # part of the pictures whose best class agrees
    reason: str = ""  # what is wrong

    @property
    def errors(self) -> dict[str, float]:
        """All measures by name."""
        return {name: getattr(self, name) for name in ("largest", "rms", "correlation", "top1")}


class Judged(Protocol):
    """A verdict of any benchmark."""

    @property
    def right(self) -> bool: ...
    @property
    def reason(self) -> str: ...
    @property
    def errors(self) -> dict[str, float]: ...


def described(contestant: Contestant, batch: int, verdict: Judged, failure: str) -> dict[str, Any]:
    """Who a contestant is, and how it did in the check: plain values for JSON."""
    return {
        "contestant": contestant.name,
        "engine": contestant.engine,
        "precision": contestant.precision,
        "batch": batch,
        "status": "failed" if failure else "timed" if verdict.right else "wrong",
        "reason": failure or verdict.reason or None,
        "error": {name: value if math.isfinite(value) else None for name, value in verdict.errors.items()},
    }


def failed(reason: str) -> Verdict:
    """The verdict on logits that are not there."""
    return Verdict(False, math.nan, math.nan, math.nan, math.nan, reason)


def judge(logits: Array, expected: Array, precision: str) -> Verdict:
    """Compare logits with the right ones.

    Parameters
    ----------
    logits, expected : (N, labels)
    precision : str
        float32 logits must agree within :data:`LARGEST_DIFFERENCE`; with fewer bits, rounding errors are reported
        but only a correlation below :data:`LEAST_CORRELATION` is wrong.
    """
    if logits.shape != expected.shape:
        return failed(f"its logits have shape {logits.shape}, expected {expected.shape}")
    logits = logits.astype(np.float64)
    spread = expected.std(axis=1, keepdims=True)
    difference = np.abs(logits - expected) / spread
    largest, rms = float(difference.max()), float(np.sqrt((difference**2).mean()))
    correlation = _correlation(logits, expected)
    top1 = float((logits.argmax(axis=1) == expected.argmax(axis=1)).mean())
    reason = ""
    if precision == "float32":
        if not largest <= LARGEST_DIFFERENCE:  # so that NaN is wrong
            reason = f"a logit is {largest:.1e} standard deviations off, at most {LARGEST_DIFFERENCE:.0e} are allowed"
    elif not correlation >= LEAST_CORRELATION:
        reason = f"its logits correlate {correlation:.2f} with the right ones, at least {LEAST_CORRELATION} is expected"
    return Verdict(not reason, largest, rms, correlation, top1, reason)


def _correlation(a: Array, b: Array) -> float:
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):  # constant logits correlate with nothing: NaN
        return float(((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))).mean())

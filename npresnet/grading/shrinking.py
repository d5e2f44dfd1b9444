"""The smallest failing case: a mistake is easier to see in a 3x3 image with one channel than in a batch of eight.

The settings of a failing case (sizes, stride ...) are moved towards the least that makes sense for the part: one at a
time, in pairs, and all together, to the least value and half-way. The same seed draws the inputs of each candidate. All
candidates go to the judge in one run, so that shrinking costs one more process.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from .part import Case, Part, Settings

MOST = 40
"""Candidates that are tried for a part."""


def smaller_cases(part: Part, case: Case) -> list[Case]:
    """Cases of the same kind as a failing one with fewer numbers, from the smallest.

    Parameters
    ----------
    part : Part
    case : Case

    Returns
    -------
    list of Case
        At most :data:`MOST`; each has the criterion, seed and dtype of ``case``.
    """
    settings = {_key(smaller): smaller for smaller in _smaller(case.settings, part.smallest) if part.sensible(smaller)}
    first = sorted(settings.values(), key=_sum)[:MOST]  # before anything is drawn
    candidates = [part.case(case.criterion, smaller, case.seed, case.dtype) for smaller in first]
    return sorted((c for c in candidates if c.size < case.size), key=lambda candidate: candidate.size)


def _smaller(settings: Settings, smallest: Settings) -> Iterator[dict[str, Any]]:
    """Settings with any one, two or all of the sizes reduced, to the least or half-way."""
    steps: list[list[tuple[str, int]]] = []
    for name, least in smallest.items():
        value = settings.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > least:
            steps.append([(name, to) for to in dict.fromkeys((least, (value + least) // 2)) if to < value])
    for count in (len(steps), len(steps) - 1, 1, 2):
        if count < 1:
            continue
        for chosen in itertools.combinations(steps, count):
            for changes in itertools.product(*chosen):
                yield {**settings, **dict(changes)}


def _sum(settings: Settings) -> int:
    """All sizes together: a measure of how large a case will be."""
    return sum(value for value in settings.values() if isinstance(value, int))


def _key(settings: Settings) -> str:
    return repr(sorted(settings.items()))

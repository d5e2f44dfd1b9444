"""Mistakes recognised by the look of a result alone: transposed, negated, N times too large, wrong at the border only.

These rules know nothing of the function. They are asked when no known mistake of it explains a result.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .bank import Mistake
from .evidence import SLACK, Finding, Pair

Look = Callable[[Pair, int], bool]
"""Whether a result has some look; the number is the size of the batch, 0 where there is none."""


class _Rule(NamedTuple):
    name: str
    hint: str
    look: Look


def lookalike(part: str, output: str, failing: Sequence[Finding]) -> Mistake | None:
    """The first look that all wrong results of one output share.

    Parameters
    ----------
    part, output : str
    failing : sequence of Finding
        The cases in which the output is wrong.

    Returns
    -------
    Mistake or None
        One without functions; its name begins with ``result-``.
    """
    for name, hint, words in _TYPES:
        if failing and all(any(word in finding.wrong_type for word in words) for finding in failing):
            return Mistake(name, part, (output,), hint)
    if any(finding.wrong_type or finding.absent or finding.surplus for finding in failing):
        return None
    pairs = [
        (pair, int(finding.case.settings.get("N", 0))) for finding in failing for pair in finding.failing().values()
    ]
    for rule in _RULES:
        if pairs and all(rule.look(pair, batch) for pair, batch in pairs):
            return Mistake(rule.name, part, (output,), rule.hint)
    return _factor(part, output, pairs)


def exchanged(part: str, failing: Mapping[str, Sequence[Finding]]) -> dict[str, Mistake]:
    """Outputs that were returned in each other's place."""
    found: dict[str, Mistake] = {}
    hint = "This is another of the values that are asked for: look at the order in which your function returns them."
    for first, second in itertools.permutations(failing, 2):
        others = {id(finding.case): finding for finding in failing[second]}
        pairs = [
            (finding.pairs.get(first), others[id(finding.case)].pairs.get(second))
            for finding in failing[first]
            if id(finding.case) in others
        ]
        if len(pairs) == len(failing[first]) and all(a and b and _is(a, b.right) for a, b in pairs):
            found[first] = Mistake("result-in-wrong-order", part, (first, second), hint)
    return found


_TYPES = (
    ("result-nothing", "Your function ends without returning a value: is a return missing?", ("NoneType", "None")),
    (
        "result-too-few-values",
        "Your function does not return as many values as are asked for. Look at the list of what it returns.",
        ("nothing", "values"),
    ),
    ("result-list", "This should be an array. A list or a tuple can be made one.", ("list", "tuple")),
)


def _is(pair: Pair, other: np.ndarray) -> bool:
    return pair.matches(np.asarray(other, np.float64))


def _whole_numbers(pair: Pair, batch: int) -> bool:
    return pair.got.dtype.kind in "iub"


def _transposed(pair: Pair, batch: int) -> bool:
    axes = range(pair.right.ndim)
    return any(
        order != tuple(axes) and _is(pair, pair.right.transpose(order))
        for order in (itertools.permutations(axes) if pair.right.ndim <= 4 else ())
    )


def _reshaped(pair: Pair, batch: int) -> bool:
    same_size = pair.got.size == pair.right.size and pair.got.shape != pair.right.shape
    return same_size and _is(pair, pair.right.reshape(pair.got.shape))


def _not_summed(pair: Pair, batch: int) -> bool:
    extra = pair.got.ndim - pair.right.ndim
    if extra < 1 or not np.isfinite(pair.got).all():
        return False
    return any(
        Pair(summed, pair.right, pair.allowed).matches(pair.right)
        for axes in itertools.combinations(range(pair.got.ndim), extra)
        if (summed := np.asarray(pair.got, np.float64).sum(axis=axes)).shape == pair.right.shape
    )


def _zeros(pair: Pair, batch: int) -> bool:
    return pair.got.size > 0 and not pair.got.any() and bool(pair.right.any())


def _other_order(pair: Pair, batch: int) -> bool:
    if pair.got.shape != pair.right.shape or pair.right.size < 4:
        return False
    largest = float(np.max(pair.allowed, initial=0))
    return Pair(np.sort(pair.got, axis=None), np.sort(pair.right, axis=None), largest).matches(
        np.sort(pair.right, axis=None)
    )


def _shifted(pair: Pair, batch: int) -> bool:
    if pair.got.shape != pair.right.shape or pair.right.ndim != 4 or min(pair.right.shape[2:]) < 4:
        return False
    H, W = pair.right.shape[2:]
    largest = float(np.max(pair.allowed, initial=0))
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        got = pair.got[:, :, max(down, 0) : H + min(down, 0), max(right, 0) : W + min(right, 0)]
        there = pair.right[:, :, max(-down, 0) : H + min(-down, 0), max(-right, 0) : W + min(-right, 0)]
        if (down, right) != (0, 0) and there.any() and Pair(got, there, largest).matches(there):
            return True
    return False


def _border_only(pair: Pair, batch: int) -> bool:
    if pair.got.shape != pair.right.shape or pair.right.ndim != 4 or min(pair.right.shape[2:]) < 3:
        return False
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    return Pair(pair.got[inside], pair.right[inside], float(np.max(pair.allowed, initial=0))).matches(
        pair.right[inside]
    )


def _first_image_only(pair: Pair, batch: int) -> bool:
    if pair.got.shape != pair.right.shape or pair.right.ndim < 2 or batch < 2 or len(pair.right) != batch:
        return False
    return Pair(pair.got[:1], pair.right[:1], float(np.max(pair.allowed, initial=0))).matches(pair.right[:1])


_RULES = (
    _Rule("result-whole-numbers", "Your result is made of whole numbers: its fractions are lost.", _whole_numbers),
    _Rule("result-transposed", "Your result is right but for the order of its axes.", _transposed),
    _Rule("result-in-another-shape", "Your result has the right numbers, in another shape.", _reshaped),
    _Rule("result-not-summed", "Your result has an axis too many: summed over it, it would be right.", _not_summed),
    _Rule("result-zeros", "Your result is all zeros: was it ever filled?", _zeros),
    _Rule("result-negated", "Your result has the wrong sign.", lambda pair, batch: _is(pair, -pair.right)),
    _Rule("result-doubled", "Your result is twice what it should be.", lambda pair, batch: _is(pair, 2 * pair.right)),
    _Rule("result-halved", "Your result is half of what it should be.", lambda pair, batch: _is(pair, pair.right / 2)),
    _Rule(
        "result-times-batch",
        "Your result is N times too large, N being the size of the batch: somewhere a mean has become a sum.",
        lambda pair, batch: batch > 1 and _is(pair, batch * pair.right),
    ),
    _Rule(
        "result-divided-by-batch",
        "Your result is N times too small, N being the size of the batch: somewhere a sum has become a mean.",
        lambda pair, batch: batch > 1 and _is(pair, pair.right / batch),
    ),
    _Rule("result-shifted", "Your result is right, but shifted by a pixel: look at the padding.", _shifted),
    _Rule("result-in-another-order", "Your result has the right numbers, in another order.", _other_order),
    _Rule("result-wrong-at-border", "Your result is wrong at its border only: look at the padding.", _border_only),
    _Rule(
        "result-right-for-first-image",
        "Your result is right for the first image of the batch only.",
        _first_image_only,
    ),
)


def _factor(part: str, output: str, pairs: Sequence[tuple[Pair, int]]) -> Mistake | None:
    """A result that is right but for a factor, always the same or one of each case."""
    factors = []
    for pair, _ in pairs:
        if pair.got.shape != pair.right.shape or pair.right.size < 2 or not np.isfinite(pair.got).all():
            return None
        norm = float((pair.right**2).sum())
        factor = float((pair.got * pair.right).sum()) / norm if norm else 0.0
        if abs(factor) < 1e-6 or not pair.matches(factor * pair.right, SLACK):
            return None
        factors.append(factor)
    if len(factors) < 2:
        return None
    if np.allclose(factors, factors[0], rtol=1e-3):
        return Mistake("result-scaled", part, (output,), "Your result is right but for a factor, always the same.")
    hint = "Your result is right but for a factor that depends on the sizes: is it divided by the right one?"
    return Mistake("result-scaled-by-size", part, (output,), hint)

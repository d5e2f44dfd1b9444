"""Mistakes recognised by the look of a result alone: transposed, negated, N times too large, wrong at the border only.

These rules know nothing of the function. They are asked when no known mistake of it explains a result.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from .bank import Mistake
from .evidence import Finding, Pair
from .part import Array

HINTS = {
    "result-nothing": "Your function ends without returning a value: is a return missing?",
    "result-too-few-values": (
        "Your function does not return as many values as are asked for. Look at the list of what it returns."
    ),
    "result-list": "This should be an array. A list or a tuple can be made one.",
    "result-in-wrong-order": (
        "This is another of the values that are asked for: look at the order in which your function returns them."
    ),
    "result-whole-numbers": "Your result is made of whole numbers: its fractions are lost.",
    "result-transposed": "Your result is right but for the order of its axes.",
    "result-in-another-shape": "Your result has the right numbers, in another shape.",
    "result-not-summed": "Your result has an axis too many: summed over it, it would be right.",
    "result-zeros": "Your result is all zeros: was it ever filled?",
    "result-negated": "Your result has the wrong sign.",
    "result-doubled": "Your result is twice what it should be.",
    "result-halved": "Your result is half of what it should be.",
    "result-times-batch": (
        "Your result is N times too large, N being the size of the batch: somewhere a mean has become a sum."
    ),
    "result-divided-by-batch": (
        "Your result is N times too small, N being the size of the batch: somewhere a sum has become a mean."
    ),
    "result-shifted": "Your result is right, but shifted by a pixel: look at the padding.",
    "result-in-another-order": "Your result has the right numbers, in another order.",
    "result-wrong-at-border": "Your result is wrong at its border only: look at the padding.",
    "result-right-for-first-image": "Your result is right for the first image of the batch only.",
    "result-scaled": "Your result is right but for a factor, always the same.",
    "result-scaled-by-size": (
        "Your result is right but for a factor that depends on the sizes: is it divided by the right one?"
    ),
}
"""What is said of each look, by its name."""


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
        One without functions; its name is one of :data:`HINTS`.
    """
    name = _look(failing)
    return None if name is None else Mistake(name, part, (output,), HINTS[name])


def exchanged(part: str, failing: Mapping[str, Sequence[Finding]]) -> dict[str, Mistake]:
    """Outputs that were returned in each other's place."""
    found: dict[str, Mistake] = {}
    for first, second in itertools.permutations(failing, 2):
        others = {id(finding.case): finding for finding in failing[second]}
        pairs = [
            (finding.pairs.get(first), others[id(finding.case)].pairs.get(second))
            for finding in failing[first]
            if id(finding.case) in others
        ]
        if len(pairs) == len(failing[first]) and all(a and b and a.matches(b.right) for a, b in pairs):
            name = "result-in-wrong-order"
            found[first] = Mistake(name, part, (first, second), HINTS[name])
    return found


def _look(failing: Sequence[Finding]) -> str | None:
    for name, words in _TYPES.items():
        if failing and all(any(word in finding.wrong_type for word in words) for finding in failing):
            return name
    if any(finding.wrong_type or finding.absent or finding.surplus for finding in failing):
        return None
    pairs = [
        (pair, int(finding.case.settings.get("N", 0))) for finding in failing for pair in finding.failing().values()
    ]
    for name, look in _LOOKS.items():
        if pairs and all(look(pair, batch) for pair, batch in pairs):
            return name
    return _factor([pair for pair, _ in pairs])


_TYPES = {
    "result-too-few-values": ("values",),
    "result-nothing": ("NoneType", "None"),
    "result-list": ("list", "tuple"),
}
"""By which words in the description of a wrong type they are known."""


def _whole_numbers(pair: Pair, batch: int) -> bool:
    return pair.got.dtype.kind in "iub"


def _transposed(pair: Pair, batch: int) -> bool:
    axes = tuple(range(pair.right.ndim))
    orders = itertools.permutations(axes) if pair.right.ndim <= 4 else ()
    return any(order != axes and pair.matches(pair.right.transpose(order)) for order in orders)


def _reshaped(pair: Pair, batch: int) -> bool:
    same_size = pair.got.size == pair.right.size and pair.got.shape != pair.right.shape
    return same_size and pair.matches(pair.right.reshape(pair.got.shape))


def _not_summed(pair: Pair, batch: int) -> bool:
    extra = pair.got.ndim - pair.right.ndim
    if extra < 1 or not np.isfinite(pair.got).all():
        return False
    sums = (np.asarray(pair.got.sum(axis=axes)) for axes in itertools.combinations(range(pair.got.ndim), extra))
    return any(Pair(summed, pair.right, pair.allowed).matches(pair.right) for summed in sums)


def _zeros(pair: Pair, batch: int) -> bool:
    return pair.got.size > 0 and not pair.got.any() and bool(pair.right.any())


def _other_order(pair: Pair, batch: int) -> bool:
    if pair.got.shape != pair.right.shape or pair.right.size < 4:
        return False
    return _same(pair, np.sort(pair.got, axis=None), np.sort(pair.right, axis=None))


def _shifted(pair: Pair, batch: int) -> bool:
    if not _is_image(pair, 4):
        return False
    H, W = pair.right.shape[2:]
    for down, right in itertools.product((-1, 0, 1), repeat=2):
        got = pair.got[:, :, max(down, 0) : H + min(down, 0), max(right, 0) : W + min(right, 0)]
        there = pair.right[:, :, max(-down, 0) : H + min(-down, 0), max(-right, 0) : W + min(-right, 0)]
        if (down, right) != (0, 0) and there.any() and _same(pair, got, there):
            return True
    return False


def _border_only(pair: Pair, batch: int) -> bool:
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    return _is_image(pair, 3) and _same(pair, pair.got[inside], pair.right[inside])


def _first_image_only(pair: Pair, batch: int) -> bool:
    if pair.got.shape != pair.right.shape or pair.right.ndim < 2 or not len(pair.right) == batch > 1:
        return False
    return _same(pair, pair.got[:1], pair.right[:1])


def _is_image(pair: Pair, least: int) -> bool:
    """Whether the result has the right shape, (N, C, H, W), with at least so many rows and columns."""
    return pair.got.shape == pair.right.shape and pair.right.ndim == 4 and min(pair.right.shape[2:]) >= least


def _same(pair: Pair, got: Array, right: Array) -> bool:
    """Whether some returned numbers are some right ones, with the most that rounding explains anywhere."""
    return Pair(got, right, float(np.max(pair.allowed, initial=0))).matches(right)


_LOOKS: dict[str, Callable[[Pair, int], bool]] = {
    "result-whole-numbers": _whole_numbers,
    "result-zeros": _zeros,
    "result-negated": lambda pair, batch: pair.matches(-pair.right),
    "result-times-batch": lambda pair, batch: batch > 1 and pair.matches(batch * pair.right),
    "result-divided-by-batch": lambda pair, batch: batch > 1 and pair.matches(pair.right / batch),
    "result-doubled": lambda pair, batch: pair.matches(2 * pair.right),
    "result-halved": lambda pair, batch: pair.matches(pair.right / 2),
    "result-transposed": _transposed,
    "result-in-another-shape": _reshaped,
    "result-not-summed": _not_summed,
    "result-shifted": _shifted,
    "result-in-another-order": _other_order,
    "result-wrong-at-border": _border_only,
    "result-right-for-first-image": _first_image_only,
}
"""Whether a result has some look; the number is the size of the batch, 0 where there is none."""


def _factor(pairs: Sequence[Pair]) -> str | None:
    """A result that is right but for a factor, always the same or one of each case."""
    factors = []
    for pair in pairs:
        if pair.got.shape != pair.right.shape or pair.right.size < 2 or not np.isfinite(pair.got).all():
            return None
        norm = float((pair.right**2).sum())
        factor = float((pair.got * pair.right).sum()) / norm if norm else 0.0
        if abs(factor) < 1e-6 or not pair.matches(factor * pair.right):
            return None
        factors.append(factor)
    if len(factors) < 2:
        return None
    return "result-scaled" if np.allclose(factors, factors[0], rtol=1e-3) else "result-scaled-by-size"

"""What the tests of the mathematics draw: geometries, memory layouts, and a seed from which all arrays come.

25 examples a test by default, the same ones every time; ``NPRESNET_EXAMPLES=1000`` in the environment draws that many
at random.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]
Pair = tuple[int, int]

settings.register_profile(
    "npresnet",
    max_examples=int(os.environ.get("NPRESNET_EXAMPLES", "25")),
    derandomize="NPRESNET_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # the first example compiles
)
settings.load_profile("npresnet")

BACKENDS = ("numba", "numpy")
on_both_backends = pytest.mark.parametrize("backend", BACKENDS)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float32, np.float64])
layouts = st.sampled_from(["contiguous", "transposed", "sliced", "reversed", "broadcast"])


def pairs(least: int, most: int) -> st.SearchStrategy[Pair]:
    """(rows, columns), seldom equal."""
    return st.tuples(st.integers(least, most), st.integers(least, most))


class Window(NamedTuple):
    """A sliding window over an image that is large enough for it."""

    shape: tuple[int, int, int, int]  # (N, C, H, W)
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    def output(self) -> Pair:
        """Size of the result, rounded down."""
        steps = [
            (self.shape[2 + a] + 2 * self.padding[a] - self.dilation[a] * (self.kernel[a] - 1) - 1) // self.stride[a]
            for a in range(2)
        ]
        return steps[0] + 1, steps[1] + 1


@st.composite
def windows(draw: st.DrawFn, pool: bool = False, dilated: bool = True, channels: int = 3) -> Window:
    """Any combination that fits; the padding of a pool is at most half of its kernel."""
    kernel, stride = draw(pairs(1, 3)), draw(pairs(1, 3))
    dilation = draw(pairs(1, 2)) if dilated else (1, 1)
    padding = tuple(draw(st.integers(0, k // 2 if pool else 2)) for k in kernel)
    size = [
        draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), d * (k - 1) + 5))
        for k, p, d in zip(kernel, padding, dilation, strict=True)
    ]
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, channels)), size[0], size[1])
    return Window(shape, kernel, stride, (padding[0], padding[1]), dilation)


shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
"""(N, C, H, W)."""


def normal(rng: np.random.Generator, shape: Iterable[int], dtype: DTypeLike = np.float64) -> Array:
    """Standard normal numbers, read-only."""
    return frozen(rng.standard_normal(tuple(shape)).astype(dtype))


def frozen(array: Array) -> Array:
    """The same array, no longer to be written to."""
    array.flags.writeable = False
    return array


def frozen_cache(cache: Any) -> Any:
    """The same cache, all arrays in it read-only."""
    for value in cache:
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return cache


@contextmanager
def unchanged(cache: Any) -> Iterator[None]:
    """Fail if an array of the cache changes within: as :func:`frozen_cache`, for arrays that loops are compiled for."""
    before = [np.array(value) for value in cache]
    yield
    for value, original in zip(cache, before, strict=True):
        np.testing.assert_array_equal(value, original)


def laid_out(array: Array, layout: str) -> Array:
    """The same values at other places in memory (for "broadcast": the first sample's values for all), read-only."""
    if layout == "transposed":
        array = np.ascontiguousarray(array.T).T
    elif layout == "sliced":
        roomy = np.full(tuple(2 * n + 1 for n in array.shape), np.nan, array.dtype)
        inner = roomy[tuple(slice(1, None, 2) for _ in array.shape)]
        inner[...] = array
        array = inner
    elif layout == "reversed":
        array = np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    elif layout == "broadcast":
        return np.broadcast_to(array[:1], array.shape)
    return frozen(array)


def assert_close(actual: ArrayLike, expected: ArrayLike, dtype: DTypeLike, factor: float = 1) -> None:
    """Equal up to the rounding of sums of numbers about as large as 1, or as the largest result."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    scale = max(1.0, float(np.max(np.abs(expected), initial=0)))
    tolerance = factor * (3e-6 if dtype == np.float32 else 1e-14) * scale
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)

"""Random numbers without a generator: each is a hash of (seed, epoch, image, step, how many came before).

A generator has to be made for every image, which costs more than a crop, and its numbers depend on who drew before.
A hash of counters has neither trouble: the numbers of an image are the same whichever thread asks, in whatever order,
for one image or for a whole batch at once, today and with any version of NumPy.

The hash is SplitMix64: multiples of the golden ratio, scrambled by a bijection of 64-bit integers. (Steele, Lea,
Flood: "Fast splittable pseudorandom number generators", 2014; the constants are those of its reference code.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FACTOR1, _FACTOR2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_STREAM = 0xD1B54A32D192ED03  # an odd number like the golden one, so that streams and draws do not walk in step


class Draws:
    """The random numbers of one image.

    Parameters
    ----------
    key : int
        64 bits that stand for the image in its epoch; :func:`image_key` makes them.

    Examples
    --------
    >>> draws = Draws(image_key(seed=0, epoch=3, index=17))
    >>> 0 <= draws.uniform() < 1, draws.integer(6) in range(6)
    (True, True)
    """

    __slots__ = ("_state", "key")

    def __init__(self, key: int) -> None:
        self.key = key
        self._state = key

    def _next(self) -> int:
        self._state = (self._state + _GOLDEN) & _MASK
        return _mix(self._state)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return a number in [low, high), a multiple of 2**-53 before it is scaled."""
        return low + (high - low) * ((self._next() >> 11) * 2.0**-53)

    def integer(self, count: int) -> int:
        """Return one of 0, 1, ... ``count - 1``; count is at most 2**32."""
        return ((self._next() >> 32) * count) >> 32

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.uniform() < probability

    def permutation(self, count: int) -> list[int]:
        """Return 0, 1, ... ``count - 1`` in random order."""
        order = list(range(count))
        for last in range(count - 1, 0, -1):
            other = self.integer(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def generator(self) -> np.random.Generator:
        """Return a generator of NumPy for other distributions; making it costs as much as thirty draws."""
        return np.random.default_rng(self._next())

    def stream(self, number: int) -> Draws:
        """Return numbers of their own for one of several steps, whatever the other steps draw."""
        return Draws(_mix((self.key + (number + 1) * _STREAM) & _MASK))


class BatchDraws:
    """The random numbers of several images at once: every method returns one for each image, and the same ones.

    Parameters
    ----------
    keys : ndarray, uint64, (N,)
        What :func:`image_keys` returns.
    """

    __slots__ = ("_state", "keys")

    def __init__(self, keys: np.ndarray) -> None:
        self.keys = keys
        self._state = keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, n: int) -> Draws:
        """Return the numbers of image ``n`` of the batch, from the first."""
        return Draws(int(self.keys[n]))

    def _next(self) -> np.ndarray:
        self._state = self._state + np.uint64(_GOLDEN)
        return _mix_array(self._state)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Return (N,) float64; see :meth:`Draws.uniform`."""
        return low + (high - low) * ((self._next() >> np.uint64(11)) * 2.0**-53)

    def integer(self, count: int) -> np.ndarray:
        """Return (N,) int64; see :meth:`Draws.integer`."""
        return (((self._next() >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)).astype(np.int64)

    def chance(self, probability: float) -> np.ndarray:
        """Return (N,) bool; see :meth:`Draws.chance`."""
        return self.uniform() < probability

    def stream(self, number: int) -> BatchDraws:
        """See :meth:`Draws.stream`."""
        return BatchDraws(_mix_array(self.keys + np.uint64((number + 1) * _STREAM & _MASK)))


def image_key(seed: int, epoch: int, index: int) -> int:
    """Return the 64 bits that stand for image ``index`` in this epoch; any two images of an epoch differ in them."""
    return _mix((_epoch_key(seed, epoch) + index * _GOLDEN) & _MASK)


def image_keys(seed: int, epoch: int, indices: Any) -> np.ndarray:
    """Return :func:`image_key` of several images, uint64 (N,)."""
    indices = np.asarray(indices, np.int64).astype(np.uint64)
    return _mix_array(np.uint64(_epoch_key(seed, epoch)) + indices * np.uint64(_GOLDEN))


def shuffled(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return 0, 1, ... ``count - 1`` in the random order of this epoch, int64 (count,).

    The images are sorted by a hash of their number. The hash is a bijection, so there are no ties.
    """
    return np.argsort(BatchDraws(image_keys(seed, epoch, np.arange(count))).stream(-2)._next(), kind="stable")


def _epoch_key(seed: int, epoch: int) -> int:
    return _mix((_mix((seed + _GOLDEN) & _MASK) + epoch * _GOLDEN) & _MASK)


def _mix(z: int) -> int:
    """A bijection of 64-bit integers in which every bit of the result depends on every bit of ``z``."""
    z = ((z ^ (z >> 30)) * _FACTOR1) & _MASK
    z = ((z ^ (z >> 27)) * _FACTOR2) & _MASK
    return z ^ (z >> 31)


def _mix_array(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_FACTOR1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_FACTOR2)
    return z ^ (z >> np.uint64(31))

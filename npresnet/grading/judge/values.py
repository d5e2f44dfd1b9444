"""What a function returned, as it crosses the pipe: plain arrays, and words for everything that is none.

Only an exact ``numpy.ndarray`` is believed to be an array; a Python or NumPy number becomes an array without axes; the
members of a dict are sent one by one as ``name/key``. Copies are taken at once: what a submission does to its arrays
later changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .protocol import DTYPES, MAX_DIMENSIONS, MAX_PAYLOAD, Array
from .words import described

ROOM = MAX_PAYLOAD * 3 // 4
"""Bytes of all outputs of a call; the rest is for the inputs as they are after it."""
_NUMBERS = frozenset(np.dtype(name).type for name in DTYPES) | {float, int, bool, complex}


class Taken:
    """Outputs of one call.

    Attributes
    ----------
    arrays : dict
        Copies, by name.
    wrong : dict
        By name, what was returned in place of an array, in words.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.wrong: dict[str, str] = {}
        self._room = ROOM

    def add(self, name: str, value: Any) -> None:
        """Take an output: an array, a number or a dict of them."""
        if not issubclass(type(value), dict):
            self._add_array(name, value)
            return
        members = list(dict.items(value))
        if not members:
            self.wrong[name] = "an empty dict"
        for key, member in members:
            if type(key) is not str:
                self.wrong[name] = f"a dict with a key that is {described(key)}"
            elif issubclass(type(member), dict):
                self.wrong[f"{name}/{key}"] = described(member)
            else:
                self._add_array(f"{name}/{key[:200]}", member)

    def _add_array(self, name: str, value: Any) -> None:
        if type(value) in _NUMBERS:
            value = np.asarray(value)
        if type(value) is not np.ndarray or value.dtype.name not in DTYPES:
            self.wrong[name] = described(value)
        elif value.ndim > MAX_DIMENSIONS or value.nbytes > self._room or max(value.shape, default=0) > MAX_PAYLOAD:
            self.wrong[name] = f"an ndarray of shape {value.shape}, which is too large"
        else:
            self._room -= value.nbytes
            self.arrays[name] = np.array(value, value.dtype.newbyteorder("="), order="C", copy=True, subok=False)

"""Notice that weights have changed, without reading all of them at every call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .machine import Machine, native


class Fingerprint:
    """Remembers which arrays a model has, and 128 numbers, evenly spread, of each that can be written.

    Loading replaces arrays, and training changes all numbers of most arrays, so both are noticed. A single number
    that is changed in place by hand may not be.
    """

    def __init__(self, machine: Machine, arrays: Sequence[NDArray[Any]]) -> None:
        self.arrays = list(arrays)  # float32 and contiguous; kept, so that no other array can take the same address
        writeable = [(array.ctypes.data, array.size) for array in self.arrays if array.flags.writeable]
        self._table = np.array(writeable, np.int64).reshape(-1, 2)
        self._hash = native(machine.function("fingerprint"), 3)
        self._seen = self._now()

    def _now(self) -> int:
        result = ctypes.c_int64()
        self._hash(self._table.ctypes.data, len(self._table), ctypes.addressof(result))
        return result.value

    def matches(self, arrays: Sequence[NDArray[Any]]) -> bool:
        """Whether these are the same arrays with the same numbers."""
        return (
            len(arrays) == len(self.arrays)
            and all(a is b for a, b in zip(arrays, self.arrays, strict=True))
            and self._now() == self._seen
        )

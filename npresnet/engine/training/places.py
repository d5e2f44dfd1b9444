"""Memory of the training step: who needs what from when to when is only known once all steps are written.

So the steps are written twice. The first time is a rehearsal, in which every request for memory is noted and answered
with nonsense; then the memory is laid out, and the second time the same requests, in the same order, get real places.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..layout import Map, Memory, zeroed

WORKSPACE_SPACING = 4096 + 320  # bytes; the same address modulo 4096 in many arrays is slow to reach


class Places:
    """Hands out memory, in a rehearsal or for good.

    Parameters
    ----------
    rehearsed : Places, optional
        The rehearsal; without it, this is one.

    Attributes
    ----------
    memory : array of bytes
        All of it, zeroed in the beginning.
    """

    def __init__(self, rehearsed: Places | None = None) -> None:
        self._plan = Memory()
        self._workspaces: dict[str, int] = {}
        self._numbers: dict[int, int] = {}  # of the places that are taken, by address
        self._offsets: list[int] = []
        self._starts: dict[str, int] = {}
        self.memory: NDArray[np.uint8] = np.zeros(0, np.uint8)
        if rehearsed is not None:
            self.memory, self._offsets = rehearsed._plan.allocate()
            area = sum(size + WORKSPACE_SPACING for size in rehearsed._workspaces.values())
            self._shared = zeroed(area)
            start = self._shared.ctypes.data
            for name, size in rehearsed._workspaces.items():
                self._starts[name] = start
                start += -(-size // 64) * 64 + WORKSPACE_SPACING - 64

    @property
    def bytes(self) -> int:
        """Of all memory."""
        return len(self.memory) + (len(self._shared) if self._offsets else 0)

    def place(self, m: Map) -> None:
        """Give a map its place."""
        m.base = self.take(m.bytes, m.geometry)

    def take(self, size: int, geometry: tuple[int, ...] = ()) -> int:
        """Return the address of so many bytes; see :class:`.Memory` for the geometry."""
        number = self._plan.take(size, geometry)
        address = self.memory.ctypes.data + self._offsets[number] if self._offsets else (number + 1) << 40
        self._numbers[address] = number
        return address

    def give_back(self, address: int) -> None:
        """The contents are not needed any more."""
        self._plan.give_back(self._numbers[address])

    def workspace(self, name: str, size: int) -> int:
        """Return the address of memory that is only used for a few steps; its next user may overwrite it."""
        self._workspaces[name] = max(size, self._workspaces.get(name, 0))
        return self._starts.get(name, 0)

"""Memory of the training step: who needs what from when to when is only known once all steps are written.

So the steps are written twice. The first time is a rehearsal, in which every request for memory is noted and answered
with nonsense; then the memory is laid out, and the second time the same requests, in the same order, get real places.

What is never needed at the same time may share memory. The largest maps choose first, each the lowest place that is
free for as long as the map lives. Maps with a border only follow maps of the same geometry, because the border is
zeroed once and for all; or, where memory counts more than time, they are like all others, and it is zeroed each time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..layout import Map, zeroed

SPACING = 4096 + 1664  # bytes; the same address modulo 4096 in many arrays is slow to reach
FOREVER = 1 << 60


@dataclass
class _Tenant:
    """A piece of memory and its time."""

    size: int
    geometry: tuple[int, ...]
    born: int
    died: int = FOREVER
    slot: int = -1  # of those that keep their geometry
    offset: int = 0


class Places:
    """Hands out memory, in a rehearsal or for good.

    Parameters
    ----------
    rehearsed : Places, optional
        The rehearsal; without it, this is one.

    Attributes
    ----------
    memory : array of bytes
        All of it, zeroed in the beginning; empty in a rehearsal.
    """

    def __init__(self, rehearsed: Places | None = None) -> None:
        self._tenants: list[_Tenant] = []
        self._by_address: dict[int, _Tenant] = {}
        self._free_slots: dict[tuple[int, ...], list[int]] = {}
        self._slots: list[int] = []  # their sizes
        self._workspaces: dict[str, int] = {}
        self._starts: dict[str, int] = {}
        self._clock = 0
        self._rehearsed = rehearsed
        self.memory: NDArray[np.uint8] = np.zeros(0, np.uint8)
        if rehearsed is not None:
            self._starts, size = rehearsed._lay_out()
            self.memory = zeroed(size)

    def place(self, m: Map, keeps_border: bool = True) -> None:
        """Give a map its place; where it does not keep its border, others may have written over it."""
        m.base = self.take(m.bytes, m.geometry if keeps_border else ())

    def take(self, size: int, geometry: tuple[int, ...] = ()) -> int:
        """Return the address of so many bytes; those with a geometry are followed only by their like."""
        number = len(self._tenants)
        tenant = _Tenant(size, geometry, self._tick())
        self._tenants.append(tenant)
        if geometry:
            free = self._free_slots.setdefault(geometry, [])
            if not free:
                free.append(len(self._slots))
                self._slots.append(size)
            tenant.slot = free.pop()
        address = (number + 1) << 40
        if self._rehearsed is not None:
            address = self.memory.ctypes.data + self._rehearsed._tenants[number].offset
        self._by_address[address] = tenant
        return address

    def give_back(self, address: int) -> None:
        """The contents are not needed any more."""
        tenant = self._by_address.pop(address)
        tenant.died = self._tick()
        if tenant.geometry:
            self._free_slots[tenant.geometry].append(tenant.slot)

    def workspace(self, name: str, size: int) -> int:
        """Return the address of memory that is only used for a few steps; its next user may overwrite it."""
        self._workspaces[name] = max(size, self._workspaces.get(name, 0))
        return self.memory.ctypes.data + self._starts.get(name, 0)

    def _tick(self) -> int:
        self._clock += 1
        return self._clock

    def _lay_out(self) -> tuple[dict[str, int], int]:
        """Give every tenant its offset; return those of the workspaces, and the size of it all."""
        end, starts, slots = 0, {}, []
        for name, size in self._workspaces.items():
            starts[name], end = end, end + _spaced(size)
        for size in self._slots:
            slots.append(end)
            end += _spaced(size)
        placed: list[_Tenant] = []
        total = end
        for tenant in sorted(self._tenants, key=lambda t: -t.size):
            if tenant.geometry:
                tenant.offset = slots[tenant.slot]
                continue
            tenant.offset = end
            neighbours = [other for other in placed if other.born < tenant.died and tenant.born < other.died]
            for other in sorted(neighbours, key=lambda t: t.offset):
                if other.offset - tenant.offset >= _spaced(tenant.size):
                    break
                tenant.offset = max(tenant.offset, other.offset + _spaced(other.size))
            placed.append(tenant)
            total = max(total, tenant.offset + _spaced(tenant.size))
        return starts, total


def _spaced(size: int) -> int:
    return -(-size // 64) * 64 + SPACING - 64

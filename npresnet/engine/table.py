"""The table of steps in memory, and how all threads run through it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.parallel import run_together
from . import record
from .machine import Machine, give_way, native

SCRATCH_SPACING = 4096


class Table:
    """Rows, counters that threads take tasks from, and scratch memory for each thread.

    Parameters
    ----------
    rows : sequence of row
    machine : Machine
    threads : int
    scratch_bytes : int
        That a thread needs.
    """

    def __init__(self, rows: Sequence[NDArray[np.int64]], machine: Machine, threads: int, scratch_bytes: int) -> None:
        self._run = native(machine.function("run"), len(record.RUN_ARGUMENTS))
        self._rows, self._threads = np.stack(rows), threads
        self._counters = np.zeros(len(rows) * record.COUNTER_BYTES // 8, np.int64)
        self._spacing = -(-scratch_bytes // SCRATCH_SPACING) * SCRATCH_SPACING + 320
        self._scratch = np.zeros(threads * self._spacing, np.uint8)

    def __len__(self) -> int:
        return len(self._rows)

    def set(self, row: int, field: str, value: int) -> None:
        """Change an integer of a row: an address, most often."""
        self._rows[row, record.index(field)] = value

    def run(self, start: int, end: int) -> None:
        """Run some steps on all threads."""
        if start == end:
            return
        self._counters[:] = 0
        arguments = (self._rows[start:end].ctypes.data, end - start, self._counters.ctypes.data)
        scratch, others = self._scratch.ctypes.data, give_way()
        run_together(lambda thread: self._run(*arguments, scratch + thread * self._spacing, others), self._threads)

    def measure(self, repeats: int, before: Callable[[int], Any] = lambda number: None) -> list[float]:
        """Run step by step, and return the median time of each in seconds.

        ``before`` is called ahead of every step with its number, outside the time.
        """
        times = np.zeros((repeats, len(self)))
        for repeat in range(repeats):
            for number in range(len(self)):
                before(number)
                begin = time.perf_counter()
                self.run(number, number + 1)
                times[repeat, number] = time.perf_counter() - begin
        return [float(seconds) for seconds in np.median(times, axis=0)]

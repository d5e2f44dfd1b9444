"""What this processor can do at most: the rate of the micro-kernel on data that never leaves the cache."""

from __future__ import annotations

import time

import numpy as np

from ..kernels.parallel import num_threads as default_threads
from ..kernels.parallel import run_together
from . import microkernel, record
from .arithmetic import ELEMENT_BYTES
from .machine import machine_for, native
from .target import Target, find_target
from .tiling import tile_shape

TERMS = 4096


def peak_gflops(precision: str = "float32", num_threads: int | None = None, target: Target | None = None) -> float:
    """Measure the peak arithmetic rate, in 10^9 operations a second; a multiply-add counts as two.

    Parameters
    ----------
    precision : {"float32", "bfloat16", "int8"}
    num_threads : int, optional
    target : Target, optional

    Returns
    -------
    float
        The best of several short runs on all threads.
    """
    target, threads = target or find_target(), num_threads or default_threads()
    machine, per_step = machine_for(target), 4 // ELEMENT_BYTES[precision]
    rows, vectors = tile_shape(target, 112, 2)
    shape = microkernel.Shape(precision, rows, vectors, 64 // per_step, 16 // per_step)
    kernel = native(
        machine.address(shape.name, lambda: microkernel.generate(shape, target)), len(microkernel.ARGUMENTS)
    )
    entries = TERMS // 16
    table = np.zeros(entries, np.int64)
    row = record.make(weight_plane=0, low=0.0, high=1.0)

    def work(thread: int) -> None:
        inputs, weights = np.zeros(16 * 64, np.float32), np.zeros(TERMS * 16, np.float32)
        outputs = np.zeros(32 * 16, np.float32)
        for _ in range(CALLS):
            kernel(
                row.ctypes.data, inputs.ctypes.data, weights.ctypes.data, outputs.ctypes.data, 0, weights.ctypes.data,
                outputs.ctypes.data, table.ctypes.data, entries, microkernel.FIRST | microkernel.LAST,
            )  # fmt: skip

    best = 0.0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run_together(work, threads)
        seconds = time.perf_counter() - start
        best = max(best, 2e-9 * CALLS * threads * rows * vectors * 16 * TERMS / seconds)
    return best


CALLS, ROUNDS = 100, 15

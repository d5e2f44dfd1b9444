"""What this processor can do at most: the rate of the micro-kernel on data that never leaves the cache."""

from __future__ import annotations

import time

import numpy as np

from ..kernels.parallel import num_threads as default_threads
from ..kernels.parallel import run_together
from . import record
from .layout import ELEMENT_BYTES
from .machine import machine_for, native
from .target import Target, find_target
from .tiling import tile_shape

TERMS, TILES, ROUNDS = 1024, 500, 15


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
    shape = record.KernelShape(precision, rows, vectors, 64 // per_step, 16 // per_step)
    kernel = machine.kernel(shape)
    convolve = native(machine.function("convolve"), len(record.TASK_ARGUMENTS))
    entries = TERMS // 16
    here = np.zeros(TILES, np.int64)  # every tile and every entry reads the same few numbers
    numbers = np.zeros((threads, 3, TERMS * 16 * vectors), np.float32)

    def work(thread: int) -> None:
        inputs, weights, outputs = (numbers[thread, part].ctypes.data for part in range(3))
        row = record.make(
            kernel=kernel, input=inputs, weights=weights, output=outputs, bias=weights,
            weight_products=here.ctypes.data, weight_plane=TERMS // per_step * 64, weight_entry=shape.depth * 64,
            input_tiles=here.ctypes.data, output_tiles=here.ctypes.data, residual_tiles=here.ctypes.data,
            tiles=TILES, tiles_per_task=TILES, groups=1, groups_per_task=1, group_blocks=vectors,
            group_inputs=here.ctypes.data, table=here.ctypes.data, entries=entries, chunk=entries, low=0.0, high=1.0,
        )  # fmt: skip
        convolve(row.ctypes.data, 0, outputs)

    best = 0.0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run_together(work, threads)
        seconds = time.perf_counter() - start
        best = max(best, 2e-9 * threads * TILES * rows * vectors * 16 * TERMS / seconds)
    return best

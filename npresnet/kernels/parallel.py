"""Run independent pieces of work on all cores with ordinary Python threads.

NumPy's matrix products and the compiled kernels release the interpreter lock, so threads do run side by side. Each
piece writes its own part of the output and nothing is summed across pieces in an order that could change: results are
the same for every number of threads.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

_local = threading.local()
_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit: Any = None


@functools.cache
def num_threads() -> int:
    """Return the number of threads in use: ``NPRESNET_NUM_THREADS``, or the processors this process may run on.

    Raises
    ------
    ValueError
        If ``NPRESNET_NUM_THREADS`` is set to something other than a positive integer.
    """
    wanted = os.environ.get("NPRESNET_NUM_THREADS")
    if wanted is not None:
        if not wanted.isdecimal() or int(wanted) < 1:
            raise ValueError(f"NPRESNET_NUM_THREADS must be a positive integer, found {wanted!r}")
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def for_each(task: Callable[[int], None], count: int) -> None:
    """Call ``task(0)`` ... ``task(count - 1)`` on all threads, in any order, and return when all are done.

    The tasks must be independent: each writes only what no other reads or writes. A call from inside a task runs in
    that task's thread. The first exception of a task is raised here, after the running ones have ended.
    """
    helpers = min(num_threads(), count) - 1
    if helpers < 1 or getattr(_local, "inside", False):
        for index in range(count):
            task(index)
        return

    tickets = itertools.count()  # next() on it is atomic

    def work() -> None:
        _local.inside = True
        try:
            while (index := next(tickets)) < count:
                task(index)
        except BaseException:
            for index in tickets:  # no further tickets for the others
                if index >= count:
                    break
            raise
        finally:
            _local.inside = False

    with single_threaded_blas():
        pool = _pool(num_threads() - 1)
        pool.keep_off_this_core()
        futures = [pool.submit(work) for _ in range(helpers)]
        try:
            work()
        finally:
            errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error


def map_each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Return ``[function(item) for item in items]``, computed on all threads; see :func:`for_each`."""
    results: list[Any] = [None] * len(items)

    def one(index: int) -> None:
        results[index] = function(items[index])

    for_each(one, len(items))
    return results


def run_together(task: Callable[[int], None], threads: int) -> None:
    """Call ``task(0)`` here and ``task(1)`` ... ``task(threads - 1)`` in other threads, all at the same time.

    For compiled work that shares itself out: a call that starts late, or only after the others have ended, must find
    nothing left to do. From inside a task of :func:`for_each`, only ``task(0)`` is called.
    """
    if threads < 2 or getattr(_local, "inside", False):
        task(0)
        return
    pool = _pool(threads - 1)
    pool.keep_off_this_core()
    futures = [pool.submit(task, thread) for thread in range(1, threads)]
    try:
        task(0)
    finally:
        errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None:
            raise error


def matmul(a: Any, b: Any) -> Any:
    """Return the matrix product ``a @ b``, (N, K) @ (K, O) -> (N, O), some columns in each thread."""
    out = np.empty((len(a), b.shape[1]), a.dtype)
    columns = blocks(b.shape[1], pieces(a.size * b.shape[1] // 64))

    def multiply(index: int) -> None:
        np.matmul(a, b[:, columns[index]], out=out[:, columns[index]])

    with single_threaded_blas():
        for_each(multiply, len(columns))
    return out


def over_channels(x: Any, task: Callable[[int, int], None]) -> None:
    """Call ``task(first, last)`` for blocks of the channels of an array (N, C, H, W), on all threads."""
    channels = blocks(x.shape[1], pieces(x.size))
    for_each(lambda index: task(channels[index].start, channels[index].stop), len(channels))


def pieces(elements: int) -> int:
    """Into how many pieces a simple loop over so many array elements is worth cutting; it depends on nothing else."""
    return max(1, min(16, elements >> 16))


def blocks(size: int, pieces: int) -> list[slice]:
    """Cut ``range(size)`` into at most ``pieces`` slices of nearly equal length."""
    step = -(-size // max(1, min(pieces, size)))
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


class _Pool(ThreadPoolExecutor):
    """Worker threads that stay off the caller's core.

    Left alone, Linux often wakes a worker on the core of the thread that woke it, where the two take turns for some
    milliseconds, longer than most of our loops last, until the scheduler moves one of them.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers, "npresnet", initializer=lambda: self._started.append(threading.get_native_id()))
        self._started: list[int] = []  # native thread ids
        self._placed: dict[int, int] = {}  # thread id -> the core it is kept off
        self._cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
        can_place = len(self._cores) > 1  # so this is Linux; other systems are left to their own devices
        self._current_core = getattr(ctypes.CDLL(None), "sched_getcpu", None) if can_place else None

    def keep_off_this_core(self) -> None:
        """Let no worker run on the core of the calling thread. Where the system has no such notion, do nothing."""
        if self._current_core is None:
            return
        core = self._current_core()
        for thread in self._started:
            if self._placed.get(thread) != core:
                self._placed[thread] = core
                try:
                    os.sched_setaffinity(thread, (self._cores - {core}) or self._cores)
                except OSError:  # the cores of this process were changed from outside: leave it to the system
                    self._current_core = None
                    return


@functools.cache
def _pool(workers: int) -> _Pool:
    return _Pool(workers)


if hasattr(os, "register_at_fork"):  # a forked child has the pool's object but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


@functools.cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """One BLAS thread for each of ours: its own workers would only fight with them for the same cores.

    NOTE: put every matrix product inside. With several threads BLAS cuts a product differently and rounds differently,
    so that results would depend on their number.
    """
    global _blas_users, _blas_limit
    with _blas_lock:
        if _blas_users == 0:
            _blas_limit = _blas().limit(limits=1)
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0:
                _blas_limit.restore_original_limits()

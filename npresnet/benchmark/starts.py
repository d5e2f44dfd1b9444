"""Time and memory of a new process from its start to its first prediction."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from . import first_prediction
from .contestants import Contestant
from .material import Material
from .process import WorkerError, last_words, start, stop

REPEATS = 3


class Start(NamedTuple):
    """Of one process."""

    seconds: float  # from its start to the end of its first prediction
    peak_memory: int  # bytes; 0 if the system does not tell


def measure_starts(contestant: Contestant, material: Material, threads: int) -> dict[str, Any]:
    """Start processes for one picture each.

    Returns
    -------
    dict
        ``peak_memory_bytes``, ``start_seconds``, and for npresnet ``start_seconds_empty_cache``, where its compiled
        code is not yet on the disk; medians of :data:`REPEATS` processes.

    Raises
    ------
    WorkerError
        If a process ends without a prediction.
    """
    start_once(contestant, material, threads)  # files come into memory, compiled code onto the disk
    warm = [start_once(contestant, material, threads) for _ in range(REPEATS)]
    found: dict[str, Any] = {
        "peak_memory_bytes": int(statistics.median(s.peak_memory for s in warm)) or None,
        "start_seconds": statistics.median(s.seconds for s in warm),
    }
    if contestant.engine == "npresnet":
        cold = []
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory(dir=material.folder) as cache:
                cold.append(start_once(contestant, material, threads, {"NPRESNET_CACHE_DIR": cache}))
        found["start_seconds_empty_cache"] = statistics.median(s.seconds for s in cold)
    return found


def start_once(
    contestant: Contestant, material: Material, threads: int, changes: dict[str, str] | None = None
) -> Start:
    """Start one process, with some environment variables changed, and wait for its prediction."""
    file = {
        "npresnet": material.weights,
        "torch": material.transformers,
        "onnxruntime": material.onnx(contestant.precision),
    }[contestant.engine]
    program = os.fspath(Path(first_prediction.__file__).absolute())
    arguments = [contestant.engine, str(file), str(material.images), contestant.precision, str(threads)]
    log = material.folder / "start.log"
    before = time.perf_counter()
    process = start([program, *arguments], threads, log, changes)
    try:
        assert process.stdout is not None
        done = process.stdout.readline()
        seconds = time.perf_counter() - before
        memory = process.stdout.readline()
        if done != "done\n" or not memory:
            raise WorkerError(f"a new process ended with status {process.wait()}{last_words(log)}")
        return Start(seconds, int(memory))
    finally:
        stop(process)

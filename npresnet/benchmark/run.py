"""A whole benchmark: peers, peak, and one match for each model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from npresnet.config import ResNetConfig, preset

from .contestants import choose_peers, list_contestants
from .machine import describe_machine
from .match import Match, Request
from .material import Material
from .process import Process, WorkerError
from .progress import Notes, Progress


def run_benchmark(
    request: Request, progress: Progress, start_worker: Callable[[Path, int], Any] = Process
) -> dict[str, Any]:
    """Measure, and return a document of plain values for JSON.

    Parameters
    ----------
    request : Request
    progress : Progress
        Is told what is going on, and who is left out and why.
    start_worker : callable
        Takes a path for a log and a number of threads; returns a context manager with the method ``ask`` of
        :class:`.process.Process`.

    Raises
    ------
    BenchmarkError
        If no contestant is left for a model, or its material cannot be made.
    """
    note = Notes(progress)
    peers, missing = choose_peers(request.peers)
    for text in missing:
        note(text)
    progress.stage("measuring the processor's peak")
    before = _measure_peaks(request, note, start_worker)
    models = []
    for name in request.models:
        config = preset(name)
        size = request.size or usual_size(config)
        contestants, foreign = list_contestants(config, request.precisions, peers)
        for text in foreign:
            note(f"{name}: {text}")
        with tempfile.TemporaryDirectory(prefix="npresnet-bench-", ignore_cleanup_errors=True) as folder:
            match = Match(name, Material(Path(folder)), contestants, request, progress, note, start_worker)
            models.append({"model": name, "size": size, **match.play(config, size)})
    progress.stage("measuring the processor's peak again")
    after = _measure_peaks(request, note, start_worker)
    peaks = {precision: better(peak, after[precision]) for precision, peak in before.items()}
    for model in models:
        for result in model["results"]:
            if result["status"] == "timed":
                peak = peaks[result["precision"]]
                result["percent_of_peak"] = 100 * result["gflops"] / peak if peak else None
    return {
        "task": "inference",
        "machine": describe_machine(),
        "threads": request.threads,
        "rounds": request.rounds,
        "peak_gflops": peaks,
        "models": models,
        "notes": note.texts,
    }


def better(first: float | None, second: float | None) -> float | None:
    """The larger of two peaks: what else runs on a machine only makes them less."""
    return max((peak for peak in (first, second) if peak is not None), default=None)


def usual_size(config: ResNetConfig) -> int:
    """Height and width of the pictures that a family of networks is known for."""
    return 32 if config.stem_type == "cifar" else 224


def _measure_peaks(
    request: Request, note: Callable[[str], None], start_worker: Callable[[Path, int], Any]
) -> dict[str, float | None]:
    """What the processor can do at best with each precision, GFLOP/s."""
    precisions: Sequence[str] = list(dict.fromkeys([*request.precisions, "float32"]))
    with (
        tempfile.TemporaryDirectory(prefix="npresnet-bench-", ignore_cleanup_errors=True) as folder,
        start_worker(Path(folder) / "peak.log", request.threads) as worker,
    ):
        try:
            peaks: dict[str, float | None] = worker.ask("peak", precisions=precisions, threads=request.threads)[
                "gflops"
            ]
        except WorkerError as error:
            note(f"the processor's peak is not known: {error}")
            return dict.fromkeys(precisions)
    return peaks

"""A whole benchmark of training: one match for each model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npresnet.config import ResNetConfig, preset

from ..contestants import choose_peers
from ..machine import describe_machine
from ..process import Process
from ..progress import Notes, Progress
from ..run import usual_size
from .contestants import list_contestants
from .learners import LEARNING_RATE, MOMENTUM, WEIGHT_DECAY
from .match import Match
from .material import TrainingMaterial

PEERS = ("torch",)


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes
    ----------
    models : names of presets
    batches : pictures in a step, or None for what each model usually takes
    size : height and width of the pictures, or None for what each model usually takes
    peers : of :data:`PEERS`, or None for the installed ones
    threads : for every contestant
    rounds : turns of every contestant
    """

    models: Sequence[str]
    batches: Sequence[int] | None
    size: int | None
    peers: Sequence[str] | None
    threads: int
    rounds: int


def run_training_benchmark(
    request: Request, progress: Progress, start_worker: Callable[[Path, int], Any] = Process
) -> dict[str, Any]:
    """Measure, and return a document of plain values for JSON.

    Parameters
    ----------
    request : Request
    progress : Progress
        Is told what is going on, and who is left out and why.
    start_worker : callable
        See :func:`npresnet.benchmark.run.run_benchmark`.

    Raises
    ------
    BenchmarkError
        If no contestant is left for a model, or its material cannot be made.
    """
    note = Notes(progress)
    peers, missing = choose_peers(PEERS if request.peers is None else request.peers)
    for text in missing:
        note(text)
    models = []
    for name in request.models:
        config = preset(name)
        size = request.size or usual_size(config)
        batches = request.batches or [usual_batch(config)]
        contestants, foreign = list_contestants(config, peers)
        for text in foreign:
            note(f"{name}: {text}")
        with tempfile.TemporaryDirectory(prefix="npresnet-bench-", ignore_cleanup_errors=True) as folder:
            match = Match(
                name, TrainingMaterial(Path(folder)), contestants, batches, request.threads, request.rounds,
                progress, note, start_worker,
            )  # fmt: skip
            models.append({"model": name, "size": size, **match.play(config, size)})
    return {
        "task": "training",
        "machine": describe_machine(),
        "threads": request.threads,
        "rounds": request.rounds,
        "optimizer": {
            "name": "sgd", "learning_rate": LEARNING_RATE, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY,
        },
        "models": models,
        "notes": note.texts,
    }  # fmt: skip


def usual_batch(config: ResNetConfig) -> int:
    """Pictures in a step: as many as the paper takes for CIFAR, as many as a small machine can for ImageNet."""
    return 128 if config.stem_type == "cifar" else 8

"""Workers that have been built are timed in turns, and what follows from their times."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from . import turns
from .contestants import Contestant
from .process import WorkerError
from .progress import Progress

Times = Sequence[Sequence[float]]  # milliseconds of every call, in one list for each round


def time_in_turns(
    workers: Mapping[Contestant, Any], batch: int, rounds: int, progress: Progress
) -> tuple[dict[Contestant, list[list[float]]], dict[Contestant, str]]:
    """Let workers take turns.

    Parameters
    ----------
    workers : mapping of Contestant to worker
        Each has answered ``build`` or ``build_learner`` for this batch.
    batch, rounds : int
    progress : Progress
        Is told of each round.

    Returns
    -------
    times : dict of Contestant to one list of milliseconds for each round
    failures : dict of Contestant to str
        What went wrong with whom; it takes no turns from then on.
    """
    failures: dict[Contestant, str] = {}

    def turn(contestant: Contestant) -> list[float]:
        if contestant in failures:
            return []
        try:
            answer = workers[contestant].ask("time", batch=batch, seconds=turns.SECONDS, calls=turns.CALLS)
        except WorkerError as error:
            failures[contestant] = str(error)
            return []
        milliseconds: list[float] = answer["milliseconds"]
        return milliseconds

    times = turns.take_turns(
        list(workers), turn, rounds, turns.PAUSE, tell=lambda number: progress.step(f"round {number + 1} of {rounds}")
    )
    return times, failures


def figures(times: Times, ours: Times | None, batch: int) -> dict[str, Any]:
    """What follows from the times of a contestant and of the one that ratios refer to."""
    medians = turns.turn_medians(times)
    milliseconds = statistics.median(medians)
    return {
        "turn_medians_ms": medians,
        "median_ms": milliseconds,
        "min_ms": min(min(turn) for turn in times),
        "images_per_second": 1e3 * batch / milliseconds,
        "ratio": turns.paired_ratio(medians, turns.turn_medians(ours)) if ours else None,
    }

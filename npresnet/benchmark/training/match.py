"""One model: contestants take a step from the same weights, are checked, and take turns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npresnet.config import ResNetConfig

from .. import BenchmarkError
from ..check import described
from ..contestants import BASELINE, Contestant
from ..process import WorkerError
from ..progress import Progress
from ..timing import figures, time_in_turns
from .check import Verdict, failed, judge
from .material import TrainingMaterial


@dataclass
class Match:
    """Contestants of one model, and the material that all of them are given.

    Attributes
    ----------
    name : of the model
    material, contestants, batches, threads, rounds, progress
    note : told who is left out and why
    start_worker : see :func:`npresnet.benchmark.run.run_benchmark`
    """

    name: str
    material: TrainingMaterial
    contestants: list[Contestant]
    batches: Sequence[int]
    threads: int
    rounds: int
    progress: Progress
    note: Callable[[str], None]
    start_worker: Callable[[Path, int], Any]

    def play(self, config: ResNetConfig, size: int) -> dict[str, Any]:
        """Measure everything.

        Returns
        -------
        dict
            ``macs`` (of a picture's forward pass), ``params`` and ``results`` (one for each contestant and batch).
        """
        counts = self._prepare(config, size)
        results = []
        for batch in self.batches:
            with contextlib.ExitStack() as stack:  # new processes, so that the memory is that of this batch
                results += self._measure_batch(stack, batch)
        return {**counts, "results": results}

    def _prepare(self, config: ResNetConfig, size: int) -> dict[str, int]:
        """Make the material, in a process of its own so that this one stays small."""
        self.progress.stage(f"{self.name}: preparing weights, pictures and right steps")
        with self.start_worker(self.material.folder / "prepare.log", self.threads) as worker:
            try:
                counts: dict[str, int] = worker.ask(
                    "prepare_training", config=config.to_dict(), size=size, batches=list(self.batches),
                    folder=str(self.material.folder), engines=sorted({c.engine for c in self.contestants}),
                )  # fmt: skip
            except WorkerError as error:
                raise BenchmarkError(f"{self.name} cannot be prepared: {error}") from None
        return counts

    def _measure_batch(self, stack: contextlib.ExitStack, batch: int) -> list[dict[str, Any]]:
        """Check everyone's step, then let those who are right take turns."""
        workers, failures = self._build(stack, batch)
        self.progress.stage(f"{self.name}: checking batch {batch}")
        verdicts = {}
        for contestant, worker in workers.items():
            try:
                verdicts[contestant] = self._check(worker, batch)
            except WorkerError as error:
                failures[contestant] = str(error)
        self.progress.stage(f"{self.name}: timing batch {batch}")
        right = {contestant: workers[contestant] for contestant, verdict in verdicts.items() if verdict.right}
        times, stopped = time_in_turns(right, batch, self.rounds, self.progress)
        failures |= stopped
        ours = None if BASELINE in failures else times.get(BASELINE)
        results = []
        for contestant in self.contestants:
            failure = failures.get(contestant, "")
            result = described(contestant, batch, verdicts.get(contestant, failed(failure)), failure)
            if result["status"] == "timed":
                result |= figures(times[contestant], ours, batch)
                result["peak_memory_bytes"] = workers[contestant].ask("memory")["bytes"] or None
            results.append(result)
        return results

    def _build(self, stack: contextlib.ExitStack, batch: int) -> tuple[dict[Contestant, Any], dict[Contestant, str]]:
        """Start a worker for each contestant, which lives as long as the stack; return them, and what failed."""
        workers, failures = {}, {}
        for contestant in list(self.contestants):
            self.progress.stage(f"{self.name}: building {contestant.name}")
            log = self.material.folder / f"{contestant.name.replace(' ', '-')}.log"
            worker = stack.enter_context(self.start_worker(log, self.threads))
            try:
                worker.ask(
                    "build_learner", contestant=list(contestant), folder=str(self.material.folder), batch=batch,
                    threads=self.threads,
                )  # fmt: skip
            except WorkerError as error:
                if contestant.engine == "npresnet" and error.kind == "ValueError":  # such steps are not compiled
                    self.contestants.remove(contestant)
                    self.note(f"{self.name}: {contestant.name} is left out: {error}")
                else:
                    failures[contestant] = str(error)
            else:
                workers[contestant] = worker
        if not self.contestants:
            raise BenchmarkError(f"{self.name}: there is no contestant left to measure")
        return workers, failures

    def _check(self, worker: Any, batch: int) -> Verdict:
        """Compare what a contestant's first step leaves behind with what is right."""
        output = self.material.folder / "found.npz"
        worker.ask("check_step", output=str(output))
        with (
            np.load(output) as found,
            np.load(self.material.outcome(batch)) as right,
            np.load(self.material.weights) as before,
        ):
            return judge(found, right, before)

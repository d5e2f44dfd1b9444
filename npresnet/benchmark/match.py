"""One model: contestants with the same material are checked, take turns, and start anew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npresnet.config import ResNetConfig

from . import BenchmarkError
from .check import Verdict, described, failed, judge
from .contestants import BASELINE, Contestant
from .material import Material
from .process import WorkerError
from .progress import Progress
from .starts import measure_starts
from .timing import figures, time_in_turns


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes
    ----------
    models : names of presets
    batches : pictures in one call
    size : height and width of the pictures, or None for what each model usually takes
    peers : keys of :data:`.contestants.PEERS`, or None for the installed ones
    precisions : of npresnet
    threads : for every contestant
    rounds : turns of every contestant
    starts : whether to measure new processes as well
    """

    models: Sequence[str]
    batches: Sequence[int]
    size: int | None
    peers: Sequence[str] | None
    precisions: Sequence[str]
    threads: int
    rounds: int
    starts: bool = True


@dataclass
class Match:
    """Contestants of one model, and the material that all of them are given.

    Attributes
    ----------
    name : of the model
    material, contestants, request, progress
    note : told who is left out and why
    start_worker : see :func:`.run.run_benchmark`
    """

    name: str
    material: Material
    contestants: list[Contestant]
    request: Request
    progress: Progress
    note: Callable[[str], None]
    start_worker: Callable[[Path, int], Any]

    def __post_init__(self) -> None:
        self._workers: dict[Contestant, Any] = {}
        self._failures: dict[Contestant, str] = {}  # of those that could not even be built

    def play(self, config: ResNetConfig, size: int) -> dict[str, Any]:
        """Measure everything.

        Returns
        -------
        dict
            ``macs``, ``params``, ``results`` (one for each contestant and batch) and ``starts``.
        """
        counts = self._prepare(config, size)
        results = []
        with contextlib.ExitStack() as stack:
            self._build(stack)
            for batch in self.request.batches:
                results += self._measure_batch(batch, counts["macs"])
        timed = {result["contestant"] for result in results if result["status"] == "timed"}
        return {**counts, "results": results, "starts": self._measure_starts(timed) if self.request.starts else []}

    def _prepare(self, config: ResNetConfig, size: int) -> dict[str, int]:
        """Make the material, in processes of their own so that this one stays small."""
        self.progress.stage(f"{self.name}: preparing weights and pictures")
        folder, threads = self.material.folder, self.request.threads
        engines = sorted({contestant.engine for contestant in self.contestants})
        with self.start_worker(folder / "prepare.log", threads) as worker:
            try:
                counts: dict[str, int] = worker.ask(
                    "prepare", config=config.to_dict(), size=size, images=max(self.request.batches),
                    folder=str(folder), engines=engines,
                )  # fmt: skip
            except WorkerError as error:
                raise BenchmarkError(f"{self.name} cannot be prepared: {error}") from None
        quantized = Contestant("onnxruntime", "int8")
        if quantized in self.contestants:
            self.progress.stage(f"{self.name}: quantizing for {quantized.name}")
            with self.start_worker(folder / "quantize.log", threads) as worker:
                try:
                    worker.ask("quantize", folder=str(folder))
                except WorkerError as error:
                    self._failures[quantized] = str(error)
        return counts

    def _build(self, stack: contextlib.ExitStack) -> None:
        """Start a worker for each contestant; it lives as long as the stack."""
        for contestant in [c for c in self.contestants if c not in self._failures]:
            self.progress.stage(f"{self.name}: building {contestant.name}")
            log = self.material.folder / f"{contestant.name.replace(' ', '-')}.log"
            worker = stack.enter_context(self.start_worker(log, self.request.threads))
            try:
                worker.ask(
                    "build", contestant=list(contestant), folder=str(self.material.folder),
                    batches=list(self.request.batches), threads=self.request.threads,
                )  # fmt: skip
            except WorkerError as error:
                if contestant.engine == "npresnet" and error.kind == "ValueError":  # this processor cannot
                    self.contestants.remove(contestant)
                    self.note(f"{self.name}: {contestant.name} is left out: {error}")
                else:
                    self._failures[contestant] = str(error)
            else:
                self._workers[contestant] = worker
        if not self.contestants:
            raise BenchmarkError(f"{self.name}: there is no contestant left to measure")

    def _measure_batch(self, batch: int, macs: int) -> list[dict[str, Any]]:
        """Check everyone's logits, then let those who are right take turns."""
        self.progress.stage(f"{self.name}: checking batch {batch}")
        verdicts = {contestant: self._check(contestant, batch) for contestant in self._workers}
        self.progress.stage(f"{self.name}: timing batch {batch}")
        right = {contestant: self._workers[contestant] for contestant, verdict in verdicts.items() if verdict.right}
        times, failures = time_in_turns(right, batch, self.request.rounds, self.progress)
        failures |= self._failures
        ours = None if BASELINE in failures else times.get(BASELINE)
        results = []
        for contestant in self.contestants:
            failure = failures.get(contestant, "")
            verdict = verdicts.get(contestant, failed(failure))
            result = described(contestant, batch, verdict, failure)
            if result["status"] == "timed":
                result |= figures(times[contestant], ours, batch)
                result["gflops"] = 2e-9 * macs * result["images_per_second"]
            results.append(result)
        return results

    def _check(self, contestant: Contestant, batch: int) -> Verdict:
        """Compare a contestant's logits with the right ones."""
        output = self.material.folder / "found.npy"
        try:
            self._workers[contestant].ask("check", batch=batch, output=str(output))
        except WorkerError as error:
            return failed(str(error))
        return judge(np.load(output), np.load(self.material.logits)[:batch], contestant.precision)

    def _measure_starts(self, names: set[str]) -> list[dict[str, Any]]:
        """What a new process takes, for the contestants with these names."""
        found = []
        for contestant in self.contestants:
            if contestant.name not in names or contestant.way == "channels-last":  # a way to call, not to load
                continue
            self.progress.stage(f"{self.name}: starting {contestant.name}")
            try:
                measured = measure_starts(contestant, self.material, self.request.threads)
            except WorkerError as error:
                self.note(f"{self.name}: the start of {contestant.name} is not measured: {error}")
                continue
            found.append({"contestant": contestant.name, **measured})
        return found

"""The process of a contestant: ``python -m npresnet.benchmark.worker``.

It reads requests from stdin and writes answers to stdout, one JSON object a line. Between requests it sleeps on the
pipe and costs the others nothing. It ends when its stdin does, so it does not outlive the process that started it.

================  =========================================  =============================================
request           fields                                     answer
================  =========================================  =============================================
prepare           config, size, images, folder, engines      macs, params of the network; writes the files
quantize          folder                                     writes the int8 file for ONNX Runtime
peak              precisions, threads                        gflops by precision, null where there is none
build             contestant, folder, batches, threads       seconds it took
check             batch, output                              writes the logits to the file ``output``
time              batch, seconds, calls                      milliseconds of every call
memory                                                       bytes at most until now, 0 if it is not known
prepare_training  config, size, batches, folder, engines     macs, params of the network; writes the files
build_learner     contestant, folder, batch, threads         seconds it took; ``time`` then times steps
check_step        output                                     takes a step, writes what it leaves behind
================  =========================================  =============================================

Whatever goes wrong is an answer too: ``{"error": "...", "kind": "ValueError"}``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from .contestants import Contestant
from .first_prediction import peak_memory
from .material import Material

PEAK_ATTEMPTS = 3  # the best counts: what else runs on the machine only makes it less


class Worker:
    """Answers requests; keeps what was built for the ones that follow."""

    def __init__(self) -> None:
        self._calls: dict[int, Callable[[], Any]] = {}  # by batch
        self._learner: Any = None

    def prepare(self, config: dict[str, Any], size: int, images: int, folder: str, engines: list[str]) -> Any:
        """See :func:`.material.prepare`."""
        from npresnet.config import ResNetConfig

        from .material import prepare

        return prepare(ResNetConfig.from_dict(config), size, images, Path(folder), engines)

    def quantize(self, folder: str) -> Any:
        """See :func:`.quantized_onnx.quantize`."""
        from .quantized_onnx import quantize

        quantize(Material(Path(folder)))
        return {}

    def peak(self, precisions: list[str], threads: int) -> Any:
        """What the processor can do at best, GFLOP/s with two operations for a multiply-add."""
        from npresnet.engine import peak_gflops

        peaks: dict[str, float | None] = {}
        for precision in precisions:
            try:
                peaks[precision] = max(float(peak_gflops(precision, threads)) for _ in range(PEAK_ATTEMPTS))
            except ValueError:
                peaks[precision] = None
        return {"gflops": peaks}

    def build(self, contestant: list[str], folder: str, batches: list[int], threads: int) -> Any:
        """Load the contestant's file and make it ready for these batches."""
        from .runners import load_runner

        start = time.perf_counter()
        material = Material(Path(folder))
        bind = load_runner(Contestant(*contestant), material, threads)
        self._calls = {batch: bind(material.first_images(batch)) for batch in batches}
        return {"seconds": time.perf_counter() - start}

    def check(self, batch: int, output: str) -> Any:
        """Compute the logits of a batch."""
        np.save(output, np.asarray(self._calls[batch]()))
        return {}

    def prepare_training(
        self, config: dict[str, Any], size: int, batches: list[int], folder: str, engines: list[str]
    ) -> Any:
        """See :func:`.training.material.prepare`."""
        from npresnet.config import ResNetConfig

        from .training.material import prepare

        return prepare(ResNetConfig.from_dict(config), size, batches, Path(folder), engines)

    def build_learner(self, contestant: list[str], folder: str, batch: int, threads: int) -> Any:
        """Load the contestant's weights and make it ready to learn this batch."""
        from .training.learners import load_learner
        from .training.material import TrainingMaterial

        start = time.perf_counter()
        self._learner = load_learner(Contestant(*contestant), TrainingMaterial(Path(folder)), batch, threads)
        self._calls = {batch: self._learner.step}
        return {"seconds": time.perf_counter() - start}

    def check_step(self, output: str) -> Any:
        """Take a step and write its outcome."""
        from .training.outcome import save, take_step

        save(output, take_step(self._learner))
        return {}

    def memory(self) -> Any:
        """The largest memory this process has used."""
        return {"bytes": peak_memory()}

    def time(self, batch: int, seconds: float, calls: int) -> Any:
        """Call once to warm up, then for so many seconds, and at least so many times."""
        call = self._calls[batch]
        call()
        taken: list[float] = []
        end = time.perf_counter() + seconds
        before = time.perf_counter()
        while len(taken) < calls or before < end:
            call()
            after = time.perf_counter()
            taken.append(1e3 * (after - before))
            before = after
        return {"milliseconds": taken}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks for."""
        arguments = dict(request)
        try:
            answer: dict[str, Any] = getattr(self, arguments.pop("do"))(**arguments)
        except Exception as error:  # of whatever kind a peer raises: it is told, and the worker stays
            return {"error": " ".join(str(error).split()) or type(error).__name__, "kind": type(error).__name__}
        return answer


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer until the requests end."""
    worker = Worker()
    for line in requests:
        print(json.dumps(worker.answer(json.loads(line))), file=answers, flush=True)


def main() -> None:
    """Serve the pipes of this process."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what a library prints must not come between the answers
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()

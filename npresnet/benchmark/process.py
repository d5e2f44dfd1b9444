"""The other end of the pipes: start a process, ask it, and leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import npresnet


class WorkerError(Exception):
    """A worker that could not do what it was asked; ``kind`` is the name of the exception there."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Process:
    """A worker process; leaving the context ends it, whatever it is doing.

    Parameters
    ----------
    log : Path
        File for what it prints; it runs in the folder of this file.
    threads : int
        Of npresnet's ordinary forward pass; contestants are told theirs when they are built.
    """

    def __init__(self, log: Path, threads: int) -> None:
        self._log = log
        self._process = start(["-m", "npresnet.benchmark.worker"], threads, log)

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises
        ------
        WorkerError
            If the answer is an error, or the process ends instead of answering.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"its process ended with status {self._process.wait()}{last_words(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"], answer["kind"])
        return answer

    def close(self) -> None:
        """End the process."""
        stop(self._process)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start(
    arguments: list[str], threads: int, log: Path, changes: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start this Python with pipes to its stdin and stdout.

    Ctrl-C at the terminal does not reach it: this process stops it.
    """
    environment = {
        **os.environ,
        "NPRESNET_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "PYTHONIOENCODING": "utf-8",
        **(changes or {}),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages have their byte code on the disk
    parent = Path(npresnet.__file__).parents[1]
    if parent.name not in ("site-packages", "dist-packages"):  # a checkout may be importable from its folder only
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(parent), os.environ.get("PYTHONPATH")]))
    with open(log, "w") as errors:
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=log.parent,
            env=environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )


def stop(process: subprocess.Popen[str]) -> None:
    """Kill a process if it still runs, and close its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # an unsent request
                pipe.close()


def last_words(log: Path) -> str:
    """``": "`` and the last line that a process has written to its log, or nothing."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    words = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {words}" if words else ""

"""Work in a process for each task, some at a time: whatever happens to one, the others are done.

Not a pool: when a worker of a pool is killed, all tasks that wait for it are lost. A process of its own for every
submission costs half a second beside the many that marking takes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple

from .submission import SubmissionError

PATIENCE = 5.0
"""Seconds that a process has to clean up after it was asked to stop."""


class Outcome(NamedTuple):
    """What became of a task: an answer, or why there is none."""

    answer: bytes | None
    problem: str


@dataclass(frozen=True)
class _Running:
    name: str
    process: SpawnProcess
    connection: Connection
    deadline: float


def run_each(
    tasks: Iterable[tuple[str, tuple[Any, ...]]],
    work: Callable[..., bytes],
    *,
    jobs: int,
    seconds: float,
    started: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, Outcome]]:
    """Call ``work(*arguments)`` for every task, each in a new process, and yield the outcomes as they come.

    Parameters
    ----------
    tasks : iterable of (str, tuple)
        Names and arguments; taken as processes become free.
    work : callable
        A function of a module; returns bytes. A ``SubmissionError`` that it raises is told as it is; any other error
        is a mistake of the grader, told with its place.
    jobs : int
        Processes at a time.
    seconds : float
        After which a task is given up.
    started : callable, optional
        Called with the name of a task when it begins.

    Yields
    ------
    (str, Outcome)
        When the iteration is left early, running processes are stopped.
    """
    context = multiprocessing.get_context("spawn")  # no threads and locks of this process in the new one
    waiting = iter(tasks)
    running: list[_Running] = []
    done = False
    try:
        while running or not done:
            while not done and len(running) < max(jobs, 1):
                task = next(waiting, None)
                if task is None:
                    done = True
                    break
                name, arguments = task
                mine, its = context.Pipe(duplex=False)
                process = context.Process(target=_run, args=(its, work, arguments), name=f"grading {name}")
                process.start()
                its.close()
                running.append(_Running(name, process, mine, time.monotonic() + seconds))
                if started is not None:
                    started(name)
            if not running:
                break
            soon = max(min(one.deadline for one in running) - time.monotonic(), 0)
            events = wait([thing for one in running for thing in (one.connection, one.process.sentinel)], timeout=soon)
            for one in [one for one in running if one.connection in events or one.process.sentinel in events]:
                running.remove(one)
                yield one.name, _outcome(one)
            for one in [one for one in running if time.monotonic() >= one.deadline]:
                running.remove(one)
                _stop([one])
                yield one.name, Outcome(None, f"the grader was not done after {seconds:.0f} s")
    finally:
        _stop(running)


def _outcome(one: _Running) -> Outcome:
    """The answer of a process that sent one or ended."""
    try:
        received = one.connection.recv_bytes() if one.connection.poll() else b""
    except (EOFError, OSError):
        received = b""
    one.process.join(PATIENCE)
    _stop([one])
    if received[:1] == b"+":
        return Outcome(received[1:], "")
    if received[:1] == b"-":
        return Outcome(None, received[1:].decode(errors="backslashreplace"))
    code = one.process.exitcode
    ended = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit status {code}"
    return Outcome(None, f"the grader's process {ended}")


def _stop(running: list[_Running]) -> None:
    """End processes, giving them time to end those that they started."""
    for one in running:
        one.process.terminate()
    until = time.monotonic() + PATIENCE
    for one in running:
        one.process.join(max(until - time.monotonic(), 0))
        if one.process.is_alive():
            one.process.kill()
            one.process.join()
        one.connection.close()


def _run(connection: Connection, work: Callable[..., bytes], arguments: tuple[Any, ...]) -> None:
    """In the new process."""
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches all processes of a terminal; the first one decides
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # a message in the middle of the bar would help nobody
        os.dup2(nowhere, descriptor)
    try:
        answer = b"+" + work(*arguments)
    except SubmissionError as error:
        answer = b"-" + str(error).encode(errors="backslashreplace")
    except Exception as error:
        answer = b"-" + _describe(error).encode(errors="backslashreplace")
    with contextlib.suppress(BrokenPipeError):
        connection.send_bytes(answer)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Nothing goes on when the process that would take the answer was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(1)


def _describe(error: BaseException) -> str:
    """An error of the grader, with its place."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    return f"an error in the grader, please report it: {type(error).__name__}: {error}{where}"

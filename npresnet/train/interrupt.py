"""Ctrl-C and its relatives during training: finish the step, save, and say how to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Ctrl-C, the end that a system or a scheduler asks for, and a terminal that was closed."""

MESSAGE = b"\nnpresnet: stopping after this step; once more stops at once\n"


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped from outside, after a step; the message says what was saved and how to go on.

    Attributes
    ----------
    signal : int
        The number of the signal; 2 for Ctrl-C.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.signal = number


class Interrupts:
    """A context in which signals only leave a note; the second one raises ``KeyboardInterrupt``.

    Signals can be caught in the main thread alone. In others, and for signals that the program ignores (as under
    ``nohup``), nothing changes.

    Attributes
    ----------
    received : int or None
        The number of the signal that came.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):
                    continue
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        with contextlib.suppress(OSError):  # a print could be interrupted in the middle of another
            os.write(2, MESSAGE)

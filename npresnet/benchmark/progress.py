"""What a benchmark tells on stderr while it runs, which takes minutes.

NOTE: nothing here is animated. A spinner would be redrawn by a thread while a contestant takes its turn.
"""

from __future__ import annotations

import shutil
import sys
from types import TracebackType

ERASE = "\r\x1b[K"


class Progress:
    """One changing line on a terminal, a line for each stage elsewhere; notes stay in either case."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._stage = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._write(ERASE)

    def stage(self, text: str) -> None:
        """Something new begins."""
        self._stage = text
        self._write(self._line(text) if self._terminal else f"{text}\n")

    def step(self, text: str) -> None:
        """The same goes on."""
        if self._terminal:
            self._write(self._line(f"{self._stage}, {text}"))

    def note(self, text: str) -> None:
        """Something that the user should know."""
        self._write(f"{ERASE}note: {text}\n{self._line(self._stage)}" if self._terminal else f"note: {text}\n")

    @staticmethod
    def _line(text: str) -> str:
        return ERASE + text[: shutil.get_terminal_size().columns - 1]

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class Notes:
    """What the user should know, each thing once; ``texts`` is kept for the document."""

    def __init__(self, progress: Progress) -> None:
        self.texts: list[str] = []
        self._progress = progress

    def __call__(self, text: str) -> None:
        """Note something."""
        if text not in self.texts:
            self.texts.append(text)
            self._progress.note(text)

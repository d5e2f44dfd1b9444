"""What a training shows while it runs: a bar on a terminal, a line for each epoch anywhere else."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from .log import EpochRecord

INERTIA = 0.9  # of the measured speed: how much of the past remains with each new batch


@dataclass(frozen=True)
class Figures:
    """What is known after a batch: means over the epoch so far, and estimates.

    Attributes
    ----------
    epoch, epochs : int
        The current one, from 1, and all.
    batch, batches : int
        Of the epoch.
    loss, accuracy : float
    learning_rate : float
    images_per_second : float
    seconds_left : float
        To the end of the training.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float
    seconds_left: float


class Speed:
    """Estimates how fast training goes, and how long it will still take."""

    def __init__(self) -> None:
        self._per_image: float | None = None
        self._batches = 0
        self.validation = 0.0  # seconds of the last one

    def batch(self, images: int, seconds: float) -> None:
        """Take the time of a batch."""
        self._batches += 1
        per_image = seconds / max(images, 1)
        if self._per_image is None or self._batches == 2:  # the first batch also made machine code
            self._per_image = per_image
        else:
            self._per_image = INERTIA * self._per_image + (1 - INERTIA) * per_image

    @property
    def images_per_second(self) -> float:
        """0 if nothing was measured yet."""
        return 1 / self._per_image if self._per_image else 0.0

    def seconds_left(self, images: int, validations: int) -> float:
        """How long so many images and validations will take."""
        return images * (self._per_image or 0.0) + validations * self.validation


class Progress:
    """Shows nothing; base class of those that do."""

    def begin(self, text: str) -> None:
        """Before the first step: what is going to happen."""

    def batch(self, figures: Figures) -> None:
        """After a batch."""

    def validating(self, done: int, batches: int) -> None:
        """During validation."""

    def epoch(self, record: EpochRecord, epochs: int, is_best: bool) -> None:
        """At the end of an epoch."""

    def note(self, text: str) -> None:
        """Something that people should know."""

    def close(self) -> None:
        """At the end, whatever happened."""


class LineProgress(Progress):
    """A line on stderr for every epoch."""

    def begin(self, text: str) -> None:
        """See :class:`Progress`."""
        self.note(text)

    def epoch(self, record: EpochRecord, epochs: int, is_best: bool) -> None:
        """See :class:`Progress`."""
        self.note(format_epoch(record, epochs, is_best))

    def note(self, text: str) -> None:
        """See :class:`Progress`."""
        print(text, file=sys.stderr, flush=True)


class BarProgress(LineProgress):
    """The same, and below it a bar with the figures of the current epoch."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True, highlight=False)
        columns: tuple[Any, ...] = (
            TextColumn("{task.description}"), BarColumn(bar_width=8), TextColumn("{task.fields[figures]}"),
        )  # fmt: skip
        self._bar = Bar(*columns, console=self._console, transient=True, redirect_stdout=False)
        self._task = self._bar.add_task("starting", total=None, figures="")
        self._bar.start()

    def batch(self, figures: Figures) -> None:
        """See :class:`Progress`."""
        text = (
            f"loss {figures.loss:.3f}  acc {100 * figures.accuracy:.1f} %  lr {figures.learning_rate:.3g}  "
            f"{figures.images_per_second:,.0f} img/s  {format_time(figures.seconds_left)} left"
        )
        title = f"epoch {figures.epoch}/{figures.epochs}"
        self._bar.update(self._task, description=title, completed=figures.batch, total=figures.batches, figures=text)

    def validating(self, done: int, batches: int) -> None:
        """See :class:`Progress`."""
        self._bar.update(self._task, description="validating", completed=done, total=batches, figures="")

    def note(self, text: str) -> None:
        """See :class:`Progress`."""
        self._console.print(text, markup=False, soft_wrap=True)

    def close(self) -> None:
        """See :class:`Progress`."""
        self._bar.stop()


def make_progress(wanted: bool) -> Progress:
    """Return what suits stderr: a bar on a terminal, lines in a file, or nothing."""
    if not wanted:
        return Progress()
    return BarProgress() if sys.stderr.isatty() else LineProgress()


def format_epoch(record: EpochRecord, epochs: int, is_best: bool) -> str:
    """One line for an epoch."""
    parts = [
        f"epoch {record.epoch:{len(str(epochs))}}/{epochs}",
        f"loss {record.train_loss:.4f}",
        f"accuracy {100 * record.train_accuracy:.2f} %",
    ]
    if record.validation_accuracy is not None:
        best = " (best)" if is_best else ""
        parts.append(f"validation {record.validation_loss:.4f}, {100 * record.validation_accuracy:.2f} %{best}")
    parts += [
        f"lr {record.learning_rate:.3g}",
        f"{record.images_per_second:,.0f} images/s",
        format_time(record.seconds),
    ]
    return "  ".join(parts)


def format_time(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

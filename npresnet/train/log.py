"""What happened in each epoch, in memory and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..checkpoint.atomic import atomic_write

COMPLETE, STOPPED_EARLY, INTERRUPTED = "complete", "stopped early", "interrupted"


@dataclass(frozen=True)
class EpochRecord:
    """The figures of one epoch.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    step : int
        Steps of the optimiser since the beginning of the training.
    learning_rate : float
        Of the last step.
    train_loss, train_accuracy : float
        Means over the epoch, of the augmented images and in training mode; accuracy in [0, 1]. Where labels are mixed,
        the class with the largest part counts.
    validation_loss, validation_accuracy, validation_top5 : float or None
        In evaluation mode, of the moving average of the weights if there is one. Top-5 is None with 5 classes or less.
    images_per_second : float
        While training.
    seconds : float
        Of the whole epoch, with validation.
    """

    epoch: int
    step: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    validation_top5: float | None = None
    images_per_second: float = 0.0
    seconds: float = 0.0


@dataclass
class History:
    """What a training did; iterate over it for the :class:`EpochRecord` of every epoch.

    Attributes
    ----------
    records : list of EpochRecord
    best_epoch : int or None
        The one with the best validation (without validation data: the last), counted from 1.
    best_value : float or None
        Its accuracy or loss, whatever is monitored.
    outcome : str
        ``"complete"``, ``"stopped early"``, or ``"interrupted"`` as long as it is neither.
    """

    records: list[EpochRecord] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    outcome: str = INTERRUPTED

    def __iter__(self) -> Iterator[EpochRecord]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> EpochRecord:
        return self.records[index]

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain types, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> History:
        """Undo :meth:`to_dict`."""
        return cls(**{**values, "records": [EpochRecord(**record) for record in values["records"]]})


def format_csv(history: History) -> str:
    """Return a line for each epoch below the names of the fields; what is not known is empty."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([own.name for own in dataclasses.fields(EpochRecord)])
    for record in history:
        rows.writerow(["" if value is None else _short(name, value) for name, value in vars(record).items()])
    return text.getvalue()


def _short(name: str, value: Any) -> str:
    if name in ("images_per_second", "seconds"):
        return f"{value:.1f}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write_csv(history: History, path: str | os.PathLike[str]) -> None:
    """Replace a CSV file by that of a history, completely or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(format_csv(history), encoding="utf-8")

"""An evaluation for people: as text, and as files with tables and pictures."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint.atomic import atomic_write
from .metrics import Evaluation

LISTED = 20
"""With more classes, only the worst ones are printed."""


def format_evaluation(evaluation: Evaluation) -> str:
    """Return a table of the measures, of the classes and of the most frequent mistakes."""
    calibration = evaluation.calibration
    lines = [
        f"{_place(evaluation)}{evaluation.images:,} images, {_classes(evaluation)}",
        f"top-1             {_percent(evaluation.top1)}",
        *([] if evaluation.top5 is None else [f"top-5             {_percent(evaluation.top5)}"]),
        f"loss              {evaluation.loss:8.4f}",
        f"mean confidence   {_percent(calibration.mean_confidence)}",
        f"calibration error {_percent(calibration.error)}",
        "",
        *_class_lines(evaluation),
    ]
    mistakes = [f"{right} for {taken} ({count})" for right, taken, count in evaluation.most_confused()]
    return "\n".join([*lines, *(["", f"most often mistaken: {', '.join(mistakes)}"] if mistakes else [])])


def _place(evaluation: Evaluation) -> str:
    names = " on ".join(name for name in (evaluation.weights, evaluation.data) if name)
    return f"{names}: " if names else ""


def _classes(evaluation: Evaluation) -> str:
    present, known = int((evaluation.support > 0).sum()), len(evaluation.labels)
    return f"{known} classes" if present == known else f"{present} of {known} classes"


def _percent(part: float) -> str:
    return f"{100 * part:8.2f} %"


def _class_lines(evaluation: Evaluation) -> list[str]:
    accuracy, support = evaluation.class_accuracy, evaluation.support
    numbers: Sequence[int] = range(len(evaluation.labels))
    title = "class"
    if len(numbers) > LISTED:
        numbers = [int(n) for n in np.argsort(accuracy, kind="stable")[:LISTED]]  # NaN comes last
        title = f"worst {LISTED} classes"
    width = max(len(title), *(len(evaluation.labels[n]) for n in numbers))
    rows = [f"{title:<{width}}   images  accuracy"]
    for n in numbers:
        share = "         -" if np.isnan(accuracy[n]) else f"{100 * accuracy[n]:8.2f} %"
        rows.append(f"{evaluation.labels[n]:<{width}} {support[n]:8,} {share}")
    return rows


def save_evaluation(evaluation: Evaluation, folder: str | os.PathLike[str]) -> list[Path]:
    """Write an evaluation as files, each completely or not at all.

    Parameters
    ----------
    evaluation : Evaluation
    folder : path
        Created if it does not exist; files of an earlier evaluation are replaced.

    Returns
    -------
    list of Path
        ``evaluation.json``, ``classes.csv``, ``confusion.csv`` and, if matplotlib is installed, ``confusion.png`` and
        ``calibration.png``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(evaluation.to_dict(), indent=2, allow_nan=False) + "\n"
    classes = zip(
        evaluation.labels, evaluation.support, evaluation.class_accuracy, evaluation.class_precision, strict=True
    )
    tables: dict[str, str] = {
        "evaluation.json": document,
        "classes.csv": _csv(
            ["class", "images", "accuracy", "precision"],
            ([label, images, _cell(accuracy), _cell(precision)] for label, images, accuracy, precision in classes),
        ),
        "confusion.csv": _csv(
            ["class", *evaluation.labels],
            ([label, *row] for label, row in zip(evaluation.labels, evaluation.confusion.tolist(), strict=True)),
        ),
    }
    for name, content in tables.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    written = [folder / name for name in tables]
    if importlib.util.find_spec("matplotlib") is not None:
        from .figures import draw_calibration, draw_confusion

        for name, draw in {"confusion.png": draw_confusion, "calibration.png": draw_calibration}.items():
            with atomic_write(folder / name) as temporary:
                draw(evaluation, temporary)
            written.append(folder / name)
    return written


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _cell(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}"

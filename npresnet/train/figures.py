"""Pictures of an evaluation: confusion matrix and calibration. They need matplotlib."""

from __future__ import annotations

import os

import numpy as np

from .metrics import BINS, Evaluation

NAMED = 40
"""With more classes their names would overlap."""

COUNTED = 20
"""With more classes the numbers would."""


def draw_confusion(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Write a PNG: a square for each pair of classes, as dark as its share of the right class is large."""
    from matplotlib.figure import Figure  # not pyplot, which keeps state and may look for a display

    K = len(evaluation.labels)
    share = evaluation.confusion / np.maximum(evaluation.support, 1)[:, None]
    side = min(14.0, max(4.5, 2.5 + 0.42 * K))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    axes.set_title(f"{100 * evaluation.top1:.2f} % of {evaluation.images:,} images right", fontsize="medium")
    if K <= NAMED:
        axes.set_xticks(range(K), _plain_text(evaluation.labels), rotation=90 if K > 4 else 0)
        axes.set_yticks(range(K), _plain_text(evaluation.labels))
    if K <= COUNTED:
        for (i, j), count in np.ndenumerate(evaluation.confusion):
            if count:
                colour = "white" if share[i, j] > 0.5 else "black"
                axes.text(j, i, f"{count}", ha="center", va="center", color=colour, fontsize="x-small")
    figure.savefig(path, format="png", dpi=150)


def draw_calibration(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Write a PNG: the accuracy of images by their confidence, above how many images there are of each."""
    from matplotlib.figure import Figure

    calibration = evaluation.calibration
    figure = Figure(figsize=(5, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    centres = (np.arange(BINS) + 0.5) / BINS
    upper.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="perfect")
    upper.bar(centres, np.nan_to_num(calibration.accuracy), width=0.9 / BINS, color="#1f6fb4", label="accuracy")
    upper.set_ylabel("share of right images")
    upper.set_title(f"calibration error {100 * calibration.error:.2f} %", fontsize="medium")
    upper.legend(frameon=False, loc="upper left")
    lower.bar(centres, calibration.counts, width=0.9 / BINS, color="0.6")
    lower.set_ylabel("images")
    lower.set_xlabel("confidence")
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=150)


def _plain_text(labels: tuple[str, ...]) -> list[str]:
    """Names without the signs that matplotlib would read as mathematics."""
    return [label.replace("$", r"\$") for label in labels]

"""The outcome as a picture: one bar for each contestant, grouped by model and batch."""

from __future__ import annotations

import os
from typing import Any

from . import BenchmarkError
from .report import milliseconds

FORMATS = ("png", "pdf", "svg")
COLOURS = {"npresnet": "#1f6fb4", "torch": "#d9822b", "onnxruntime": "#6b6b6b"}


def need_matplotlib() -> None:
    """Raise a clear error early, before minutes of measuring.

    Raises
    ------
    ImportError
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'npresnet[plots]'") from None


def draw(document: dict[str, Any], path: str | os.PathLike[str], form: str) -> None:
    """Write a picture of a document of :func:`.run.run_benchmark` or :func:`.training.run.run_training_benchmark`.

    Parameters
    ----------
    document : dict
    path : path
    form : {"png", "pdf", "svg"}

    Raises
    ------
    BenchmarkError
        If there is nothing to draw.
    """
    from matplotlib.figure import Figure  # not pyplot, which keeps state and may look for a display

    groups = [
        (f"{model['model']}, batch {batch}", bars)
        for model in document["models"]
        for batch in dict.fromkeys(result["batch"] for result in model["results"])
        if (bars := [r for r in model["results"] if r["batch"] == batch and r["status"] == "timed"])
    ]
    if not groups:
        raise BenchmarkError("nothing was timed, so there is nothing to plot")
    heights = [len(bars) for _, bars in groups]
    figure = Figure(figsize=(8, 0.8 + sum(0.32 * height + 0.5 for height in heights)), layout="constrained")
    axes = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for (title, bars), axis in zip(groups, axes, strict=True):
        names = [bar["contestant"] for bar in bars]
        drawn = axis.barh(names, [bar["median_ms"] for bar in bars], color=[COLOURS[bar["engine"]] for bar in bars])
        axis.bar_label(drawn, [milliseconds(bar["median_ms"]) for bar in bars], padding=3)
        axis.invert_yaxis()  # the first contestant on top
        axis.margins(x=0.12)
        axis.set_title(title, loc="left", fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    unit = "ms of a training step" if document["task"] == "training" else "ms"
    axes[-1].set_xlabel(f"{unit}, {document['threads']} threads, {document['machine']['processor']}")
    figure.savefig(path, format=form, dpi=150)

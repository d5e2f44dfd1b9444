"""A picture of the curves of a training: loss, accuracy and learning rate over epochs. It needs matplotlib."""

from __future__ import annotations

import os

from .log import History


def need_matplotlib() -> str | None:
    """Return what to do for curves, or None if matplotlib is installed."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is not None:
        return None
    return "there will be no curves.png: pip install 'npresnet[plots]' brings matplotlib"


def draw_curves(history: History, path: str | os.PathLike[str]) -> None:
    """Write a PNG of the curves.

    Parameters
    ----------
    history : History
        With at least one epoch.
    path : path
        Replaced atomically.
    """
    from matplotlib.figure import Figure  # not pyplot, which keeps state and may look for a display
    from matplotlib.ticker import MaxNLocator

    from ..checkpoint.atomic import atomic_write

    epochs = [record.epoch for record in history]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    panels = (
        (loss, "loss", 1, [r.train_loss for r in history], [r.validation_loss for r in history]),
        (accuracy, "accuracy in %", 100, [r.train_accuracy for r in history], [r.validation_accuracy for r in history]),
    )
    for axes, title, scale, train, validation in panels:
        axes.plot(epochs, [scale * value for value in train], "o-", markersize=3, color="0.5", label="training")
        known = [(e, scale * value) for e, value in zip(epochs, validation, strict=True) if value is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "o-", markersize=3, color="#1f6fb4", label="validation")
            if history.best_epoch is not None:
                axes.axvline(history.best_epoch, color="#d9822b", linestyle=":", label=f"best: {history.best_epoch}")
        axes.set_title(title, loc="left", fontsize="medium")
        axes.legend(frameon=False, fontsize="small")
    rate.plot(epochs, [record.learning_rate for record in history], "o-", markersize=3, color="0.3")
    rate.set_title("learning rate at the end of the epoch", loc="left", fontsize="medium")
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)

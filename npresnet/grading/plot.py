"""The marks of a class as a picture: how points are spread, which tests fail, which mistakes are common."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .items import CommonMistake, Item
from .marks import Report
from .report.text import count, printable

FORMATS = ("png", "pdf", "svg")
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"  # of Okabe and Ito, as in the tutorials

BARS = 20
"""Items that are shown, those that fail most often."""

MISTAKES = 8
"""Mistakes that are shown."""


def check_plot(path: str | os.PathLike[str]) -> None:
    """Raise a clear error early, before an hour of marking.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If the name of the file ends in no format.
    FileNotFoundError
        If the directory does not exist.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'npresnet[plots]'") from None
    _format(path)
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {Path(path).parent}")


def draw_class(
    path: str | os.PathLike[str], reports: Sequence[Report], items: Sequence[Item], mistakes: Sequence[CommonMistake]
) -> None:
    """Write a picture of a class.

    Parameters
    ----------
    path : path
        Of a .png, .pdf or .svg file; replaced atomically.
    reports : sequence of Report
        At least one.
    items, mistakes : sequence
        Of :func:`.items.item_statistics` and :func:`.items.common_mistakes`.
    """
    from matplotlib.figure import Figure  # not pyplot, which keeps state and may look for a display
    from matplotlib.ticker import MaxNLocator

    from ..checkpoint.atomic import atomic_write

    form = _format(path)
    worst = sorted((item for item in items if item.failed), key=lambda item: -item.failing_share)[:BARS]
    height = max(4.5, 1.6 + 0.27 * len(worst))
    figure = Figure(figsize=(12, height), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[1, 1.15])
    left, right = halves
    spread, common = left.subplots(2, 1)
    failing = right.subplots()

    most = max(report.max_points for report in reports)
    points = [report.points for report in reports]
    spread.hist(points, bins=np.linspace(0, most or 1, 21), color=BLUE, edgecolor="white")
    mean = float(np.mean(points))
    spread.axvline(mean, color=ORANGE, linestyle=":", linewidth=1.8)
    spread.set_title(f"points of {count(len(reports), 'submission')}, mean {mean:.1f}", loc="left", fontsize="medium")
    spread.set_xlabel(f"points of {most:.6g}")
    spread.set_ylabel("submissions")
    spread.yaxis.set_major_locator(MaxNLocator(integer=True))

    shown = list(mistakes)[:MISTAKES]
    _bars(common, [_plain(mistake.name) for mistake in shown], [mistake.count for mistake in shown], GREEN)
    common.set_title("commonest mistakes", loc="left", fontsize="medium")
    common.set_xlabel("submissions")
    common.xaxis.set_major_locator(MaxNLocator(integer=True))

    names, shares = [_plain(item.name) for item in worst], [100 * item.failing_share for item in worst]
    _bars(failing, names, shares, BLUE, suffix=" %")
    failing.set_title("tests that fail most often", loc="left", fontsize="medium")
    failing.set_xlabel("% of submissions in which they fail")
    failing.set_xlim(0, 100)
    for axes in (spread, common, failing):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format=form, dpi=150)


def _bars(axes: Any, names: Sequence[str], values: Sequence[float], colour: str, suffix: str = "") -> None:
    if not names:
        axes.text(0.5, 0.5, "none", ha="center", va="center", color="0.4", transform=axes.transAxes)
        axes.set_yticks([])
        return
    places = range(len(names))  # two of one name are two bars
    drawn = axes.barh(places, values, color=colour)
    axes.set_yticks(places, names, fontsize="small")
    axes.bar_label(drawn, [f"{value:.0f}{suffix}" for value in values], padding=3, fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.12)


def _plain(name: str) -> str:
    """A name that fits, without the signs that matplotlib would read as mathematics."""
    short = printable(name, 10**6)
    short = short if len(short) <= 52 else f"{short[:49]}..."
    return short.replace("$", r"\$")


def _format(path: str | os.PathLike[str]) -> str:
    form = Path(path).suffix.lower().lstrip(".")
    if form not in FORMATS:
        raise ValueError(
            f"{path}: a plot is a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file; end its name in one of these"
        )
    return form

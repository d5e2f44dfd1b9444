"""Item statistics of a class: which test fails how often, which tells good work from poor, which mistakes are common.

An item is one returned value under one criterion of a part. Its *difficulty* is the mean share of its points that was
earned (1: everybody had it). Its *discrimination* is the correlation of that share with the points of all other items;
near 0 or below, the item measures something else than the rest, and may be unclear or wrong.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .class_table import write_rows
from .marks import Cell, Report

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Item:
    """One returned value under one criterion.

    Attributes
    ----------
    task, part, criterion, output : str
    taken : int
        Submissions in which it was marked.
    failed : int
        Those in which a public or hidden test of it failed.
    hidden_alone : int
        Those in which only hidden tests failed: work that fits the public cases.
    difficulty : float
    discrimination : float or None
        None if nothing can be said: fewer than three submissions, or all alike.
    """

    task: str
    part: str
    criterion: str
    output: str
    taken: int
    failed: int
    hidden_alone: int
    difficulty: float
    discrimination: float | None

    @property
    def failing_share(self) -> float:
        """Of all submissions in which it was marked."""
        return self.failed / self.taken

    @property
    def name(self) -> str:
        """For a table or a plot."""
        return f"{self.part}: {self.output}, {self.criterion}"


@dataclass(frozen=True)
class CommonMistake:
    """A mistake of the bank, and in how many submissions it was found."""

    name: str
    part: str
    hint: str
    count: int


def item_statistics(reports: Sequence[Report]) -> list[Item]:
    """All items in the order of the tasks.

    Parameters
    ----------
    reports : sequence of Report
        Of one assignment.
    """
    cells: dict[tuple[str, str, str, str], dict[int, list[Cell]]] = {}
    for index, report in enumerate(reports):
        for part in report.parts:
            for cell in part.cells:
                key = (part.task, part.name, cell.criterion, cell.output)
                cells.setdefault(key, {}).setdefault(index, []).append(cell)
    totals = np.array([report.points for report in reports], dtype=np.float64)
    return [_item(key, taken, totals) for key, taken in cells.items()]


def _item(key: tuple[str, str, str, str], taken: dict[int, list[Cell]], totals: np.ndarray) -> Item:
    points = np.array([sum(cell.points for cell in cells) for cells in taken.values()], dtype=np.float64)
    shares = np.array([_share(cells) for cells in taken.values()])
    rest = totals[list(taken)] - points
    failed = [cells for cells in taken.values() if not all(cell.passed for cell in cells)]
    hidden = [cells for cells in failed if all(cell.passed for cell in cells if not cell.hidden)]
    task, part, criterion, output = key
    difficulty = float(shares.mean())
    return Item(
        task, part, criterion, output, len(taken), len(failed), len(hidden), difficulty, _correlation(shares, rest)
    )


def _share(cells: Sequence[Cell]) -> float:
    most = sum(cell.max_points for cell in cells)
    if most > 0:
        return sum(cell.points for cell in cells) / most
    return float(all(cell.passed for cell in cells))


def _correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's, or None where one of them does not vary."""
    dx, dy = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((dx**2).sum() * (dy**2).sum()))
    if len(x) < 3 or scale <= 1e-12 * max(1.0, float(np.abs(x).max()) * float(np.abs(y).max())):
        return None
    return float(np.clip((dx * dy).sum() / scale, -1, 1))


def common_mistakes(reports: Sequence[Report]) -> list[CommonMistake]:
    """The mistakes that were recognised, the commonest first; each once a submission."""
    found: dict[str, CommonMistake] = {}
    for report in reports:
        seen = set()
        for part in report.parts:
            for cell in part.cells:
                failure = cell.failure
                if failure is None or failure.mistake is None or failure.mistake in seen:
                    continue
                seen.add(failure.mistake)
                before = found.get(failure.mistake)
                count = 1 if before is None else before.count + 1
                found[failure.mistake] = CommonMistake(failure.mistake, part.name, failure.hint, count)
    return sorted(found.values(), key=lambda mistake: (-mistake.count, mistake.name))


def write_items(path: str | os.PathLike[str], items: Sequence[Item]) -> None:
    """Write the statistics as CSV."""
    header = [
        "task", "function", "criterion", "output", "submissions", "failed", "failed hidden tests alone", "difficulty",
        "discrimination",
    ]  # fmt: skip
    rows = [
        [
            item.task, item.part, item.criterion, item.output, item.taken, item.failed, item.hidden_alone,
            round(item.difficulty, 4), "" if item.discrimination is None else round(item.discrimination, 4),
        ]
        for item in items
    ]  # fmt: skip
    write_rows(path, header, rows)


def write_mistakes(path: str | os.PathLike[str], mistakes: Sequence[CommonMistake]) -> None:
    """Write the mistakes as CSV."""
    header = ["mistake", "function", "submissions", "what it is"]
    write_rows(path, header, [[m.name, m.part, m.count, m.hint] for m in mistakes])


def print_items(
    items: Sequence[Item], mistakes: Sequence[CommonMistake], console: Console | None = None, most: int = 12
) -> None:
    """Print the items that fail most often, and the commonest mistakes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    look = {"box": box.SIMPLE_HEAD, "pad_edge": False, "show_edge": False, "padding": (0, 1, 0, 0)}
    worst = sorted((item for item in items if item.failed), key=lambda item: -item.failing_share)[:most]
    if worst:
        table = Table(title="Tests that fail most often", title_justify="left", title_style="bold", **look)  # type: ignore[arg-type]
        table.add_column("function: output, criterion", overflow="fold")
        for title in ("fail", "", "difficulty", "discrimination"):
            table.add_column(title, justify="right", no_wrap=True)
        for item in worst:
            discrimination = "-" if item.discrimination is None else f"{item.discrimination:.2f}"
            share = f"{100 * item.failing_share:.0f} %"
            numbers = (f"{item.failed} of {item.taken}", share, f"{item.difficulty:.2f}", discrimination)
            table.add_row(Text(item.name), *numbers)
        console.print(table)
    if mistakes:
        table = Table(title="Commonest mistakes", title_justify="left", title_style="bold", **look)  # type: ignore[arg-type]
        table.add_column("found", justify="right", no_wrap=True)
        table.add_column("mistake", overflow="fold")
        table.add_column("what it is", overflow="fold", ratio=1)
        for mistake in mistakes[:most]:
            table.add_row(str(mistake.count), Text(mistake.name), Text(mistake.hint))
        console.print()
        console.print(table)

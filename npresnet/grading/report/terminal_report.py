"""A report for people at a terminal: a table of the parts, and below it what is wrong with those that failed.

Colour only repeats what words say, and the layout holds in 80 columns, so that a pipe, a file and a terminal without
colours show the same.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ..marks import PartMark, Report
from .explanation import Explanation, explain, not_written, notes, state, total
from .text import count, listed, points
from .visible import View, student_view

if TYPE_CHECKING:
    from rich.console import Console

BAR = 10
"""Characters of a bar."""

MOST = 4
"""Reasons explained for one part; a student mends one at a time."""

COLOURS = {"passed": "green", "partly": "yellow", "not written": "dim", "hidden": "dim"}
"""Of the states of a part; all others are red."""

LINES = 8
"""Printed lines that are shown of a part."""


def render(report: Report, width: int = 80, colour: bool = False) -> str:
    """Return the report as text of at most ``width`` columns, with ANSI colours if asked for."""
    from rich.console import Console

    file = io.StringIO()
    system: Any = "standard" if colour else None
    console = Console(
        file=file, width=width, force_terminal=colour, color_system=system, legacy_windows=False, highlight=False,
        no_color=not colour,
    )  # fmt: skip
    print_report(report, console)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def print_report(report: Report, console: Console | None = None) -> None:
    """Print a report, by default on stdout with what the terminal there can do."""
    from rich.console import Console
    from rich.text import Text

    view = student_view(report)
    shown = view.report
    console = console or Console(highlight=False)
    console.print(Text(f"{shown.assignment}: {shown.submission}", style="bold"))
    console.print(_table(shown, ascii_only=console.options.ascii_only))
    console.print(_total(view))
    console.print(Text(view.sentence))
    for note in notes(shown):
        console.print(Text(note, style="yellow"))
    stubs = [part.name for part in shown.parts if not_written(part)]
    failing = [part for part in shown.parts if explain(part) and not not_written(part)]
    for part in failing:
        console.print()
        _print_part(part, console)
    if stubs:
        console.print()
        console.print(Text(f"Not written yet: {listed(stubs, 30)}."))
    if shown.isolation:
        console.print()
        console.print(Text(shown.isolation, style="dim"))


def _table(report: Report, ascii_only: bool) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("task", no_wrap=True)
    table.add_column("function", overflow="fold", min_width=25)
    table.add_column("", no_wrap=True)
    table.add_column("points", justify="right", no_wrap=True)
    table.add_column("tests", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for part in report.parts:
        word = state(part)
        colour = COLOURS.get(word, "red")
        passed = sum(cell.passed for cell in part.cells)
        table.add_row(
            Text(part.task),
            Text(part.name),
            Text(_bar(part.points, part.max_points, ascii_only), style=colour),
            Text(f"{points(part.points)} of {points(part.max_points)}"),
            Text(f"{passed}/{len(part.cells)}"),
            Text(word, style=colour),
        )
    return table


def _bar(value: float, most: float, ascii_only: bool) -> str:
    """Full only for all points, and empty only for none."""
    share = value / most if most > 0 else 0.0
    filled = round(BAR * share)
    if 0 < share < 1:
        filled = min(max(filled, 1), BAR - 1)
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    return full * filled + empty * (BAR - filled)


def _total(view: View) -> Any:
    from rich.text import Text

    report = view.report
    share = report.points / report.max_points if report.max_points else 0.0
    colour = "green" if share > 1 - 1e-9 else "yellow" if share > 0 else "red"
    text = Text()
    text.append(total(report), style=f"bold {colour}")
    public = " in the public tests" if view.withheld else ""
    return text.append(f"{public}, marked in {report.seconds:.1f} s")


def _print_part(part: PartMark, console: Console) -> None:
    from rich.text import Text

    explanations = explain(part)
    heading = Text(f"{part.task} {part.name}", style="bold")
    heading.append(f"  {points(part.points)} of {points(part.max_points)} points", style="not bold")
    console.print(heading)
    for explanation in explanations[:MOST]:
        _print_explanation(explanation, console)
    if len(explanations) > MOST:
        console.print(Text(f"  and {count(len(explanations) - MOST, 'other reason')}; mend these first", style="dim"))
    if part.stdout:
        console.print(Text("  printed", style="dim"))
        lines = part.stdout.splitlines()
        for line in lines[:LINES]:
            console.print(Text(f"    {line}", style="dim"), overflow="fold")
        if len(lines) > LINES:
            console.print(Text(f"    ... {count(len(lines) - LINES, 'more line')}", style="dim"))


def _print_explanation(explanation: Explanation, console: Console) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    headline = Text(explanation.headline, style="red", overflow="fold")
    headline.append(f"  (-{points(explanation.lost)})", style="not red")
    console.print(Padding(headline, (0, 0, 0, 2)))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for fact in explanation.facts:
        facts.add_row(Text(fact.label), Text(fact.text))
    console.print(Padding(facts, (0, 0, 0, 4)))

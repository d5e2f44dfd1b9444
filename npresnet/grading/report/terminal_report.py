"""A report for people at a terminal: a table of the parts, and below it what is wrong with those that failed.

Colour only repeats what words say, and the layout holds in 80 columns, so that a pipe, a file and a terminal without
colours show the same.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from ..handout.docstrings import wrapped
from ..marks import PartMark, Report
from ..texts import Texts
from .explanation import Explanation, explain, not_written, notes, of_most, of_points, state, total, total_of
from .text import listed, points
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

CLOSED = 2
"""Columns that are left for a full stop at the end of a line of Chinese, which begins none."""


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
    shown, say = view.report, view.say
    console = console or Console(highlight=False)
    console.print(Text(f"{shown.assignment}: {shown.submission}", style="bold"))
    console.print(_table(shown, ascii_only=console.options.ascii_only))
    console.print(_total(view))
    console.print(_flowing(view.sentence, console.width, say))
    for note in notes(shown):
        console.print(_flowing(note, console.width, say, "yellow"))
    stubs = [part.name for part in shown.parts if not_written(part)]
    failing = [part for part in shown.parts if explain(part) and not not_written(part)]
    for part in failing:
        console.print()
        _print_part(part, console, say)
    if stubs:
        console.print()
        text = say.phrase("Not written yet: {functions}.", functions=listed(stubs, 30, say))
        console.print(_flowing(text, console.width, say))
    if shown.isolation:
        console.print()
        console.print(_flowing(shown.isolation, console.width, say, "dim"))


def _flowing(text: str, width: int, say: Texts, style: str = "") -> Any:
    """Text in lines of at most ``width`` columns, which may be broken between any two Chinese characters."""
    from rich.text import Text

    if say.language == "en":
        return Text(text, style=style, overflow="fold")
    lines = wrapped(text, width - CLOSED)
    return Text("\n".join(lines), style=style, overflow="fold")


def _table(report: Report, ascii_only: bool) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    say = Texts(report.language)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(say.phrase("task"), no_wrap=True)
    table.add_column(say.phrase("function"), overflow="fold", min_width=25)
    table.add_column("", no_wrap=True)
    table.add_column(say.phrase("points"), justify="right", no_wrap=True)
    table.add_column(say.phrase("tests"), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for part in report.parts:
        word = state(part)
        colour = COLOURS.get(word, "red")
        passed = sum(cell.passed for cell in part.cells)
        table.add_row(
            Text(part.task),
            Text(part.name),
            Text(_bar(part.points, part.max_points, ascii_only), style=colour),
            Text(of_most(part, say)),
            Text(f"{passed}/{len(part.cells)}"),
            Text(say.phrase(word), style=colour),
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
    time = view.say.phrase("marked in {seconds} s", seconds=f"{report.seconds:.1f}")
    text = Text(view.say.phrase("{clause}, {next}", clause=total_of(view), next=time))
    start = text.plain.index(total(report))
    text.stylize(f"bold {colour}", start, start + len(total(report)))
    return text


def _print_part(part: PartMark, console: Console, say: Texts) -> None:
    from rich.text import Text

    explanations = explain(part, say)
    heading = Text(f"{part.task} {part.name}", style="bold")
    heading.append(f"  {of_points(part, say)}", style="not bold")
    console.print(heading)
    for explanation in explanations[:MOST]:
        _print_explanation(explanation, console)
    more = len(explanations) - MOST
    if more > 0:
        others = say.counted(
            more, "and {count} other reason; mend these first", "and {count} other reasons; mend these first"
        )
        console.print(Text(f"  {others}", style="dim"))
    if part.stdout:
        console.print(Text(f"  {say.phrase('printed')}", style="dim"))
        lines = part.stdout.splitlines()
        for line in lines[:LINES]:
            console.print(Text(f"    {line}", style="dim"), overflow="fold")
        if len(lines) > LINES:
            left = say.counted(len(lines) - LINES, "... {count} more line", "... {count} more lines")
            console.print(Text(f"    {left}", style="dim"))


def _print_explanation(explanation: Explanation, console: Console) -> None:
    from rich.cells import cell_len
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    say, facts = explanation.say, explanation.facts
    headline = _flowing(explanation.headline, console.width - 2, say, "red")
    headline.append(f"  {say.phrase('(-{points})', points=points(explanation.lost))}", style="not red")
    console.print(Padding(headline, (0, 0, 0, 2)))
    labels = max(cell_len(fact.label) for fact in facts)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for fact in facts:
        grid.add_row(Text(fact.label), _flowing(fact.text, max(console.width - 4 - labels - 2, 20), say))
    console.print(Padding(grid, (0, 0, 0, 4)))

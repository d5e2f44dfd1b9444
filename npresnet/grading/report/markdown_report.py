"""A report as Markdown (GitHub's), for a comment or an issue. Words of a submission only stand in code."""

from __future__ import annotations

import re

from ..marks import PartMark, Report
from .explanation import Explanation, explain, not_written, notes, state, total
from .text import address, listed, points
from .visible import student_view


def render(report: Report, tutorials: str = "tutorials") -> str:
    """Return a Markdown document.

    Parameters
    ----------
    report : Report
    tutorials : str
        The address or folder that links to the notebooks start with.
    """
    view = student_view(report)
    shown = view.report
    public = " in the public tests" if view.withheld else ""
    lines = [
        f"# {_escaped(shown.assignment)}",
        f"{_code(shown.submission)}: **{total(shown)}**{public}. {view.sentence}",
        *(_escaped(note) for note in notes(shown)),
        _table(shown),
    ]
    for part in shown.parts:
        if explain(part) and not not_written(part):
            lines += _part(part, tutorials)
    stubs = [_code(part.name) for part in shown.parts if not_written(part)]
    if stubs:
        lines.append(f"Not written yet: {listed(stubs, 30)}.")
    if shown.isolation:
        lines.append(f"*{_escaped(shown.isolation)}*")
    return "\n\n".join(lines) + "\n"


def _table(report: Report) -> str:
    rows = ["| task | function | points | tests | |", "|---|---|---:|---:|---|"]
    for part in report.parts:
        passed = sum(cell.passed for cell in part.cells)
        marks = f"{points(part.points)} of {points(part.max_points)} | {passed}/{len(part.cells)} | {state(part)}"
        rows.append(f"| {_escaped(part.task)} | {_code(part.name)} | {marks} |")
    return "\n".join(rows)


def _part(part: PartMark, tutorials: str) -> list[str]:
    lines = [f"## {_escaped(part.task)} {_code(part.name)}: {points(part.points)} of {points(part.max_points)} points"]
    lines += [_explanation(explanation, tutorials) for explanation in explain(part)]
    if part.stdout:
        lines.append(f"Printed:\n\n{_block(part.stdout)}")
    return lines


def _explanation(explanation: Explanation, tutorials: str) -> str:
    quote = _code if explanation.quotes else _escaped
    rows = [f"**{quote(explanation.headline)}** (-{points(explanation.lost)})", ""]
    for fact in explanation.facts:
        text = _escaped(fact.text)
        if fact.section:
            text = f"[{text}](<{_address(tutorials, fact.section)}>)"
        rows.append(f"- {fact.label}: {text}")
    return "\n".join(rows)


def _address(tutorials: str, section: str) -> str:
    return re.sub(r"[<>\s]", "", address(section, tutorials))


def _escaped(text: str) -> str:
    """Text without a meaning in Markdown or HTML, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~$&@:])", r"\\\1", text)


def _code(text: str) -> str:
    """Text as code, in a table, too; in code nothing is a link, a mention or a tag."""
    ticks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if not text or text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{ticks}{space}{text.replace('|', chr(0xFF5C))}{space}{ticks}"


def _block(text: str) -> str:
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}text\n{text.rstrip()}\n{fence}"

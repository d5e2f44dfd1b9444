"""A report as Markdown (GitHub's), for a comment or an issue. Words of a submission only stand in code."""

from __future__ import annotations

import re

from ..marks import PartMark, Report
from ..texts import Texts
from .explanation import Explanation, explain, not_written, notes, of_most, of_points, state, total
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
    shown, say = view.report, view.say
    result = f"**{total(shown)}**"
    if view.withheld:
        result = say.phrase("{total} in the public tests", total=result)
    lines = [
        f"# {_escaped(shown.assignment)}",
        say.phrase("{file}: {total}. {sentence}", file=_code(shown.submission), total=result, sentence=view.sentence),
        *(_escaped(note) for note in notes(shown)),
        _table(shown, say),
    ]
    for part in shown.parts:
        if explain(part) and not not_written(part):
            lines += _part(part, tutorials, say)
    stubs = [_code(part.name) for part in shown.parts if not_written(part)]
    if stubs:
        lines.append(say.phrase("Not written yet: {functions}.", functions=listed(stubs, 30, say)))
    if shown.isolation:
        lines.append(f"*{_escaped(shown.isolation)}*")
    return "\n\n".join(lines) + "\n"


def _table(report: Report, say: Texts) -> str:
    titles = (say.phrase(title) for title in ("task", "function", "points", "tests"))
    rows = [f"| {' | '.join(titles)} | |", "|---|---|---:|---:|---|"]
    for part in report.parts:
        passed = sum(cell.passed for cell in part.cells)
        marks = f"{of_most(part, say)} | {passed}/{len(part.cells)} | {say.phrase(state(part))}"
        rows.append(f"| {_escaped(part.task)} | {_code(part.name)} | {marks} |")
    return "\n".join(rows)


def _part(part: PartMark, tutorials: str, say: Texts) -> list[str]:
    function = f"{_escaped(part.task)} {_code(part.name)}"
    lines = [f"## {say.phrase('{label}: {text}', label=function, text=of_points(part, say))}"]
    lines += [_explanation(explanation, tutorials) for explanation in explain(part, say)]
    if part.stdout:
        lines.append(f"{say.phrase('Printed:')}\n\n{_block(part.stdout)}")
    return lines


def _explanation(explanation: Explanation, tutorials: str) -> str:
    quote, say = _code if explanation.quotes else _escaped, explanation.say
    rows = [f"**{quote(explanation.headline)}** {say.phrase('(-{points})', points=points(explanation.lost))}", ""]
    for fact in explanation.facts:
        text = _escaped(fact.text)
        if fact.section:
            text = f"[{text}](<{_address(tutorials, fact.section)}>)"
        rows.append(f"- {say.phrase('{label}: {text}', label=fact.label, text=text)}")
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

"""A report as one page that needs nothing else: no scripts, no fonts, no network. All text is escaped."""

from __future__ import annotations

from html import escape

from ..marks import PartMark, Report
from .explanation import Explanation, explain, not_written, notes, state, total
from .page_style import CSS
from .text import address, listed, points
from .visible import student_view

CLASSES = {"passed": "good", "partly": "some", "not written": "none", "hidden": "none"}
"""Of the states of a part; all others are bad."""


def render(report: Report, tutorials: str = "tutorials") -> str:
    """Return an HTML page.

    Parameters
    ----------
    report : Report
    tutorials : str
        The address or folder that links to the notebooks start with.
    """
    view = student_view(report)
    shown = view.report
    title = f"{shown.assignment}: {shown.submission}"
    public = " in the public tests" if view.withheld else ""
    body = [
        f"<h1>{escape(shown.assignment)}</h1>",
        f'<p><code>{escape(shown.submission)}</code>, <span class="faint">marked in {shown.seconds:.1f} s</span></p>',
        f'<p class="total">{total(shown)}{public}</p>',
        f"<p>{escape(view.sentence)}</p>",
        *(f"<p>{escape(note)}</p>" for note in notes(shown)),
        _table(shown),
    ]
    for part in shown.parts:
        if explain(part) and not not_written(part):
            body += _part(part, tutorials)
    stubs = [f"<code>{escape(part.name)}</code>" for part in shown.parts if not_written(part)]
    if stubs:
        body += ["<h2>Not written yet</h2>", f"<p>{listed(stubs, 30)}</p>"]
    if shown.isolation:
        body.append(f'<p class="faint">{escape(shown.isolation)}</p>')
    return PAGE.format(title=escape(title), css=CSS, body="\n".join(body))


PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def _table(report: Report) -> str:
    rows = [
        "<table>",
        "<caption>Points by function</caption>",
        '<thead><tr><th scope="col">task</th><th scope="col">function</th><th scope="col">share</th>'
        '<th scope="col" class="n">points</th><th scope="col" class="n">tests passed</th><th scope="col">result</th>'
        "</tr></thead>",
        "<tbody>",
    ]
    for part in report.parts:
        word = state(part)
        name = f"<code>{escape(part.name)}</code>"
        if explain(part) and not not_written(part):
            name = f'<a href="#{_anchor(part)}">{name}</a>'
        share = 100 * part.points / part.max_points if part.max_points else 0
        colour = CLASSES.get(word, "bad")
        bar = f'<span class="bar" aria-hidden="true"><span style="width: {share:.1f}%"></span></span>'
        passed = sum(cell.passed for cell in part.cells)
        rows.append(
            f'<tr><td>{escape(part.task)}</td><th scope="row">{name}</th>'
            f'<td class="{colour}">{bar}</td><td class="n">{points(part.points)} of {points(part.max_points)}</td>'
            f'<td class="n">{passed} of {len(part.cells)}</td><td class="{colour}">{word}</td></tr>'
        )
    return "\n".join([*rows, "</tbody>", "</table>"])


def _part(part: PartMark, tutorials: str) -> list[str]:
    marks = f"{points(part.points)} of {points(part.max_points)} points"
    heading = f"{escape(part.task)} <code>{escape(part.name)}</code>: {marks}"
    body = ["<section>", f'<h2 id="{_anchor(part)}">{heading}</h2>']
    for explanation in explain(part):
        body += _explanation(explanation, tutorials)
    if part.stdout:
        body.append(f'<p class="faint">It printed:</p>\n<pre>{escape(part.stdout)}</pre>')
    return [*body, "</section>"]


def _explanation(explanation: Explanation, tutorials: str) -> list[str]:
    rows = [f"<h3>{escape(explanation.headline)} (-{points(explanation.lost)})</h3>", "<dl>"]
    for fact in explanation.facts:
        text = escape(fact.text)
        if fact.section:
            text = f'<a href="{escape(_address(tutorials, fact.section))}">{text}</a>'
        rows.append(f"<dt>{escape(fact.label)}</dt><dd>{text}</dd>")
    return [*rows, "</dl>"]


def _anchor(part: PartMark) -> str:
    return escape("".join(c if c.isalnum() else "-" for c in f"part-{part.task}-{part.name}"))


def _address(tutorials: str, section: str) -> str:
    return address(section, tutorials)

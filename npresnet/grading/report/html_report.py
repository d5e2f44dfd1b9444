"""A report as one page that needs nothing else: no scripts, no fonts, no network. All text is escaped."""

from __future__ import annotations

from html import escape

from ..marks import PartMark, Report
from ..texts import Texts
from .explanation import Explanation, explain, not_written, notes, of_most, of_points, state, total_of
from .page_style import CSS
from .text import address, listed, points
from .visible import student_view

CLASSES = {"passed": "good", "partly": "some", "not written": "none", "hidden": "none"}
"""Of the states of a part; all others are bad."""

NUMBER = ' class="n"'
"""Of the heading of a column of numbers."""


def render(report: Report, tutorials: str = "tutorials") -> str:
    """Return an HTML page.

    Parameters
    ----------
    report : Report
    tutorials : str
        The address or folder that links to the notebooks start with.
    """
    view = student_view(report)
    shown, say = view.report, view.say
    file = f"<code>{escape(shown.submission)}</code>"
    seconds = escape(say.phrase("marked in {seconds} s", seconds=f"{shown.seconds:.1f}"))
    first = say.phrase("{clause}, {next}", clause=file, next=f'<span class="faint">{seconds}</span>')
    body = [
        f"<h1>{escape(shown.assignment)}</h1>",
        f"<p>{first}</p>",
        f'<p class="total">{escape(total_of(view))}</p>',
        f"<p>{escape(view.sentence)}</p>",
        *(f"<p>{escape(note)}</p>" for note in notes(shown)),
        _table(shown, say),
    ]
    for part in shown.parts:
        if explain(part) and not not_written(part):
            body += _part(part, tutorials, say)
    stubs = [f"<code>{escape(part.name)}</code>" for part in shown.parts if not_written(part)]
    if stubs:
        body += [f"<h2>{escape(say.phrase('Not written yet'))}</h2>", f"<p>{listed(stubs, 30, say)}</p>"]
    if shown.isolation:
        body.append(f'<p class="faint">{escape(shown.isolation)}</p>')
    title = escape(f"{shown.assignment}: {shown.submission}")
    return PAGE.format(language=shown.language, title=title, css=CSS, body="\n".join(body))


PAGE = """\
<!DOCTYPE html>
<html lang="{language}">
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


def _table(report: Report, say: Texts) -> str:
    titles = "".join(
        f'<th scope="col"{kind}>{escape(say.phrase(title))}</th>'
        for title, kind in (
            ("task", ""), ("function", ""), ("share", ""), ("points", NUMBER), ("tests passed", NUMBER), ("result", ""),
        )
    )  # fmt: skip
    rows = [
        "<table>",
        f"<caption>{escape(say.phrase('Points by function'))}</caption>",
        f"<thead><tr>{titles}</tr></thead>",
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
            f'<td class="{colour}">{bar}</td><td class="n">{of_most(part, say)}</td>'
            f'<td class="n">{say.phrase("{points} of {most}", points=passed, most=len(part.cells))}</td>'
            f'<td class="{colour}">{escape(say.phrase(word))}</td></tr>'
        )
    return "\n".join([*rows, "</tbody>", "</table>"])


def _part(part: PartMark, tutorials: str, say: Texts) -> list[str]:
    function = f"{escape(part.task)} <code>{escape(part.name)}</code>"
    heading = say.phrase("{label}: {text}", label=function, text=of_points(part, say))
    body = ["<section>", f'<h2 id="{_anchor(part)}">{heading}</h2>']
    for explanation in explain(part, say):
        body += _explanation(explanation, tutorials)
    if part.stdout:
        body.append(f'<p class="faint">{escape(say.phrase("It printed:"))}</p>\n<pre>{escape(part.stdout)}</pre>')
    return [*body, "</section>"]


def _explanation(explanation: Explanation, tutorials: str) -> list[str]:
    lost = explanation.say.phrase("(-{points})", points=points(explanation.lost))
    rows = [f"<h3>{escape(explanation.headline)} {escape(lost)}</h3>", "<dl>"]
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

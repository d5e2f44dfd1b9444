"""A report as Gradescope's ``results.json``: points, a test for every cell, and a leaderboard of speed.

The score counts hidden tests, as Gradescope shows it to students only when the hidden tests may be seen. What a test
says obeys ``report.feedback`` all the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from ..marks import Cell, PartMark, Report
from ..texts import Texts
from .explanation import cell_name, explain_alone, notes
from .text import printable
from .visible import View, student_view

VISIBILITIES = ("hidden", "after_due_date", "after_published", "visible")


def render(report: Report, hidden_visibility: str = "after_published") -> str:
    """Return the content of ``results.json``.

    Parameters
    ----------
    report : Report
    hidden_visibility : {"hidden", "after_due_date", "after_published", "visible"}
        Who may see hidden tests, and when. With ``feedback="none"`` they are always ``hidden``.

    Raises
    ------
    ValueError
        If the visibility or ``report.feedback`` is none of those that exist.
    """
    if hidden_visibility not in VISIBILITIES:
        raise ValueError(f"hidden_visibility must be one of {', '.join(VISIBILITIES)}, found {hidden_visibility!r}")
    view = student_view(report)
    if report.feedback == "none":
        hidden_visibility = "hidden"
    document = {
        "score": round(report.points, 6),
        "execution_time": max(0, round(report.seconds)),
        "output": "\n".join([view.sentence, *notes(view.report), view.report.isolation]).strip(),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": list(_tests(report, view, hidden_visibility)),
        "leaderboard": _leaderboard(view.report),
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _tests(report: Report, view: View, hidden_visibility: str) -> Iterator[dict[str, Any]]:
    for part, shown in zip(report.parts, view.report.parts, strict=True):
        left = iter(shown.cells)
        for index, cell in enumerate(part.cells, start=1):
            visible_cell = None if cell.hidden and view.withheld else next(left)
            output = "" if visible_cell is None else _output(visible_cell, view.say)
            yield {
                "score": round(cell.points, 6),
                "max_score": round(cell.max_points, 6),
                "status": "passed" if cell.passed else "failed",
                "name": _name(part, cell, view.say),
                "number": f"{printable(part.task)}.{index}",
                "output": output,
                "output_format": "text",
                "tags": [printable(part.name), "hidden" if cell.hidden else "public"],
                "visibility": hidden_visibility if cell.hidden else "visible",
            }


def _name(part: PartMark, cell: Cell, say: Texts) -> str:
    return printable(say.phrase("{label}: {text}", label=part.name, text=cell_name(cell, say)), say=say)


def _output(cell: Cell, say: Texts) -> str:
    """Of its own failure alone: every test stands for itself here."""
    if cell.failure is None:
        return say.phrase("right")
    return "\n".join(explain_alone(cell, say)).strip()


def _leaderboard(report: Report) -> list[dict[str, Any]]:
    """Parts whose public tests all pass, and how fast these are; hidden tests must not show here."""
    say = Texts(report.language)
    solved = [part for part in report.parts if _solved(part)]
    speeds = [part.speed for part in solved if part.speed is not None and part.speed > 0 and math.isfinite(part.speed)]
    mean = math.exp(sum(map(math.log, speeds)) / len(speeds)) if speeds else 0.0
    return [
        {"name": say.phrase("parts solved"), "value": len(solved), "order": "desc"},
        {"name": say.phrase("speed (1 = reference)"), "value": round(mean, 3), "order": "desc"},
    ]


def _solved(part: PartMark) -> bool:
    public = [cell for cell in part.cells if not cell.hidden]
    return bool(public) and all(cell.passed for cell in public)

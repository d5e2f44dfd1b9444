"""A report as JSON, for other programs: the fields of a Report, as far as they may be shown."""

from __future__ import annotations

import json

from ..marks import Report
from .plain_json import json_values
from .visible import student_view


def render(report: Report) -> str:
    """Return a JSON document; ``hidden_tests`` counts them all, ``not_shown`` those that are not in it."""
    view = student_view(report)
    values = json_values(view.report)
    if report.feedback != "full":
        del values["seed"]  # all hidden cases follow from it
    values["points"], values["max_points"] = view.report.points, view.report.max_points
    values["hidden_tests"], values["not_shown"] = view.hidden, view.withheld
    return json.dumps(values, indent=1, allow_nan=False) + "\n"

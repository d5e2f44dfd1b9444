"""Reports as JSON and back. NaN and infinity, which JSON does not have, are written as words."""

from __future__ import annotations

import json
import math
from typing import Any

from ..marks import Report

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NUMBERS = ("expected", "got", "error", "allowed", "wrong")  # fields of a failure that can be one of these


def report_to_json(report: Report) -> str:
    """Everything that a report holds, for :func:`report_from_json`; not for students."""
    return json.dumps(json_values(report), indent=1, allow_nan=False)


def report_from_json(text: str) -> Report:
    """The inverse of :func:`report_to_json`.

    Raises
    ------
    ValueError
        If the text is no report.
    """
    try:
        return report_from_values(json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is not the JSON of a report: {error}") from None


def json_values(report: Report) -> dict[str, Any]:
    """The fields of a report as values that strict JSON has."""
    values: dict[str, Any] = _strict(report.to_dict())
    return values


def report_from_values(values: dict[str, Any]) -> Report:
    """The inverse of :func:`json_values`."""
    for part in values["parts"]:
        for cell in part["cells"]:
            failure = cell["failure"] or {}
            for name in _NUMBERS:
                failure[name] = _WORDS.get(failure[name], failure[name]) if failure.get(name) is not None else None
    return Report.from_dict(values)


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(member) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.item() if hasattr(value, "item") else str(value)  # a number of NumPy

"""What a report looks like: on a terminal, for Gradescope, JUnit, as Markdown, as a page, as JSON.

All formats show what :func:`student_view` leaves, so that none says more of hidden tests than another. For everything
that is known, render a copy with ``feedback="full"``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

from ..marks import Report
from .visible import View, student_view

__all__ = ["FORMATS", "View", "render", "student_view", "write_report"]

FORMATS = ("terminal", "json", "gradescope", "junit", "markdown", "html")


def render(report: Report, format: str, **options: object) -> str:
    """Return a report as text.

    Parameters
    ----------
    report : Report
    format : {"terminal", "json", "gradescope", "junit", "markdown", "html"}
    **options
        Of the format: ``width`` and ``colour`` of the terminal; ``hidden_visibility`` of Gradescope, the visibility of
        hidden tests (``after_published``); ``tutorials`` of Markdown and HTML, the address or folder of the notebooks.

    Raises
    ------
    ValueError
        If the format or ``report.feedback`` is none of those that exist.
    """
    if format not in FORMATS:
        raise ValueError(f"there is no report format {format!r}; there are {', '.join(FORMATS)}")
    module = importlib.import_module(f"{__name__}.{format}_report")
    renderer: Callable[..., str] = module.render
    return renderer(report, **options)


def write_report(report: Report, path: str | os.PathLike[str], format: str, **options: object) -> None:
    """Write a report to a file, as UTF-8, whole or not at all.

    Parameters
    ----------
    report : Report
    path : path
        Replaced if it exists; its directory must exist.
    format, **options
        As for :func:`render`.

    Raises
    ------
    ValueError
        If the format or ``report.feedback`` is none of those that exist.
    OSError
        If the file cannot be written.
    """
    from ...checkpoint.atomic import atomic_write

    text = render(report, format, **options)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")

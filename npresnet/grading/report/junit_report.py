"""A report as JUnit XML, which any continuous integration shows: a suite for every part, a test case for every cell."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from ..marks import Cell, PartMark, Report
from ..texts import Texts
from .explanation import cell_name, explain_alone, notes
from .visible import student_view


def render(report: Report) -> str:
    """Return an XML document. Hidden tests that are not shown are counted in a property."""
    view = student_view(report)
    shown = view.report
    cells = [cell for part in shown.parts for cell in part.cells]
    root = ET.Element("testsuites", _counts(f"{shown.assignment}: {shown.submission}", cells, shown.seconds))
    for part in shown.parts:
        _add_suite(root, part, view.say)
    last = ET.SubElement(root, "testsuite", _counts(view.say.phrase("hidden tests"), [], 0))
    properties = {"hidden tests": str(view.hidden), "not shown": str(view.withheld)}
    _add_properties(last, properties)
    ET.SubElement(last, "system-out").text = "\n".join([view.sentence, *notes(shown), shown.isolation])
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_suite(root: ET.Element, part: PartMark, say: Texts) -> None:
    suite = ET.SubElement(root, "testsuite", _counts(f"{part.task} {part.name}", list(part.cells), part.seconds))
    _add_properties(suite, {"task": part.task, **_points(part)})
    for cell in part.cells:
        case = ET.SubElement(suite, "testcase", classname=part.name, name=cell_name(cell, say))
        _add_properties(case, _points(cell))
        if cell.failure is None:
            continue
        headline, text = explain_alone(cell, say)
        ET.SubElement(case, "failure", type=cell.failure.kind, message=headline).text = text
    if part.stdout:
        ET.SubElement(suite, "system-out").text = part.stdout


def _counts(name: str, cells: list[Cell], seconds: float) -> dict[str, str]:
    """The attributes of a suite."""
    numbers = {"tests": len(cells), "failures": sum(not cell.passed for cell in cells), "errors": 0, "skipped": 0}
    return {"name": name, **{key: str(value) for key, value in numbers.items()}, "time": f"{seconds:.3f}"}


def _points(marked: PartMark | Cell) -> dict[str, str]:
    return {"points": f"{marked.points:.6g}", "max_points": f"{marked.max_points:.6g}"}


def _add_properties(element: ET.Element, values: dict[str, str]) -> None:
    properties = ET.SubElement(element, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", name=name, value=value)

"""The outcome as text: a table of figures for each model, and one of its starts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

Rows = list[tuple[str, ...]]

RESULT_HEADING = (
    "contestant", "batch", "ms median", "ms min", "images/s", "GFLOP/s", "% of peak", "ratio", "error",
)  # fmt: skip
START_HEADING = ("contestant", "peak memory", "first prediction", "empty code cache")


def show(document: dict[str, Any]) -> None:
    """Print a document of :func:`.run.run_benchmark`: tables with rules on a terminal, aligned text elsewhere."""
    print(machine_line(document))
    for model in document["models"]:
        print()
        print(model_line(model))
        print_table(RESULT_HEADING, result_rows(model["results"]))
        for line in reasons(model["results"]):
            print(line)
        if model["starts"]:
            print()
            print_table(START_HEADING, start_rows(model["starts"]))
    print()
    for line in LEGEND:
        print(line)


LEGEND = (
    "ratio: time compared with npresnet float32, median over rounds. GFLOP/s: two operations for a multiply-add.",
    "% of peak: Winograd's algorithm does fewer operations than are counted, so it may come to more than 100.",
    "error: largest difference of a logit (float32), root mean square (fewer bits), in standard deviations.",
)


def machine_line(document: dict[str, Any]) -> str:
    """Processor, threads and peaks."""
    peaks = [f"{peak:.0f} GFLOP/s {name}" for name, peak in document.get("peak_gflops", {}).items() if peak]
    line = f"{document['machine']['processor']}, {_count(document['threads'], 'thread')}"
    return f"{line}, measured peak {', '.join(peaks)}" if peaks else line


def model_line(model: dict[str, Any]) -> str:
    """Name and size of a model."""
    side, macs, params = model["size"], model["macs"] / 1e9, model["params"] / 1e6
    return f"{model['model']}, {side} x {side} pixels, {macs:.3g} GMACs, {params:.3g} M parameters"


def result_rows(results: Iterable[dict[str, Any]]) -> Rows:
    """Cells of the table of figures."""
    rows: Rows = []
    for result in results:
        first = (result["contestant"], str(result["batch"]))
        if result["status"] != "timed":
            rows.append((*first, result["status"], *["-"] * 5, error_text(result)))
            continue
        rows.append((
            *first,
            milliseconds(result["median_ms"]),
            milliseconds(result["min_ms"]),
            f"{result['images_per_second']:.1f}",
            f"{result['gflops']:.1f}",
            or_dash(result["percent_of_peak"], "{:.0f}"),
            or_dash(result["ratio"], "{:.2f}"),
            error_text(result),
        ))  # fmt: skip
    return rows


def start_rows(starts: Iterable[dict[str, Any]]) -> Rows:
    """Cells of the table of starts."""
    return [
        (
            start["contestant"],
            or_dash(start["peak_memory_bytes"] and start["peak_memory_bytes"] / 1e6, "{:.0f} MB"),
            or_dash(start["start_seconds"], "{:.2f} s"),
            or_dash(start.get("start_seconds_empty_cache"), "{:.2f} s"),
        )
        for start in starts
    ]


def reasons(results: Iterable[dict[str, Any]]) -> list[str]:
    """A line for everyone that was not timed."""
    return [
        f"{result['contestant']}, batch {result['batch']}: {result['status']}: {result['reason']}"
        for result in results
        if result["status"] != "timed"
    ]


def error_text(result: dict[str, Any]) -> str:
    """``2e-06``, or with fewer bits ``0.031, top-1 8/8``."""
    error = result["error"]
    if result["precision"] == "float32":
        return or_dash(error["largest"], "{:.0e}")
    if error["rms"] is None:
        return "-"
    return f"{error['rms']:.2g}, top-1 {round(error['top1'] * result['batch'])}/{result['batch']}"


def milliseconds(value: float) -> str:
    """With three digits or more."""
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell: the first flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def print_table(heading: Sequence[str], rows: Rows) -> None:
    """With rules on a terminal, as aligned text elsewhere."""
    if not sys.stdout.isatty():
        print("\n".join(aligned([heading, *rows])))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for number, title in enumerate(heading):
        table.add_column(title, justify="right" if number else "left", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    Console().print(table, highlight=False)


def or_dash(value: float | None, form: str) -> str:
    """A number in this form, or what stands for none."""
    return form.format(value) if value is not None else "-"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"

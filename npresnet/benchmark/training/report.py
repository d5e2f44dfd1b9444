"""The outcome as text: a table of figures for each model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..report import Rows, machine_line, milliseconds, model_line, or_dash, print_table, reasons

HEADING = ("contestant", "batch", "ms median", "ms min", "images/s", "ratio", "peak memory", "error")

LEGEND = (
    "A step: forward, cross-entropy, backward, gradient descent with momentum. ratio: time compared with npresnet",
    "float32, median over rounds. error: of all weights after one step, relative to their change. 1e-3 is usual: where",
    "the input of a ReLU rounds to the other side of zero, a gradient is switched on or off.",
)


def show(document: dict[str, Any]) -> None:
    """Print a document of :func:`.run.run_training_benchmark`."""
    print(machine_line(document))
    for model in document["models"]:
        print()
        print(model_line(model))
        print_table(HEADING, result_rows(model["results"]))
        for line in reasons(model["results"]):
            print(line)
    print()
    for line in LEGEND:
        print(line)


def result_rows(results: Iterable[dict[str, Any]]) -> Rows:
    """Cells of the table of figures."""
    rows: Rows = []
    for result in results:
        first, error = (result["contestant"], str(result["batch"])), or_dash(result["error"]["weights"], "{:.0e}")
        if result["status"] != "timed":
            rows.append((*first, result["status"], *["-"] * 4, error))
            continue
        memory = result["peak_memory_bytes"]
        rows.append((
            *first,
            milliseconds(result["median_ms"]),
            milliseconds(result["min_ms"]),
            f"{result['images_per_second']:.1f}",
            or_dash(result["ratio"], "{:.2f}"),
            or_dash(memory and memory / 1e6, "{:.0f} MB"),
            error,
        ))  # fmt: skip
    return rows

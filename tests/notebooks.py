"""Run notebooks as a reader would: all cells in order, in a fresh kernel, in a copy of their folder.

    python tests/notebooks.py [NAME ...]        run tutorials (all by default) and store their outputs

Stored notebooks hold no execution times, and only what the format needs of the rest.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
TUTORIALS = ROOT / "tutorials"
VARIES = "varies"
"""Tag of cells whose output differs from one computer, or one set of default weights, to another."""


def names() -> list[str]:
    """File names of all tutorials, in order."""
    return sorted(path.name for path in TUTORIALS.glob("*.ipynb"))


def execute(path: Path, scratch: Path) -> NotebookNode:
    """Return the notebook with fresh outputs; nothing is written beside it.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell raises.
    """
    folder = scratch / path.parent.name
    shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    notebook = nbformat.read(path, as_version=4)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "IPYTHONDIR": str(scratch / "ipython"),  # not the reader's own start-up files
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "COLUMNS": "80",
        "http_proxy": "http://127.0.0.1:9",  # nobody listens there: a notebook must not download
        "https_proxy": "http://127.0.0.1:9",
    }
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


def text_of(cell: NotebookNode) -> str:
    """What a cell has printed and shown, as plain text."""
    parts: list[str] = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts.append(f"{output.ename}: {output.evalue}\n")
        else:
            parts.append(output.data.get("text/plain", "") + "\n")
    return "".join(parts)


def differences(stored: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Describe the code cells, other than those tagged as varying, whose text is not the stored one."""
    found = []
    for before, after in zip(stored.cells, fresh.cells, strict=True):
        if before.cell_type != "code" or VARIES in before.metadata.get("tags", []):
            continue
        if text_of(before) != text_of(after):
            found.append(f"cell {before.id}: stored\n{text_of(before)}\nfresh\n{text_of(after)}")
    return found


def clean(notebook: NotebookNode) -> NotebookNode:
    """Remove in place what changes from run to run without a meaning; return the notebook."""
    for cell in notebook.cells:
        cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
        for output in cell.get("outputs", []):
            if "metadata" in output:
                output.metadata = {}
    kernel: dict[str, Any] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return notebook


def main(wanted: list[str]) -> None:
    """Run the named tutorials and store them."""
    for name in wanted or names():
        path = TUTORIALS / (name if name.endswith(".ipynb") else f"{name}.ipynb")
        with tempfile.TemporaryDirectory() as scratch:
            fresh = execute(path, Path(scratch))
        nbformat.write(nbformat.from_dict(clean(fresh)), path)
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])

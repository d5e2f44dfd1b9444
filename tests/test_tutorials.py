"""Every notebook in tutorials/ runs, and prints what it says it prints."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode, v4
from notebooks import ROOT, TUTORIALS, clean, differences, execute, names


@pytest.mark.parametrize("name", names())
def test_runs_and_prints_what_is_stored(name: str, tmp_path: Path) -> None:
    before = sorted(path.name for path in TUTORIALS.iterdir())
    fresh = execute(TUTORIALS / name, tmp_path)
    wrong = differences(nbformat.read(TUTORIALS / name, as_version=4), fresh)
    assert not wrong, "\n".join(wrong)
    assert sorted(path.name for path in TUTORIALS.iterdir()) == before


@pytest.mark.parametrize("name", names())
def test_is_stored_complete_and_clean(name: str) -> None:
    path = TUTORIALS / name
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert clean(nbformat.read(path, as_version=4)) == notebook
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size < 700 * 1024
    assert max(len(line) for cell in code for line in cell.source.splitlines()) <= 100


@pytest.mark.parametrize("name", names())
def test_files_that_the_text_names_exist(name: str) -> None:
    notebook = nbformat.read(TUTORIALS / name, as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    files = re.findall(r"(?:npresnet|tests|weights)/[\w/]+\.py\b", text)
    missing = [file for file in files if not (ROOT / file).is_file()]
    missing += [file for file in re.findall(r"\b\d\d_\w+\.ipynb\b", text) if not (TUTORIALS / file).is_file()]
    assert not missing


def _notebook(folder: Path, source: str, stored: str, tags: list[str]) -> Path:
    cell = v4.new_code_cell(source, outputs=[v4.new_output("stream", text=stored)], metadata={"tags": tags})
    folder.mkdir()
    nbformat.write(v4.new_notebook(cells=[cell]), folder / "n.ipynb")
    return folder / "n.ipynb"


@pytest.mark.parametrize(
    ("stored", "tags", "differ"), [("4\n", [], False), ("5\n", [], True), ("5\n", ["varies"], False)]
)
def test_differences_are_noticed(tmp_path: Path, stored: str, tags: list[str], differ: bool) -> None:
    path = _notebook(tmp_path / "here", "open('written.txt', 'w').close()\nprint(2 + 2)", stored, tags)
    fresh: NotebookNode = execute(path, tmp_path / "scratch")
    assert bool(differences(nbformat.read(path, as_version=4), fresh)) is differ
    assert [p.name for p in path.parent.iterdir()] == ["n.ipynb"]


def test_an_error_in_a_cell_is_an_error(tmp_path: Path) -> None:
    path = _notebook(tmp_path / "here", "1 / 0", "", [])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(path, tmp_path / "scratch")

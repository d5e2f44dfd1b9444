"""``check`` and ``earned`` in a live notebook: what was run so far is marked, the latest version of each function."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import v4

from npresnet.grading.assignment import Assignment
from npresnet.grading.exports.nbgrader import source_notebook
from npresnet.grading.jupyter import check
from npresnet.grading.solution_source import solution_text

ROOT = Path(__file__).parents[1]
WRONG = "def relu_forward(x):\n    return np.abs(x), x > 0"
RAISES = "\n\ndef linear_forward(x, weight, bias):\n    return nothing, None"
RIGHT = "def relu_forward(x):\n    return np.maximum(x, 0), x > 0"


def run(cells: list[str], folder: Path) -> list[str]:
    """Run cells in a fresh kernel; returns what each printed and gave."""
    notebook = v4.new_notebook(
        cells=[v4.new_code_cell(text, metadata={"tags": ["raises-exception"]}) for text in cells]
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython")}
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute(env=environment)
    return ["".join(_text(output) for output in cell.outputs) for cell in notebook.cells]


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return str(output["data"]["text/plain"])


def test_a_live_notebook(tmp_path: Path) -> None:
    printed = run(
        [
            "import numpy as np\nfrom npresnet.grading.jupyter import check, earned",
            "def broken(:",
            "print(1)\n" + WRONG + RAISES,
            "check('relu_forward')",
            "check('linear_forward')",
            "check('relu_forwards')",
            RIGHT,
            "check('relu_forward')",
            "earned('relu_forward', points=2.5, seed=5, hidden_share=0.5)",
            WRONG,
            "earned('relu_forward', points=2.5)",
        ],
        tmp_path,
    )
    assert "0 of 1 points" in printed[3]
    assert "y has wrong values" in printed[3]
    assert "line: 6 of cell [3]" in printed[4]
    assert "did you mean 'relu_forward'" in printed[5]
    assert "1 of 1 points" in printed[7]
    assert "wrong" not in printed[7]
    assert printed[8].splitlines()[-1] == "2.5"
    assert "(hidden)" in printed[8]
    assert printed[10].splitlines()[-1] == "0.0"


def test_only_in_a_notebook() -> None:
    with pytest.raises(RuntimeError, match="works in a Jupyter notebook alone"):
        check("relu_forward")


def test_a_source_notebook_for_nbgrader() -> None:
    assignment = Assignment(tasks=("3.1", "5.2"), seed=424_242, points={"relu_forward": 1.5})
    text = source_notebook(assignment)
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    graded = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert [cell.metadata.nbgrader.points for cell in graded] == [1.5, assignment.parts()[1].points]
    assert all(cell.metadata.nbgrader.locked and not cell.metadata.nbgrader.solution for cell in graded)
    names = [cell.metadata.nbgrader.grade_id for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert len(set(names)) == len(names)
    assert {cell.metadata.nbgrader.schema_version for cell in notebook.cells if "nbgrader" in cell.metadata} == {3}
    released = [_released(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    assert "424242" in text
    assert not [source for source in released if "424242" in source]
    solution = {line.strip() for line in solution_text().splitlines() if line.strip().startswith(("return", "dx, "))}
    assert not [line for source in released for line in source.splitlines() if line.strip() in solution]


def test_the_solutions_in_it_run() -> None:
    notebook = json.loads(source_notebook(Assignment(seed=1)))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    solved = [source for source in cells if "### BEGIN SOLUTION" in source]
    names = [node.name for source in solved for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    known = [node.name for node in ast.parse(solution_text()).body if isinstance(node, ast.FunctionDef)]
    assert names == [name for name in known if not name.startswith("_")]
    import numpy as np

    space: dict[str, Any] = {"np": np}
    for source in solved:
        exec(source, space)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    ones = {f"bn{n}.{key}": np.ones(3) for n in (1, 2) for key in ("weight", "bias", "running_mean", "running_var")}
    weights = {f"conv{n}.weight": np.random.default_rng(n).normal(size=(3, 3, 3, 3)) for n in (1, 2)}
    y, cache = space["basic_block_forward"](x, {**ones, **weights})
    dx, _ = space["basic_block_backward"](y, cache)
    assert dx.shape == x.shape


def _released(source: str) -> str:
    """A cell without what nbgrader takes out."""
    lines, inside = [], False
    for line in source.splitlines():
        inside = inside or "### BEGIN" in line
        if not inside:
            lines.append(line)
        inside = inside and "### END" not in line
    return "\n".join(lines)

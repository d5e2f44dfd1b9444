"""The archive for Gradescope, unpacked and run as Gradescope does it: whatever is handed in, results.json is valid."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from npresnet.grading.assignment import Assignment
from npresnet.grading.assignment_file import parse_assignment
from npresnet.grading.exports.gradescope import PACKAGES, autograder_archive, write_archive
from npresnet.grading.solution_source import solution_text

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
ASSIGNMENT = Assignment(tasks=("3.1", "4.1"), seed=20_001, points={"relu_forward": 3, "linear_forward": 5})


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "autograder.zip", ASSIGNMENT)


@pytest.fixture
def root(archive: Path, tmp_path: Path) -> Path:
    """A folder like ``/autograder``, with the archive unpacked as ``unzip`` does it, and an empty submission."""
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-e", str(archive), str(tmp_path / "source")], check=True, timeout=60
    )
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            (tmp_path / "source" / info.filename).chmod(info.external_attr >> 16 & 0o777)
    (tmp_path / "submission").mkdir()
    return tmp_path


def run(root: Path, **environment: str) -> dict[str, Any]:
    """Run the autograder; returns the results."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    variables = {**kept, "NPRESNET_AUTOGRADER": str(root), "NPRESNET_PYTHON": sys.executable, **environment}
    done = subprocess.run(
        [root / "source" / "run_autograder"], env=variables, cwd="/", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((root / "results" / "results.json").read_text(encoding="utf-8"))
    assert [path.name for path in (root / "results").iterdir()] == ["results.json"]
    return dict(document)


def test_the_archive(archive: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        modes = {info.filename: info.external_attr >> 16 for info in content.infolist()}
        assert parse_assignment(content.read("coursework.toml").decode()) == ASSIGNMENT
        setup = content.read("setup.sh").decode()
    assert modes["setup.sh"] == modes["run_autograder"] == 0o100755
    assert modes["npresnet/grading/marking.py"] == 0o100644
    assert not [name for name in modes if "engine" in name or name.endswith((".npz", ".pyc"))]
    assert archive.stat().st_size < 600_000
    [install] = [line for line in setup.splitlines() if "pip install" in line]
    packages = "'numpy>=1.26' 'scipy>=1.11' 'threadpoolctl>=3.2' 'rich>=13' 'tomli>=2; python_version < \"3.11\"'"
    assert install.split("--no-cache-dir ")[1] == packages
    assert autograder_archive(ASSIGNMENT) == archive.read_bytes()
    allowing = ASSIGNMENT.replace(allow=("sympy.core", "scipy", "math"))
    with zipfile.ZipFile(io.BytesIO(autograder_archive(allowing))) as content:
        assert f"{packages} 'sympy'\n" in content.read("setup.sh").decode()


def test_the_solution_gets_all_points(root: Path) -> None:
    (root / "submission" / "resnet_layers.py").write_text(solution_text())
    document = run(root)
    assert document["score"] == pytest.approx(8)
    assert {test["status"] for test in document["tests"]} == {"passed"}
    assert sum(test["max_score"] for test in document["tests"]) == pytest.approx(8)
    hidden = [test for test in document["tests"] if test["visibility"] != "visible"]
    assert sum(test["max_score"] for test in hidden) == pytest.approx(4)
    assert str(ASSIGNMENT.seed) not in json.dumps(document)


def test_it_needs_nothing_but_what_is_installed(root: Path) -> None:
    """All other dependencies of the package are made impossible to import."""
    declared = re.findall(r'^    "([a-z]+)[>=]', PYPROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    installed = {re.split("[>=]", package)[0] for package in PACKAGES}
    others = {"pillow": "PIL", "pyyaml": "yaml"}
    missing = [others.get(name, name) for name in declared if name not in installed]
    assert {"numba", "PIL", "safetensors"} <= set(missing)
    block = f"import sys\nsys.modules.update(dict.fromkeys({missing!r}))\n"
    (root / "source" / "sitecustomize.py").write_text(block)
    (root / "submission" / "resnet_layers.py").write_text(solution_text())
    assert run(root, PYTHONPATH=str(root / "source"))["score"] == pytest.approx(8)
    (root / "source" / "npresnet" / "grading" / "marking.py").write_text("import no_such_module\n")
    assert "not your fault" in run(root)["output"]


def test_a_crash_costs_its_own_function(root: Path) -> None:
    text = "import os\n" + solution_text() + "\n\ndef linear_forward(x, weight, bias):\n    os._exit(0)\n"
    (root / "submission" / "resnet_layers.py").write_text(text.replace("import os\n", ""))
    document = run(root)
    assert document["score"] == pytest.approx(3)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "expected resnet_layers.py in this folder, found no .py or .ipynb"),
        ({"a.py": "x = 1", "b.py": "x = 1"}, "expected resnet_layers.py in this folder, found a.py, b.py"),
        ({"report.pdf": "x"}, "expected resnet_layers.py in this folder"),
        ({"resnet_layers.ipynb": "{"}, "not a Jupyter notebook"),
    ],
)
def test_what_cannot_be_read_is_explained(root: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (root / "submission" / name).write_text(text)
    document = run(root)
    assert document["score"] == 0
    assert document["output"].startswith("The submission could not be marked. ")
    assert message in document["output"]


def test_another_name_and_a_syntax_error_are_marked(root: Path) -> None:
    (root / "submission" / "my layers.py").write_text("def relu_forward(x:\n")
    document = run(root)
    assert document["score"] == 0
    assert document["tests"]
    assert all(test["score"] == 0 for test in document["tests"])


def test_a_grader_that_breaks_leaves_a_valid_document(root: Path) -> None:
    (root / "submission" / "resnet_layers.py").write_text(solution_text())
    (root / "source" / "npresnet" / "grading" / "marking.py").write_text("raise RuntimeError('broken')\n")
    document = run(root)
    assert (document["score"], document["tests"]) == (0, [])
    assert "not your fault" in document["output"]
    (root / "source" / "npresnet" / "grading" / "exports" / "autograder.py").write_text("raise RuntimeError\n")
    document = run(root)
    assert (document["score"], document["tests"]) == (0, [])
    assert "Not graded yet" in document["output"]


def test_a_marking_that_takes_too_long_is_stopped(root: Path) -> None:
    (root / "submission" / "resnet_layers.py").write_text(solution_text())
    (root / "source" / "npresnet" / "grading" / "marking.py").write_text("import time\ntime.sleep(100)\n")
    document = run(root, NPRESNET_SECONDS="2")
    assert document["score"] == 0
    assert "took too long" in document["output"]

"""``npresnet coursework``: folders, tables and files from the command line."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from tiny import run

from npresnet.grading.assignment import Assignment
from npresnet.grading.assignment_file import read_assignment
from npresnet.grading.parts import PARTS


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPRESNET_DEBUG", raising=False)


def test_a_new_folder_with_everything_decided(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(
        capsys, "coursework", "new", "ps1", "--task", "1.1-1.3,1.4", "--task", "2", "--points", "conv2d_backward=12",
        "--total", 50, "--hidden-share", 0.25, "--lang", "zh", "--seed", 7, "--title", "Layers", "--allow", "scipy",
        "--allow", "sympy", "--feedback", "none", "--file", "mine.py",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "6 tasks, 50 points" in out
    assert read_assignment("ps1/teacher") == Assignment(
        title="Layers", tasks=("1.1-1.3", "1.4", "2"), points={"conv2d_backward": 12.0}, total=50.0, hidden_share=0.25,
        language="zh", seed=7, feedback="none", allow=("scipy", "sympy"), file="mine.py",
    )  # fmt: skip
    assert Path("ps1/student/mine.ipynb").is_file()


def test_the_seed_is_a_secret_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        assert run(capsys, "coursework", "new", name)[0] == 0
    seeds = {read_assignment(f"{name}/teacher").seed for name in ("a", "b")}
    assert len(seeds) == 2
    assert min(seeds) > 2**20  # nobody finds it by trying
    assert read_assignment("a/teacher").title == "ResNet from scratch"


def test_an_assignment_to_start_from(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "coursework", "new", "a", "--points", "im2col=3", "--points", "linear_forward=4", "--lang", "zh")
    first = read_assignment("a/teacher")
    assert first.title == "从零实现 ResNet"
    run(capsys, "coursework", "new", "b", "--from", "a/teacher")
    assert read_assignment("b/teacher") == first
    run(capsys, "coursework", "new", "c", "--from", "a/teacher", "--task", "4", "--points", "linear_backward=5")
    assert read_assignment("c/teacher") == first.replace(
        tasks=("4",), points={"linear_forward": 4.0, "linear_backward": 5.0}
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--points", "im2col"], "--points must be NAME=N, such as conv2d_backward=12, found 'im2col'"),
        (["--points", "im2co=3"], "there is no function 'im2co'; did you mean 'im2col'?"),
        (["--points", "im2col=3", "--task", "2"], "the task of im2col is not set"),
        (["--points", "im2col=0"], "points.im2col must be a number above 0, found 0.0"),
        (["--task", "8"], "there is no task '8'"),
        (["--hidden-share", "2"], "hidden_share must be a number from 0 to 1, found 2.0"),
        (["--lang", "fr"], "language must be one of en, zh, found 'fr'"),
        (["--from", "gone.toml"], "gone.toml: No such file or directory"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    status, out, err = run(capsys, "coursework", "new", "ps1", *options)
    assert (status, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(Path().iterdir())


def test_a_folder_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "coursework", "new", "ps1")
    status, _, err = run(capsys, "coursework", "new", "ps1")
    assert (status, err) == (
        1, "npresnet: ps1 exists already, and nothing is overwritten; choose another name\n",
    )  # fmt: skip


def test_the_table_of_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "coursework", "tasks")
    assert (status, err) == (0, "")
    for part in PARTS.values():
        [line] = [line for line in out.splitlines() if line.split()[:2] == [part.task, part.name]]
        assert f"{part.points:g} points  {', '.join(part.outputs)}" in line
        assert "; ".join(criterion.name for criterion in part.criteria) in out
    assert out.endswith("100 points in all\n")
    run(capsys, "coursework", "new", "ps1", "--task", "2", "--points", "batchnorm2d_backward=12.5")
    _, out, _ = run(capsys, "coursework", "tasks", "ps1/student")
    assert "12.5 points" in out
    assert "im2col" not in out


def test_exports(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "coursework", "new", "ps1", "--task", "3.1,4.1", "--seed", 77)
    assert run(capsys, "coursework", "gradescope", "ps1/teacher", "-o", "a.zip")[0] == 0
    assert run(capsys, "coursework", "otter", "ps1/teacher", "-o", "otter")[0] == 0
    assert run(capsys, "coursework", "nbgrader", "ps1/teacher", "-o", "source/ps1/layers.ipynb")[0] == 0
    assert {"setup.sh", "run_autograder", "coursework.toml"} <= set(zipfile.ZipFile("a.zip").namelist())
    assert {path.name for path in Path("otter/student/tests").iterdir()} == {"relu_forward.py", "linear_forward.py"}
    assert json.loads(Path("source/ps1/layers.ipynb").read_text(encoding="utf-8"))["nbformat"] == 4
    for argv in (["otter", "ps1/teacher", "-o", "otter"], ["nbgrader", "ps1/teacher", "-o", "source/ps1/layers.ipynb"]):
        status, _, err = run(capsys, "coursework", *argv)
        assert status == 1
        assert "nothing is overwritten" in err
    status, _, err = run(capsys, "coursework", "gradescope", "ps1/teacher", "--minutes", 0)
    assert (status, err) == (1, "npresnet: the time limit must be at least 1 minute, found 0\n")

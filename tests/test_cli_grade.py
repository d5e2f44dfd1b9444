"""``npresnet grade`` as somebody types it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from npresnet.cli import main
from npresnet.grading.assignment import Assignment
from npresnet.grading.assignment_file import format_assignment
from npresnet.grading.solution_source import solution_text


@pytest.fixture
def solution(tmp_path):
    """The solution as a submission, in an empty folder."""
    file = tmp_path / "ann.py"
    file.write_text(solution_text())
    return file


@pytest.fixture
def wrong(tmp_path):
    """The same with a ReLU that lets everything through on the way back."""
    file = tmp_path / "bob.py"
    file.write_text(solution_text() + "\ndef relu_backward(dy, cache):\n    return dy\n")
    return file


def test_a_right_submission(solution, capsys):
    assert main(["grade", str(solution), "--task", "3.1,3.2", "--fail-under", "100"]) == 0
    out = capsys.readouterr().out
    assert "3 of 3 points" in out
    assert "relu_forward" in out


def test_a_wrong_one_is_explained_and_written_in_every_format(wrong, tmp_path, capsys):
    files = {name: tmp_path / f"report.{name}" for name in ("html", "markdown", "gradescope", "junit", "json")}
    options = [text for name, file in files.items() for text in (f"--{name}", str(file))]
    assert main(["grade", str(wrong), "--task", "3.2", "--fail-under", "50", *options]) == 1
    out = capsys.readouterr().out
    assert "0 of 2 points" in out
    assert "kind of mistake" in out
    assert json.loads(files["gradescope"].read_text())["score"] == 0
    assert ElementTree.parse(files["junit"]).getroot().tag == "testsuites"
    assert json.loads(files["json"].read_text())["submission"] == "bob"
    assert "relu_backward" in files["html"].read_text()
    assert "relu_backward" in files["markdown"].read_text()


def test_the_assignment_beside_the_submission_is_used(wrong, tmp_path, capsys):
    assignment = Assignment(title="Problem set 7", tasks=("3.1",), points={"relu_forward": 6.0}, hidden_share=0.0)
    (tmp_path / "coursework.toml").write_text(format_assignment(assignment))
    assert main(["grade", str(wrong)]) == 0
    out = capsys.readouterr().out
    assert "Problem set 7" in out
    assert "6 of 6 points" in out
    assert "no hidden tests" in out


def test_what_a_student_sees_of_hidden_tests_is_what_the_teacher_says(wrong, tmp_path, capsys):
    assignment = Assignment(tasks=("3.2",), seed=123, feedback="none")
    (tmp_path / "coursework.toml").write_text(format_assignment(assignment))
    assert main(["grade", str(wrong), "--student"]) == 0
    student = capsys.readouterr().out
    assert "hidden" in student
    assert main(["grade", str(wrong)]) == 0
    teacher = capsys.readouterr().out
    assert teacher.count("seed") >= student.count("seed")
    assert teacher != student


def test_public_cases_alone(wrong, capsys):
    assert main(["grade", str(wrong), "--task", "3.1", "--public"]) == 0
    assert "4/4" in capsys.readouterr().out


def test_results_for_gradescope_grow_with_every_part(solution, tmp_path, monkeypatch):
    from npresnet.grading import report

    write, seen = report.write_report, []

    def watched(made, file, format):
        write(made, file, format)
        seen.append(json.loads(results.read_text())["score"])

    monkeypatch.setattr(report, "write_report", watched)
    results = tmp_path / "results.json"
    assert main(["grade", str(solution), "--task", "3.1,3.2", "--jobs", "1", "--gradescope", str(results)]) == 0
    assert seen == [1, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["missing.py"], "no such file or folder"),
        (["ann.py", "--task", "9.9"], "9.9"),
        (["ann.py", "--html", "nowhere/a.html"], "no folder nowhere"),
        (["ann.py", "--assignment", "nowhere.toml"], "nowhere.toml"),
        (["ann.py", "--csv", "marks.csv"], "is one submission"),
        (["notes.txt"], r"not .txt"),
    ],
)
def test_bad_input_is_one_clear_line(solution, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    assert main(["grade", *options]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_file_that_is_not_python_is_explained(tmp_path, capsys):
    file = tmp_path / "ann.py"
    file.write_text("def relu_forward(x)\n    return x\n")
    assert main(["grade", str(file), "--task", "3.1"]) == 0
    out = capsys.readouterr().out
    assert "0 of 1 points" in out
    assert "not Python" in out

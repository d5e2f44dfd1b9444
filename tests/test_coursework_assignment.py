"""Assignments: what a teacher may decide, and the file that holds it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from npresnet.grading.assignment import Assignment, AssignmentError, expand_tasks
from npresnet.grading.assignment_file import format_assignment, format_public, parse_assignment, read_assignment
from npresnet.grading.parts import PARTS

TASKS = [part.task for part in PARTS.values()]


def test_all_parts_are_set_by_default() -> None:
    parts = Assignment().parts()
    assert [part.name for part in parts] == list(PARTS)
    assert sum(part.points for part in parts) == pytest.approx(100)


@pytest.mark.parametrize(
    ("wanted", "tasks"),
    [
        (("1.1",), ["1.1"]),
        (("2",), ["2.1", "2.2"]),
        (("1.2-1.4",), ["1.2", "1.3", "1.4"]),
        (("1.4 - 2",), ["1.4", "2.1", "2.2"]),
        (("2-4.1", "1.1"), ["1.1", "2.1", "2.2", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "4.1"]),
        ((), TASKS),
    ],
)
def test_tasks_chapters_and_ranges(wanted: tuple[str, ...], tasks: list[str]) -> None:
    assert expand_tasks(wanted, TASKS) == tasks
    assert [part.task for part in Assignment(tasks=wanted).parts()] == tasks


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("1.9", "there is no task '1.9'"), ("9", "no task '9'"), ("2-1", "ends before it begins; write 1-2")],
)
def test_tasks_that_do_not_exist(wanted: str, message: str) -> None:
    with pytest.raises(AssignmentError, match=message):
        Assignment(tasks=(wanted,)).parts()


def test_points_and_their_sum() -> None:
    parts = Assignment(tasks=("1.4", "2.1"), points={"conv2d_backward": 12}).parts()
    assert [part.points for part in parts] == [12, PARTS["batchnorm2d_forward"].points]
    scaled = Assignment(tasks=("1.4", "2.1"), points={"conv2d_backward": 12}, total=50).parts()
    assert sum(part.points for part in scaled) == pytest.approx(50)
    assert scaled[0].points / scaled[1].points == pytest.approx(parts[0].points / parts[1].points)
    assert PARTS["conv2d_backward"].points != 12


def test_some_tasks_of_an_assignment_keep_their_points() -> None:
    whole = Assignment(tasks=("1", "2"), points={"conv2d_backward": 12, "im2col": 1}, total=50)
    some = whole.restricted(["1.4", "2"])
    by_name = {part.name: part.points for part in whole.parts()}
    assert {part.name: part.points for part in some.parts()} == {
        name: by_name[name] for name in ("conv2d_backward", "batchnorm2d_forward", "batchnorm2d_backward")
    }
    with pytest.raises(AssignmentError, match=r"task 3\.1 is not set"):
        whole.restricted(["3.1"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("title", "", "title must be a line of text"),
        ("title", "a\nb", "title must be a line of text"),
        ("tasks", "1.1", "tasks must be a list of numbers"),
        ("tasks", ["one"], "one of them is 'one'"),
        ("points", [1], "points must be a table"),
        ("points", {"im2col": 0}, "points.im2col must be a number above 0, found 0"),
        ("points", {"im2col": "2"}, "points.im2col must be a number above 0, found '2'"),
        ("total", -1, "total must be a number above 0"),
        ("hidden_share", 1.5, "hidden_share must be a number from 0 to 1, found 1.5"),
        ("hidden_share", float("nan"), "hidden_share must be a number from 0 to 1"),
        ("language", "zn", "language must be one of en, zh, found 'zn'"),
        ("seed", -1, "seed must be a whole number"),
        ("seed", True, "seed must be a whole number"),
        ("seed", 1.0, "seed must be a whole number"),
        ("feedback", "kinds", "did you mean 'kind'"),
        ("seconds", 0, "seconds must be a number above 0"),
        ("memory_mb", 64, "memory_mb must be a whole number of at least 128"),
        ("allow", ["scipy signal"], "one of them is 'scipy signal'"),
        ("file", "../x.py", "name of a Python file"),
        ("file", "my-layers.py", "name of a Python file"),
        ("file", "layers.txt", "name of a Python file"),
    ],
)
def test_wrong_values_are_errors_that_name_the_key(key: str, value: object, message: str) -> None:
    with pytest.raises(AssignmentError, match=message.replace("(", r"\(")):
        Assignment(**{key: value})


FULL = Assignment(
    title='Layers, "by hand"', tasks=("1.1-1.4", "2"), points={"conv2d_backward": 12.0}, total=60.0, hidden_share=0.25,
    language="zh", seed=2**40 + 1, feedback="none", seconds=5.5, memory_mb=600, allow=("scipy", "math"), file="mine.py",
)  # fmt: skip


def test_the_fields_are_all_different_from_the_usual_ones() -> None:
    for own in dataclasses.fields(Assignment):
        assert getattr(FULL, own.name) != getattr(Assignment(), own.name)


@pytest.mark.parametrize("assignment", [FULL, Assignment()], ids=["full", "usual"])
def test_a_file_says_the_same(assignment: Assignment, tmp_path: Path) -> None:
    text = format_assignment(assignment)
    assert parse_assignment(text) == assignment
    (tmp_path / "coursework.toml").write_text(text, encoding="utf-8")
    assert read_assignment(tmp_path) == read_assignment(tmp_path / "coursework.toml") == assignment


def test_every_key_is_explained() -> None:
    for assignment in (FULL, Assignment()):
        lines = format_assignment(assignment).splitlines()
        for own in dataclasses.fields(Assignment):
            [line] = [line for line in lines if line.startswith((f"{own.name} =", f"# {own.name} =", f"[{own.name}]"))]
            assert len(line.lstrip("# ").partition("# ")[2]) > 8


def test_students_get_neither_seed_nor_hidden_cases() -> None:
    text = format_public(FULL)
    assert str(FULL.seed) not in text
    assert parse_assignment(text) == FULL.replace(seed=0, hidden_share=0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel = 'x'", "there is no key 'titel'; did you mean 'title'"),
        ("title = 'x", "this is not TOML"),
        ("seed = 'x'", "seed must be a whole number"),
        ("[points]\nconv2d_bakward = 3", "there is no function 'conv2d_bakward'; did you mean 'conv2d_backward'"),
        ("tasks = ['1.1']\n[points]\nconv2d_backward = 3", "the task of conv2d_backward is not set"),
        ("tasks = ['1.1', '7.7']", r"there is no task '7\.7'"),
    ],
)
def test_mistakes_in_a_file_name_the_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(AssignmentError, match=f"mine.toml: .*{message}"):
        read_assignment(path)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"title = '\xff'")
    with pytest.raises(AssignmentError, match="not a text file in UTF-8"):
        read_assignment(path)
    path.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(AssignmentError, match="too much"):
        read_assignment(path)

"""What is handed out: stubs that tell everything of the task and nothing of the solution."""

from __future__ import annotations

import ast
import json
import os
import re
from pathlib import Path

import pytest

from npresnet.grading import handout
from npresnet.grading.assignment import Assignment, AssignmentError
from npresnet.grading.assignment_file import read_assignment
from npresnet.grading.handout.functions import public_functions
from npresnet.grading.notebook import definitions
from npresnet.grading.parts import PARTS
from npresnet.grading.solution_source import solution_text

SECRET = 8_675_309_424_242
ALL = Assignment(seed=SECRET)
SOLUTION = {node.name: node for node in ast.parse(solution_text()).body if isinstance(node, ast.FunctionDef)}
PUBLIC = [name for name in SOLUTION if not name.startswith("_")]


def functions(text: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_stubs_have_the_signatures_of_the_solution_and_no_bodies(language: str) -> None:
    stubs = functions(handout.stub_file(ALL.replace(language=language)))
    assert list(stubs) == PUBLIC
    for name, stub in stubs.items():
        own, theirs = stub.args, SOLUTION[name].args
        assert [argument.arg for argument in own.args] == [argument.arg for argument in theirs.args]
        assert list(map(ast.dump, own.defaults)) == list(map(ast.dump, theirs.defaults))
        docstring, body = stub.body
        assert isinstance(docstring, ast.Expr)
        assert ast.unparse(body) == f"raise NotImplementedError('{name}')"


def test_stubs_say_what_the_solution_says() -> None:
    for name, stub in functions(handout.stub_file(ALL)).items():
        theirs = ast.get_docstring(SOLUTION[name]) or ""
        words = re.findall(r"\w+", theirs.replace(":func:", ""))
        assert re.findall(r"\w+", ast.get_docstring(stub) or "") == words
        assert ":func:" not in (ast.get_docstring(stub) or "")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_of_the_solution_and_no_seed_is_handed_out(language: str) -> None:
    lines = set()
    for node in SOLUTION.values():
        for statement in ast.walk(node):
            if isinstance(statement, (ast.Assign, ast.AugAssign, ast.Return, ast.For)):
                lines.add((ast.get_source_segment(solution_text(), statement) or "").splitlines()[0].strip())
    told = "\n".join(ast.get_docstring(node) or "" for node in SOLUTION.values())  # the formulas of the task itself
    long = {line for line in lines if len(line) > 25 and line not in told}
    assert len(long) > 80
    for name, text in handout.student_files(ALL.replace(language=language)).items():
        assert str(SECRET) not in text, name
        assert not [line for line in long if line in text], name
        assert not [private for private in SOLUTION if private.startswith("_") and private in text], name


def test_teachers_get_the_solution_and_the_seed() -> None:
    files = handout.teacher_files(ALL)
    assert files["solution.py"] == solution_text()
    assert str(SECRET) in files["coursework.toml"]


def test_a_backward_function_comes_with_its_forward_function() -> None:
    text = handout.stub_file(Assignment(tasks=("1.4", "4.3"), points={"conv2d_backward": 12}))
    assert list(functions(text)) == ["conv2d_forward", "conv2d_backward", "softmax_cross_entropy"]
    assert "# needed for task 1.4, no points of its own\ndef conv2d_forward(" in text
    assert "# task 1.4, 12 points\ndef conv2d_backward(" in text


def test_the_whole_needs_all_functions() -> None:
    assert list(functions(handout.stub_file(Assignment(tasks=("7.1",))))) == PUBLIC


def test_every_part_has_a_title() -> None:
    from npresnet.grading.handout.titles import CHAPTERS, TITLES

    assert list(TITLES) == list(PARTS)
    assert list(CHAPTERS) == sorted({part.task.split(".")[0] for part in PARTS.values()})


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_notebook_hands_in_the_same_stubs(language: str) -> None:
    assignment = ALL.replace(language=language)
    text = handout.stub_notebook(assignment)
    stubs = functions(handout.stub_file(assignment))
    from_notebook = functions(definitions(text))
    assert {name: ast.dump(node) for name, node in from_notebook.items()} == {
        name: ast.dump(node) for name, node in stubs.items()
    }
    sources = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
    assert [source for source in sources if source.startswith("check(")] == [
        *(f'check("{name}")' for name in PARTS), "check()",
    ]  # fmt: skip
    headings = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    for part in PARTS.values():
        assert sum(bool(re.match(rf"#+ \S+ {re.escape(part.task)}[:：]", heading)) for heading in headings) == 1


def test_the_notebook_is_valid() -> None:
    nbformat = pytest.importorskip("nbformat")
    for assignment in (ALL, Assignment(tasks=("1.4", "7.1"), language="zh")):
        nbformat.validate(nbformat.reads(handout.stub_notebook(assignment), as_version=4))


def test_the_readme_lists_tasks_points_and_rules() -> None:
    text = handout.student_readme(Assignment(tasks=("1",), points={"im2col": 2.5}, allow=("scipy",), seed=SECRET))
    assert "| 1.1 | `im2col` | Patches as columns | 2.5 |" in text
    assert "| 1.4 | `conv2d_backward` |" in text
    assert "`batchnorm2d_forward`" not in text
    assert "Import NumPy, scipy and the standard library" in text
    assert "50 % of the points are decided by hidden tests" in text
    assert "pytest --submission=resnet_layers.py -m task1_1" in text
    assert "There are no hidden tests" in handout.student_readme(Assignment(hidden_share=0))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_readmes_leave_no_name_in_braces(language: str) -> None:
    assignment = ALL.replace(language=language)
    for text in (handout.student_readme(assignment), handout.teacher_readme(assignment)):
        assert not re.search(r"\{\w+\}", text)


def test_a_folder_is_written_whole(tmp_path: Path) -> None:
    folder = handout.new_coursework(tmp_path / "deep" / "ps1", FULL := ALL.replace(tasks=("1",), file="mine.py"))
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        "student", "student/README.md", "student/conftest.py", "student/coursework.toml", "student/mine.ipynb",
        "student/mine.py", "student/test_public.py", "teacher", "teacher/README.md", "teacher/coursework.toml",
        "teacher/solution.py",
    ]  # fmt: skip
    assert read_assignment(folder / "teacher") == FULL
    assert read_assignment(folder / "student") == FULL.replace(seed=0, hidden_share=0.0)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ps1").mkdir()
    handout.new_coursework(tmp_path / "ps1", ALL)  # empty folders are no loss
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "file").write_text("mine")
    for name in ("ps1", "file"):
        with pytest.raises(FileExistsError, match=f"{name} exists already, and nothing is overwritten"):
            handout.new_coursework(tmp_path / name, ALL)
    assert before == {path: path.read_bytes() for path in before}


def test_nothing_is_left_of_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssignmentError, match="no task"):
        handout.new_coursework(tmp_path / "ps1", Assignment(tasks=("8.1",)))
    with pytest.raises(AssignmentError, match=r"file must not be conftest\.py"):
        handout.new_coursework(tmp_path / "ps1", Assignment(file="conftest.py"))

    def full_disk(*paths: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        handout.new_coursework(tmp_path / "ps1", ALL)
    assert not list(tmp_path.iterdir())


def test_functions_know_which_private_ones_they_need() -> None:
    found = public_functions()
    assert found["im2col"].private == ()
    assert "_shortcut_forward" in found["basic_block_forward"].private
    assert "_normalized" in found["basic_block_forward"].private

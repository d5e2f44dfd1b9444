"""A class: which files are submissions, and marks that survive whatever one of them does."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import grading_fakes
import numpy as np
import pytest
from grading_reports import cell, failure, mixed, part, report

from npresnet.grading.assignment import Assignment
from npresnet.grading.class_files import find_submissions
from npresnet.grading.class_marks import file_names, key_of
from npresnet.grading.class_table import safe
from npresnet.grading.classroom import grade_class
from npresnet.grading.items import common_mistakes, item_statistics, print_items, write_items
from npresnet.grading.submission import LARGEST, SubmissionError

ASSIGNMENT = Assignment()


def archive(files: dict[str, bytes | str]) -> bytes:
    """A zip file with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return buffer.getvalue()


def write(root: Path, files: dict[str, bytes | str]) -> Path:
    """A folder with these files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def names(root: Path) -> dict[str, str]:
    """Where each student's submission is, or the problem."""
    return {one.student: one.problem or one.label for one in find_submissions(root, ASSIGNMENT).submissions}


def test_files_and_folders_of_students(tmp_path: Path) -> None:
    root = write(
        tmp_path / "class",
        {
            "ann.py": "1", "bob.ipynb": "{}", "cy/resnet_layers.py": "3", "cy/helpers.py": "", "cy/notes.pdf": "",
            "dan/work.ipynb": "{}", "eve/deep/down/resnet_layers.py": "5", "fay/a.py": "", "fay/b.py": "",
            "gus/essay.docx": "", "README.txt": "", "__MACOSX/._ann.py": "", ".DS_Store": "", "HAL.PY": "8",
        },
    )  # fmt: skip
    files = find_submissions(root, ASSIGNMENT)
    assert {one.student: one.label for one in files.submissions if not one.problem} == {
        "ann": "ann.py", "bob": "bob.ipynb", "cy": "cy/resnet_layers.py", "dan": "dan/work.ipynb",
        "eve": "eve/deep/down/resnet_layers.py", "HAL": "HAL.PY",
    }  # fmt: skip
    problems = {one.student: one.problem for one in files.submissions if one.problem}
    assert set(problems) == {"fay", "gus"}
    assert "several files could be the submission (a.py, b.py); expected resnet_layers.py" in problems["fay"]
    assert "expected resnet_layers.py or a notebook, found essay.docx" in problems["gus"]
    assert {stranger.label for stranger in files.strangers} == {
        "README.txt", "__MACOSX/._ann.py", ".DS_Store", "cy/helpers.py", "cy/notes.pdf",
    }  # fmt: skip
    contents = {one.student: one.read() for one in files.submissions if not one.problem}
    assert contents["cy"] == b"3"
    assert {one.student: one.filename for one in files.submissions}["HAL"] == "HAL.py"
    assert [one.student for one in files.submissions] == sorted(problems | contents, key=str.casefold)


def test_exports_of_moodle_and_canvas(tmp_path: Path) -> None:
    moodle = archive(
        {"Ann Lee_12_assignsubmission_file_/resnet_layers.py": "ann", "Bob_7_assignsubmission_file_/work.ipynb": "bob"}
    )
    canvas = archive({"leeann_12_34_resnet_layers.py": "ann", "roybob_LATE_7_8_resnet_layers-2.py": "bob"})
    packed = archive({"class/ann/resnet_layers.py": "ann", "class/bob/resnet_layers.py": "bob", "__MACOSX/x": ""})
    for name, content, students in (
        ("moodle.zip", moodle, {"Ann Lee", "Bob"}),
        ("canvas.zip", canvas, {"leeann", "roybob"}),
        ("packed.zip", packed, {"ann", "bob"}),
    ):
        root = write(tmp_path / name.split(".")[0], {name: content})
        files = find_submissions(root, ASSIGNMENT)
        assert {one.student for one in files.submissions} == students
        assert {one.read() for one in files.submissions} == {b"ann", b"bob"}
    assert {one.student for one in find_submissions(tmp_path / "canvas" / "canvas.zip", ASSIGNMENT).submissions} == {
        "leeann", "roybob",
    }  # fmt: skip


def test_archives_of_students(tmp_path: Path) -> None:
    inner = archive({"work/resnet_layers.py": "x", "work/plot.png": "", "work/utils.py": ""})
    root = write(tmp_path / "class", {"ann.zip": inner, "bob/upload.zip": inner, "cy.zip": archive({"c.zip": inner})})
    files = find_submissions(root, ASSIGNMENT)
    found = {one.student: one for one in files.submissions}
    assert found["ann"].read() == found["bob"].read() == b"x"
    assert found["ann"].label == "ann.zip/work/resnet_layers.py"
    assert "expected resnet_layers.py or a notebook, found c.zip" in found["cy"].problem
    assert "ann.zip/work/utils.py" in {stranger.label for stranger in files.strangers}


def test_hostile_archives(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("resnet_layers.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr(link, "/etc/passwd")
    bomb = archive({"resnet_layers.py": b"\0" * (LARGEST + 1)})
    broken = bytearray(archive({"resnet_layers.py": "x" * 1000}))
    broken[45:50] = b"#####"
    root = write(
        tmp_path / "class",
        {
            "out.zip": archive({"../../resnet_layers.py": "x"}), "root.zip": archive({"/resnet_layers.py": "x"}),
            "drive.zip": archive({"C:\\resnet_layers.py": "x"}), "link.zip": buffer.getvalue(), "bomb.zip": bomb,
            "broken.zip": bytes(broken), "no.zip": "no archive", "empty.zip": archive({}), "ok.py": "1",
        },
    )  # fmt: skip
    files = find_submissions(root, ASSIGNMENT)
    assert len(files.submissions) == 9
    for one in files.submissions:
        if one.student == "ok":
            continue
        with pytest.raises(
            SubmissionError, match=r"leads out|symbolic link|more than|cannot be read|not a readable|is empty"
        ):
            one.read()
    assert {path.name for path in tmp_path.iterdir()} == {"class"}


def test_a_size_that_an_archive_lies_about_is_not_believed(tmp_path: Path) -> None:
    content = bytearray(archive({"resnet_layers.py": b"\0" * (LARGEST + 1)}))
    for signature, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = content.index(signature) + offset
        content[at : at + 4] = (10).to_bytes(4, "little")
    root = write(tmp_path / "class", {"liar.zip": bytes(content)})
    (one,) = find_submissions(root, ASSIGNMENT).submissions
    with pytest.raises(SubmissionError):
        one.read()


def test_no_more_is_unpacked_than_a_submission_may_have(tmp_path: Path) -> None:
    from npresnet.grading.class_files import _read_file, _read_member

    content = b"\0" * (2 * LARGEST)
    root = write(tmp_path, {"bomb.zip": archive({"resnet_layers.py": content}), "bomb.py": content})
    assert len(_read_member(root / "bomb.zip", "resnet_layers.py")) == LARGEST + 1
    assert len(_read_file(root / "bomb.py")) == LARGEST + 1


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_links_are_named_and_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path, {"secret.py": "the solution"}) / "secret.py"
    root = write(tmp_path / "class", {"ann.py": "1"})
    (root / "bob.py").symlink_to(secret)
    (root / "cy").mkdir()
    (root / "cy" / "resnet_layers.py").symlink_to(secret)
    (root / "dan").symlink_to(tmp_path)
    files = find_submissions(root, ASSIGNMENT)
    assert {one.student: bool(one.problem) for one in files.submissions} == {"ann": False, "bob": True, "cy": True}
    assert ("dan", "a symbolic link, which is not followed; put the file itself there") in files.strangers


def test_two_submissions_of_one_name_stay_two(tmp_path: Path) -> None:
    root = write(tmp_path / "class", {"ann.py": "1", "ann.ipynb": "{}", "ann/resnet_layers.py": "3"})
    assert set(names(root)) == {"ann (ann.py)", "ann (ann.ipynb)", "ann (ann/resnet_layers.py)"}


def test_names_of_files_are_safe_and_distinct() -> None:
    students = ["Ann", "ann", "../up", "a/b", "a_b", "Å", "", "..", "x" * 300, "=1", "a:b"]
    made = file_names(students)
    assert len({name.casefold() for name in made.values()}) == len(students)
    assert made["Ann"] == "Ann"
    assert not [
        name for name in made.values() if set(name) & set('/\\:*?"<>|') or name.startswith(".") or len(name) > 100
    ]


# ---------------------------------------------------------------------------------------------- marking


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A class of five, of whom two break the grader; each call of the grader is logged."""
    log = f"# log: {tmp_path / 'log'}\n"
    return write(
        tmp_path / "class",
        {"ann.py": f"{log}pass pass pass pass", "bob.py": f"{log}pass", "cy.py": f"{log}die", "dan.py": f"{log}raise",
         "eve/resnet_layers.py": f"{log}pass pass", "readme.md": ""},
    )  # fmt: skip


def grade(root: Path, **options: object) -> int:
    """Mark the class with the stand-in."""
    settings: dict[str, object] = {"csv": root.parent / "marks.csv", "jobs": 2, "mark": grading_fakes.mark, **options}
    return grade_class(root, settings.pop("assignment", ASSIGNMENT), **settings)  # type: ignore[arg-type]


def table(root: Path) -> dict[str, dict[str, str]]:
    """The rows of the table by name."""
    with open(root.parent / "marks.csv", newline="", encoding="utf-8-sig") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def calls(root: Path) -> list[str]:
    """Whom the grader was called for, in some order."""
    log = root.parent / "log"
    return sorted(log.read_text().split()) if log.exists() else []


def test_a_submission_that_breaks_the_grader_costs_itself_alone(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert grade(root) == 1
    rows = table(root)
    assert [(name, row["status"], row["points"]) for name, row in rows.items()] == [
        ("ann", "graded", "5.0"), ("bob", "graded", "2.0"), ("cy", "not graded", ""), ("dan", "not graded", ""),
        ("eve", "graded", "3.0"),
    ]  # fmt: skip
    assert "the grader's process was killed by signal 9" in rows["cy"]["reason"]
    assert "RuntimeError: the grader stumbles (grading_fakes.py, line" in rows["dan"]["reason"]
    assert list(rows["ann"])[5:7] == ["1.4 conv2d_backward (4)", "1.10 relu_forward (1)"]  # in order of the tasks
    assert rows["bob"]["1.4 conv2d_backward (4)"] == "1.0"
    assert rows["eve"]["worst mistakes"] == "mistake_2; mistake_3"
    out, err = capfd.readouterr()
    assert "noise" not in out + err
    assert "3 of 5 submissions graded: mean 3.33, median 3, from 2 to 5, of 5 points" in out
    assert "not graded: cy: the grader's process was killed" in out
    assert "no submission (not a .py, .ipynb or .zip file): 1 file: readme.md" in err
    assert "1/5" in err
    document = json.loads((root.parent / "marks" / "ann.json").read_text())
    assert (document["status"], document["student"], document["file"]) == ("graded", "ann", "ann.py")


def test_what_is_done_is_not_done_again(root: Path) -> None:
    grade(root, quiet=True)
    assert calls(root) == ["ann", "bob", "cy", "dan", "eve"]
    first = table(root)
    grade(root, quiet=True)
    assert calls(root) == ["ann", "bob", "cy", "cy", "dan", "dan", "eve"]  # those that were not graded are tried again
    assert table(root) == first
    for name in ("cy.py", "dan.py"):
        (root / name).unlink()
    (root / "bob.py").write_text((root / "bob.py").read_text() + " pass")
    (root / "marks.json").write_text("")
    before = len(calls(root))
    assert grade(root, quiet=True) == 0
    assert len(calls(root)) == before + 1  # bob, who changed
    assert table(root)["bob"]["points"] == "3.0"
    (root.parent / "marks" / "ann.json").write_text("damaged")
    grade(root, quiet=True)
    assert len(calls(root)) == before + 2
    grade(root, quiet=True, assignment=Assignment(seed=9))
    assert len(calls(root)) == before + 5  # another assignment
    grade(root, quiet=True, assignment=Assignment(seed=9), resume=False)
    assert len(calls(root)) == before + 8


def test_the_key_depends_on_everything() -> None:
    keys = {
        key_of("a.py", b"1", ASSIGNMENT), key_of("b.py", b"1", ASSIGNMENT), key_of("a.ipynb", b"1", ASSIGNMENT),
        key_of("a.py", b"2", ASSIGNMENT), key_of("a.py", b"1", ASSIGNMENT.replace(seed=1)),
        key_of("a.py", b"1", ASSIGNMENT.replace(points={"im2col": 3.0})),
    }  # fmt: skip
    assert len(keys) == 5  # a name alone changes nothing


def test_paths_that_cannot_be_written_show_before_the_first_submission(root: Path) -> None:
    (root.parent / "folder.csv").mkdir()
    (root.parent / "file").touch()
    for options in (
        {"csv": root.parent / "no" / "marks.csv"},
        {"csv": root.parent / "folder.csv"},
        {"feedback": root.parent / "file"},
        {"plot": root.parent / "no" / "plot.png"},
        {"plot": root.parent / "plot.docx"},
    ):
        with pytest.raises((OSError, ValueError)):
            grade(root, quiet=True, **options)
    with pytest.raises(ValueError, match="feedback_format must be html or markdown, found 'pdf'"):
        grade(root, feedback_format="pdf")
    assert calls(root) == []
    empty = root.parent / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"holds no submissions: expected NAME.py"):
        grade(empty)


def test_a_page_for_every_student(root: Path) -> None:
    feedback = root.parent / "pages"
    grade(root, quiet=True, feedback=feedback)
    assert {path.name for path in feedback.iterdir()} == {"ann.html", "bob.html", "eve.html"}
    assert "5 of 5 points" in (feedback / "ann.html").read_text()
    for path in feedback.iterdir():
        path.unlink()
    grade(root, quiet=True, feedback=feedback, feedback_format="markdown")
    assert {path.name for path in feedback.iterdir()} == {"ann.md", "bob.md", "eve.md"}  # also of what was kept


def test_results_inside_the_folder_are_no_submissions(root: Path) -> None:
    for _ in range(2):
        grade(root, quiet=True, csv=root / "marks.csv", feedback=root / "feedback")
    with open(root / "marks.csv", newline="", encoding="utf-8-sig") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["ann", "bob", "cy", "dan", "eve"]


def test_a_process_that_ends_or_hangs_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from npresnet.grading.class_workers import run_each
    from npresnet.grading.classroom import _mark_one

    sources = {"leaves": b"leave", "hangs": b"wait", "works": b"pass"}
    tasks = [(name, (name, "a.py", source, ASSIGNMENT, grading_fakes.mark)) for name, source in sources.items()]
    outcomes = dict(run_each(tasks, _mark_one, jobs=3, seconds=4))
    assert outcomes["leaves"].problem == "the grader's process ended with exit status 0"
    assert outcomes["hangs"].problem == "the grader was not done after 4 s"
    assert outcomes["works"].answer is not None


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import grading_fakes
from npresnet.grading.assignment import Assignment
from npresnet.grading.classroom import grade_class
if __name__ == "__main__":
    sys.exit(grade_class({root!r}, Assignment(), csv={csv!r}, jobs=1, mark=grading_fakes.mark))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_done(tmp_path: Path, number: int) -> None:
    log = tmp_path / "log"
    sources = {"a.py": f"# log: {log}\npass", "b.py": f"# log: {log}\nwait", "c.py": f"# log: {log}\npass"}
    root = write(tmp_path / "class", sources)
    script = tmp_path / "script.py"
    marks = str(tmp_path / "marks.csv")
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent), root=str(root), csv=marks))
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 60
    while not Path(f"{log}.waiting").exists():
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number) if number == signal.SIGINT else os.kill(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "1 of 3 submissions are marked" in err
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):  # no worker is left
        os.kill(int(Path(f"{log}.waiting").read_text()), 0)
    assert [row["status"] for row in table(root).values()] == ["graded", "waiting", "waiting"]
    (root / "b.py").write_text(f"# log: {log}\n")
    assert grade(root, quiet=True) == 0
    assert calls(root) == ["a", "b", "b", "c"]


def test_formulas_are_text() -> None:
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1", '"=1'):
        assert safe(text).startswith("'") or not safe(text).lstrip().startswith(("=", "+", "-", "@"))
    assert safe("Ann-Lee") == "Ann-Lee"
    assert safe("a\nb\x1b") == r"a\nb\x1b"


def test_a_name_that_is_a_formula(tmp_path: Path) -> None:
    root = write(tmp_path / "class", {"=cmd.py": "pass"})
    grade(root, quiet=True)
    assert list(table(root)) == ["'=cmd"]


# ---------------------------------------------------------------------------------------------- statistics


def wrong(*outputs: str) -> object:
    """A report with three items of one point each, in which some outputs failed, publicly or hidden."""
    cells = []
    for output in ("dx", "dw", "db"):
        for hidden in (False, True):
            fails = output in outputs and (hidden or f"{output}?" not in outputs)
            cells.append(
                cell("a", output, hidden=hidden, worth=0.5, failed=failure(mistake=f"m_{output}") if fails else None)
            )
    return report(part(*cells))


def test_item_statistics_against_a_plain_calculation() -> None:
    reports = [wrong(), wrong("dx"), wrong("dx", "dw"), wrong("dx", "dx?"), wrong("dw", "db")]
    items = {item.output: item for item in item_statistics(reports)}  # type: ignore[arg-type]
    shares = {"dx": [1, 0, 0, 0.5, 1], "dw": [1, 1, 0, 1, 0], "db": [1, 1, 1, 1, 0]}
    totals = np.sum(list(shares.values()), axis=0)
    for output, share in shares.items():
        assert items[output].difficulty == pytest.approx(np.mean(share))
        expected = np.corrcoef(share, totals - share)[0, 1]
        assert items[output].discrimination == pytest.approx(expected)
        assert items[output].taken == 5
    assert (items["dx"].failed, items["dx"].hidden_alone) == (3, 1)
    assert [(m.name, m.count) for m in common_mistakes(reports)] == [("m_dx", 3), ("m_dw", 2), ("m_db", 1)]  # type: ignore[arg-type]


def test_statistics_of_few_or_equal_submissions() -> None:
    assert item_statistics([]) == []
    for reports in ([mixed()], [mixed(), mixed()], [mixed()] * 5):
        assert {item.discrimination for item in item_statistics(reports)} == {None}


def test_tables_of_items(tmp_path: Path) -> None:
    from rich.console import Console

    reports = [wrong(), wrong("dx"), wrong("dx", "dw")]
    items = item_statistics(reports)  # type: ignore[arg-type]
    write_items(tmp_path / "items.csv", items)
    with open(tmp_path / "items.csv", newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert [(row["output"], row["failed"]) for row in rows] == [("dx", "2"), ("dw", "1"), ("db", "0")]
    text = io.StringIO()
    print_items(items, common_mistakes(reports), Console(file=text, width=80))  # type: ignore[arg-type]
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("conv2d_backward: dx, a" in line and "2 of 3" in line and "67 %" in line for line in lines)


def test_a_plot(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plot = root.parent / "class.png"
    grade(root, quiet=True, plot=plot)
    assert plot.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    before = calls(root)
    with pytest.raises(ImportError, match=r"pip install 'npresnet\[plots\]'"):
        grade(root, quiet=True, plot=plot)
    assert calls(root) == before

"""Reports of an assignment in Chinese: nothing is left in English, hidden things stay hidden, columns are straight."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from grading_reports import cell, failure, mixed, part, report, reports
from hypothesis import given, settings
from rich.cells import cell_len
from test_coursework_pytest import WRONG
from test_coursework_pytest import run as run_pytest
from test_grading_report import SECRETS

from npresnet.grading.assignment import Assignment
from npresnet.grading.exports.otter import otter_files
from npresnet.grading.handout import new_coursework
from npresnet.grading.jupyter import explanations, table
from npresnet.grading.marking import mark
from npresnet.grading.marks import Report
from npresnet.grading.parts import PARTS
from npresnet.grading.report import FORMATS, render, student_view
from npresnet.grading.report.explanation import state
from npresnet.grading.report.visible import KINDS
from npresnet.grading.solution_source import solution_text
from npresnet.grading.submission import Submission
from npresnet.grading.texts import Texts
from npresnet.grading.wording import outcome

SHOWN = [format for format in FORMATS if format != "json"]
SAY = Texts("zh")

NAMES = re.compile(
    r"""tutorials/\S+ | npresnet/\S+ | \w+\.py | ```text | \b(?:
    im2col | col2im | cols | labels | [a-z0-9]+(?:_[a-z0-9]+)+ | whole |  # functions and what they return
    dx | dy | dw | dweight | dbias | dgamma | dbeta | dlogits | x | y | N | C | H | W | O | K | D | kh | kw | weight |
    stride | padding | dilation | groups | bias | eps | momentum | training | gamma | beta | cache | loss | logits |
    ReLU | NaN | dtype | float32 | float64 | ndarray | int | None | True | False | Z |
    ValueError | TypeError | IndexError | cannot\ guess |  # what a submission raised, and said with it
    Python | numpy | math | itertools | torch | Landlock | seccomp | audit\ hook | SystemExit | exit | sys
    )\b""",
    re.VERBOSE,
)


def english(text: str) -> list[str]:
    """Words that are left when names of functions, values, types and tools are taken away."""
    return re.findall("[A-Za-z]{2,}", NAMES.sub(" ", text))


class Words(HTMLParser):
    """What can be read on a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.style = "", False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.style = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self.style else f"{data} "


def words_of(of: Report, format: str) -> str:
    """What people read of a report, without the names of fields and states that programs read."""
    text = render(of, format)
    if format == "html":
        page = Words()
        page.feed(text)
        return page.text
    if format == "gradescope":
        document = json.loads(text)
        tests = [test[key] for test in document["tests"] for key in ("name", "output")]
        return "\n".join([document["output"], *tests, *(board["name"] for board in document["leaderboard"])])
    if format == "junit":
        root = ET.fromstring(text)
        names = [e.get(key, "") for e in root.iter() if e.tag != "property" for key in ("name", "message")]
        return "\n".join([*names, *(e.text or "" for e in root.iter())])
    return text.replace("\\", "")


SUBMISSION = """
import torch_like
import numpy as np

def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    print("1 2 3")
    raise ValueError("cannot guess")

def relu_forward(x):
    return abs(x), x > 0

def relu_backward(dy, cache):
    return [dy]

def linear_forward(x, weight, bias):
    return 5

def softmax_cross_entropy(logits, labels):
    raise NotImplementedError
"""


@pytest.fixture(scope="module")
def marked() -> Report:
    """A submission with mistakes of many kinds, really marked."""
    tasks = ("1.1", "3.1", "3.2", "4.1", "4.3")
    assignment = Assignment("作业一", tasks, language="zh", seed=3, feedback="kind", allow=("torch_like",))
    source = SUBMISSION.replace("import torch_like\n", "")
    return mark(Submission("张三", source, "resnet_layers.py"), assignment, jobs=2)


@pytest.mark.parametrize("format", SHOWN)
@pytest.mark.parametrize("feedback", ["full", "kind", "none"])
def test_no_english_is_left_of_a_real_report(marked: Report, format: str, feedback: str) -> None:
    text = words_of(dataclasses.replace(marked, feedback=feedback), format)
    assert english(text) == []
    assert "的数值不正确" in text
    assert "单通道" in text or format in ("terminal", "markdown", "html")  # there, other kinds of cases may come first
    assert "评测" in text or "Landlock" in text


def everything() -> Report:
    """A report with every kind of failure and every state of a part, by hand."""
    kinds = [cell("stride", "dx", failed=_wrong(kind), hidden=hidden) for kind in KINDS for hidden in (False, True)]
    alone = [
        part(cell("padding", failed=_wrong(kind)), name="conv2d_forward", task="1.3")
        for kind in ("exception", "time", "memory", "refused", "exit")
    ]
    stub = failure("missing", message=SAY("not written yet"), hint="", section="", output="y")
    return report(
        part(*kinds, stdout="\n".join(map(str, range(20)))),
        *alone,
        part(cell("groups"), cell("eps", hidden=True), standing="own", name="relu_forward"),
        part(cell("images", "y", failed=stub), cell("images", "y", failed=stub, hidden=True), name="relu_backward"),
        part(cell("images", "y", hidden=True), name="linear_forward"),
        language="zh", isolation=SAY("the secrecy of files"), feedback="kind",
        findings=(f"jane.py:3: {SAY('an expression is nested too deeply for Python; write it in several lines')}",),
    )  # fmt: skip


def _wrong(kind: str) -> object:
    return failure(kind, message="", hint="", output="dx", settings={"N": 1, "memory": "channels last"}, line=4)


@pytest.mark.parametrize("format", SHOWN)
@pytest.mark.parametrize("feedback", ["full", "kind", "none"])
def test_no_english_is_left_of_any_kind_of_failure(format: str, feedback: str) -> None:
    of = dataclasses.replace(everything(), feedback=feedback, assignment="作业", submission="jane.py")
    assert english(words_of(of, format)) == []


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("feedback", ["kind", "none"])
def test_hidden_things_stay_hidden(format: str, feedback: str) -> None:
    text = render(dataclasses.replace(mixed(feedback), language="zh"), format)
    assert not [secret for secret in SECRETS if secret in text]
    assert "20250101" in text  # of the public case
    assert ("0.111" in text) == (feedback == "kind")
    if format != "json":
        sentence = {"kind": "共 6 个测试，其中 3 个是隐藏测试", "none": "有 3 个隐藏测试未显示，共占 3 分"}[feedback]
        assert sentence in (json.loads(text)["output"] if format == "gradescope" else text)


def test_a_stub_is_known_in_any_language_also_where_its_tests_are_hidden() -> None:
    for words in ("not written yet", "尚未实现"):
        stub = failure("missing", message=words)
        of = report(part(cell("a", failed=stub), cell("b", failed=stub, hidden=True)), language="zh")
        (shown,) = student_view(of).report.parts
        assert state(shown) == "not written"
        assert shown.cells[1].failure is not None
        assert shown.cells[1].failure.message == "尚未实现"
        assert "未实现" in render(of, "terminal")


def test_columns_are_straight_and_lines_fit() -> None:
    text = render(dataclasses.replace(everything(), feedback="full"), "terminal")
    assert max(map(cell_len, text.splitlines())) <= 80
    lines = text.splitlines()
    heading = next(line for line in lines if line.startswith("任务"))
    end = cell_len(heading)
    rows = [line for line in lines if re.search(r" \d+/\d+  ", line)]
    assert len(rows) == 9
    assert {cell_len(re.match(r".* \d+/\d+(?=  )", row)[0]) for row in rows} == {end}  # type: ignore[index]
    first = lines.index(rows[0])
    assert all(cell_len(line) <= 80 for line in lines[:first])
    labels = [line for line in lines if line.startswith("    ") and "dx[0, 1, 4, 3]" in line]
    assert {cell_len(line.split("dx[")[0]) for line in labels} == {4 + cell_len("未通过的用例") + 2}


@given(reports)
@settings(max_examples=15, deadline=None)
def test_any_report_is_harmless_in_chinese_too(any_report: Report) -> None:
    of = dataclasses.replace(any_report, language="zh")
    for format in FORMATS:
        text = render(of, format)
        assert not [c for c in text if not c.isprintable() and c != "\n"]
    ET.fromstring(render(of, "junit"))
    json.loads(render(of, "gradescope"), parse_constant=pytest.fail)
    assert max(map(cell_len, render(of, "terminal").splitlines())) <= 80


def test_the_page_says_its_language() -> None:
    assert '<html lang="zh">' in render(report(part(cell()), language="zh"), "html")
    assert '<html lang="en">' in render(report(part(cell())), "html")


def test_reports_from_before_there_were_languages_are_in_english() -> None:
    values = mixed().to_dict()
    assert Report.from_dict({**values, "language": "zh"}).language == "zh"
    del values["language"]
    assert Report.from_dict(values) == mixed()
    with pytest.raises(ValueError, match="no texts in the language 'fr'"):
        render(report(language="fr"), "terminal")


def test_a_table_in_a_notebook_is_straight(marked: Report) -> None:
    (shown, *_) = [one for one in student_view(marked).report.parts if one.name == "relu_backward"]
    lines = table(shown, SAY)
    assert english("\n".join(lines)) == []
    assert "（满分 2 分）" in lines[0]
    places = {cell_len(re.split("错误|正确|dx", line)[0]) for line in lines}
    assert len(places) == 1
    text = "\n".join(explanations(shown, ["", "单元格 [3] 第 2 行"], SAY))
    assert english(text) == []
    assert "最小用例：" in text or "dx 应为数组，实际是：列表" in text


def test_single_tests_in_chinese() -> None:
    assert outcome(cell(), "zh") == "正确"
    text = outcome(cell(failed=failure(message="dx 的数值不正确", hint="")), "zh")
    assert "误差最大处：dx[0, 1, 4, 3]：期望值 0.51562，实际值 -0.70312" in text
    assert english(text) == []


def test_otter_names_tests_in_chinese() -> None:
    files = otter_files(Assignment(tasks=("3.1",), language="zh"))
    titles = re.findall(r"name='(.*?)', points", files["autograder/tests/relu_forward.py"])
    criteria = [SAY.criterion(criterion.name) for criterion in PARTS["relu_forward"].criteria]
    assert titles[: len(criteria)] == [f"y，{name}" for name in criteria]
    assert titles[-1] == f"y，{criteria[-1]}（隐藏）"


def test_pytest_explains_in_chinese(tmp_path: Path) -> None:
    folder = new_coursework(tmp_path / "ps1", Assignment(tasks=("3.1",), language="zh", seed=9)) / "student"
    (folder / "bad.py").write_text(WRONG)
    status, text = run_pytest(folder, "--submission=bad.py")
    assert status == 1
    assert "y 的数值不正确" in text
    assert "最小用例：" in text
    assert "smallest case" not in text


def test_a_refused_file_is_explained_in_chinese() -> None:
    source = f"import torch\n{solution_text().replace('from __future__ import annotations', '')}"
    of = mark(Submission("x", source, "x.py"), Assignment("作业", ("3.1",), language="zh"))
    assert of.findings == ("x.py:1: 导入了 torch：题目只能用 numpy 完成；请删除",)
    assert of.parts[0].cells[0].failure is not None
    assert of.parts[0].cells[0].failure.message == "导入了 torch：题目只能用 numpy 完成；请删除"
    assert english(words_of(of, "terminal")) == []

"""Reports in every format: valid, harmless whatever a submission said, and silent about hidden cases."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from grading_reports import HOSTILE, cell, failure, mixed, part, report, reports
from hypothesis import given, settings

from npresnet.grading.marks import Report
from npresnet.grading.report import FORMATS, render, student_view, write_report
from npresnet.grading.report.explanation import explain, state
from npresnet.grading.report.plain_json import report_from_json, report_to_json
from npresnet.grading.report.text import distinct_digits, printable

SECRETS = ("SECRET", "987654321", "0.98765", "8642", "9753", "31337")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("feedback", ["kind", "none"])
def test_hidden_seeds_values_and_messages_are_nowhere(format: str, feedback: str) -> None:
    text = render(mixed(feedback), format)
    assert not [secret for secret in SECRETS if secret in text]
    assert "20250101" in text  # of the public case
    if feedback == "kind":
        assert "0.111" in text  # the size of the error
        assert "A hint." in text
    else:
        assert "A hint." not in text


@pytest.mark.parametrize("format", FORMATS)
def test_full_feedback_shows_hidden_cases(format: str) -> None:
    text = render(mixed("full"), format)
    assert "987654321" in text
    assert "SECRET in a message" in text


@pytest.mark.parametrize("format", ["terminal", "markdown", "html", "junit", "gradescope"])
def test_how_many_tests_are_hidden_is_always_said(format: str) -> None:
    for feedback, sentence in (("full", "3 of the 6"), ("kind", "3 of the 6"), ("none", "3 hidden tests, worth 3")):
        assert sentence in render(mixed(feedback), format)
    alone = report(part(cell()))
    assert "There are no hidden tests." in render(alone, format)
    one = report(part(cell(), cell(hidden=True)), feedback="none")
    assert "1 hidden test, worth 1 of the points, is not shown." in render(one, format)


def test_withheld_points_are_not_in_the_total() -> None:
    view = student_view(mixed("none"))
    assert (view.report.points, view.report.max_points) == (2, 3)
    assert (view.hidden, view.withheld, view.withheld_points) == (3, 3, 3)
    assert "2 of 3 points in the public tests" in render(mixed("none"), "terminal")


def test_a_new_field_of_failures_is_hidden_until_it_is_allowed() -> None:
    (shown,) = [c.failure for c in student_view(mixed()).report.parts[0].cells if c.hidden and c.failure]
    assert (shown.message, dict(shown.settings), shown.seed, shown.position) == ("", {}, None, None)
    assert (shown.expected, shown.got) == (None, None)
    assert shown.shapes == {"x": (1, 2, 5, 4), "weight": (3, 2, 3, 3)}


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no report format 'xml'; there are terminal, json"):
        render(mixed(), "xml")
    with pytest.raises(ValueError, match="full, kind or none, found 'all'"):
        render(mixed("all"), "terminal")
    with pytest.raises(ValueError, match="hidden_visibility must be one of hidden"):
        render(mixed(), "gradescope", hidden_visibility="secret")


@given(reports)
@settings(max_examples=25, deadline=None)
def test_every_format_of_any_report_is_valid_and_harmless(any_report: Report) -> None:
    for format in FORMATS:
        text = render(any_report, format)
        text.encode("utf-8")
        assert not [c for c in text if not c.isprintable() and c != "\n"]
    check_gradescope(json.loads(render(any_report, "gradescope"), parse_constant=pytest.fail), any_report)
    check_html(render(any_report, "html"))
    ET.fromstring(render(any_report, "junit"))
    json.loads(render(any_report, "json"), parse_constant=pytest.fail)
    assert max(map(len, render(any_report, "terminal").splitlines())) <= 80


@given(reports)
@settings(max_examples=25, deadline=None)
def test_json_brings_a_report_back(any_report: Report) -> None:
    again = report_from_json(report_to_json(any_report))
    assert repr(again) == repr(any_report)  # by text, since NaN is not equal to itself


def test_json_that_is_no_report() -> None:
    for text in ("{}", "[]", '{"parts": [1]}', "1", '{"parts": [], "colour": 1, "findings": []}'):
        with pytest.raises(ValueError, match="not the JSON of a report"):
            report_from_json(text)


def check_gradescope(document: dict[str, object], of: Report) -> None:
    """The fields that Gradescope documents, their types, and no others."""
    visibilities = {"hidden", "after_due_date", "after_published", "visible"}
    assert set(document) == {
        "score", "execution_time", "output", "output_format", "test_output_format", "test_name_format", "visibility",
        "stdout_visibility", "tests", "leaderboard",
    }  # fmt: skip
    assert document["score"] == pytest.approx(of.points, abs=1e-5)
    assert type(document["execution_time"]) is int
    assert {document[key] for key in ("output_format", "test_output_format", "test_name_format")} == {"text"}
    assert {document["visibility"], document["stdout_visibility"]} <= visibilities
    tests = document["tests"]
    assert isinstance(tests, list)
    cells = [cell for part in of.parts for cell in part.cells]
    assert len(tests) == len(cells)
    for test, marked in zip(tests, cells, strict=True):
        assert set(test) == {
            "score", "max_score", "status", "name", "number", "output", "output_format", "tags", "visibility",
        }  # fmt: skip
        assert (test["score"], test["max_score"]) == pytest.approx((marked.points, marked.max_points), abs=1e-5)
        assert test["status"] == ("failed" if marked.failure else "passed")
        assert all(isinstance(test[key], str) for key in ("name", "number", "output"))
        assert all(isinstance(tag, str) for tag in test["tags"])
        hidden = "hidden" if of.feedback == "none" else "after_published"
        assert test["visibility"] == (hidden if marked.hidden else "visible")
    boards = document["leaderboard"]
    assert isinstance(boards, list)
    for board in boards:
        assert set(board) == {"name", "value", "order"}
        assert isinstance(board["name"], str)
        assert type(board["value"]) in (int, float)
        assert board["order"] in ("asc", "desc")


class Page(HTMLParser):
    """Notes what is on a page, and that every tag is closed where it should be."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check_html(text: str) -> Page:
    """Balanced, of our own tags alone, and with nothing from elsewhere."""
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert set(page.tags) <= {
        "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "code", "span", "table",
        "caption", "thead", "tbody", "tr", "th", "td", "a", "section", "dl", "dt", "dd", "pre",
    }  # fmt: skip
    for name, value in page.attributes:
        assert name in (
            "lang",
            "charset",
            "name",
            "content",
            "http-equiv",
            "scope",
            "class",
            "aria-hidden",
            "style",
            "id",
            "href",
        )
        if name == "href":
            assert value is not None
            assert value.startswith(("#part-", "tutorials/"))
    ids = [value for name, value in page.attributes if name == "id"]
    assert {value[1:] for name, value in page.attributes if name == "href" and value and value[0] == "#"} <= set(ids)
    return page


@pytest.mark.parametrize("format", FORMATS)
def test_words_of_a_submission_are_only_words(format: str) -> None:
    raised = failure("exception", message=f"ValueError: {HOSTILE}", hint="", section="")
    text = render(report(part(cell(failed=raised), stdout=HOSTILE)), format)
    assert "\x1b" not in text
    assert r"\x1b[31mred" in text or r"\\x1b[31mred" in text
    if format == "html":
        assert "<script>" not in text
        assert '<script>alert("x")</script>' in check_html(text).text
    if format == "junit":
        (found,) = ET.fromstring(text).iter("failure")
        assert '<script>alert("x")</script>' in found.attrib["message"]
    if format == "markdown":
        quoted = next(line for line in text.splitlines() if "ValueError" in line)
        assert quoted.startswith("**````ValueError")  # a code span with more ticks than the message has
        assert text.count("````") == 4  # span and block, each opened and closed


def test_markdown_outside_code_has_no_meaning() -> None:
    from npresnet.grading.report.markdown_report import _escaped

    assert _escaped("<b> *x* @me https://x |") == r"\<b\> \*x\* \@me https\://x \|"


def test_junit_suites_and_points() -> None:
    root = ET.fromstring(render(mixed(), "junit"))
    assert root.tag == "testsuites"
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("6", "2", "0")
    first, second, last = root.findall("testsuite")
    assert (first.get("name"), first.get("tests"), first.get("failures")) == ("1.4 conv2d_backward", "4", "2")
    assert second.get("failures") == "0"
    points = {p.attrib["name"]: p.attrib["value"] for p in first.findall("properties/property")}
    assert points == {"task": "1.4", "points": "2", "max_points": "4"}
    case = first.findall("testcase")[0]
    assert (case.get("classname"), case.get("name")) == ("conv2d_backward", "dx, plain")
    found = case.find("failure")
    assert found is not None
    assert found.get("message") == "dx has wrong values"
    assert "seed 20250101" in (found.text or "")
    withheld = ET.fromstring(render(mixed("none"), "junit"))
    assert len(list(withheld.iter("testcase"))) == 3
    assert {p.attrib["name"]: p.attrib["value"] for p in last.findall("properties/property")}["hidden tests"] == "3"


def test_gradescope_counts_hidden_points_and_ranks_by_public_tests() -> None:
    document = json.loads(render(mixed("none"), "gradescope"))
    assert document["score"] == 4
    assert [test["visibility"] for test in document["tests"]] == [
        "visible",
        "visible",
        "hidden",
        "hidden",
        "visible",
        "hidden",
    ]
    assert [test["number"] for test in document["tests"]][:2] == ["1.4.1", "1.4.2"]
    assert document["tests"][3]["output"] == ""
    solved, speed = document["leaderboard"]
    assert (solved["value"], speed["value"]) == (1, 2.0)
    failing = report(part(cell(), cell(hidden=True, failed=failure()), speed=3.0))
    assert json.loads(render(failing, "gradescope"))["leaderboard"][0]["value"] == 1  # hidden tests must not show here


def test_terminal_without_colours_and_with() -> None:
    plain = render(mixed(), "terminal")
    assert "\x1b" not in plain
    coloured = render(mixed(), "terminal", colour=True)
    assert "\x1b[" in coloured
    for words in (
        "1.4 conv2d_backward 2 of 4 points",
        "x (1, 2, 5, 4), weight (3, 2, 3, 3); N 1, stride 2; seed 20250101",
    ):
        assert words in " ".join(plain.split())
    assert "dx[0, 1, 4, 3]: expected 0.51562, got -0.70312" in plain
    assert "1.22, allowed 1e-06, 25 % of the elements are off" in plain
    assert "tutorials/01_convolution.ipynb#backward" in plain


def test_failures_of_one_reason_are_told_once_by_their_smallest_public_case() -> None:
    large = failure(shapes={"x": (9, 9)}, seed=1)
    small, hidden = failure(shapes={"x": (2, 2)}, seed=2), failure(shapes={"x": (1,)}, seed=3)
    cells = [cell("a", failed=large), cell("b", failed=small), cell("c", hidden=True, failed=hidden)]
    other = cell("a", "dweight", failed=failure(output="dweight"), worth=9)
    first, second = explain(part(*cells, other))
    assert first.failure.output == "dweight"  # the dearest first
    assert (second.failure.seed, second.lost) == (2, 3)
    assert second.where == "a, b and c (hidden); 1 of these 3 tests is hidden"


def test_stubs_and_dead_processes_are_said_once() -> None:
    stub = failure("missing", message="not written yet")
    late = failure("time", message="stopped after 20 s")
    text = render(report(part(cell("a", failed=stub), cell("b", "dw", failed=stub))), "terminal")
    assert "not written" in text
    assert "Not written yet: conv2d_backward." in text
    slow = part(cell("a", failed=late), cell("b", "dweight", failed=late))
    assert state(slow) == "too slow"
    assert render(report(slow), "terminal").count("stopped after 20 s") == 1


def test_digits_tell_numbers_apart() -> None:
    for a, b in ((1.0, 2.0), (1.0, 1.00001), (0.1, 0.1 + 1e-12), (1e30, 1.0000000001e30)):
        n = distinct_digits(a, b)
        assert f"{a:.{n}g}" != f"{b:.{n}g}"
    assert printable("a" * 5000).endswith(" ... (3,000 more characters)")


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("older")
    with pytest.raises(ValueError, match="there is no report format"):
        write_report(mixed(), target, "pdf")
    assert target.read_text() == "older"
    write_report(mixed(), target, "html")
    assert target.read_text(encoding="utf-8") == render(mixed(), "html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        write_report(mixed(), tmp_path / "no" / "report.html", "html")

"""Texts in other languages: complete, and with the same names in braces."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from importlib import resources

import pytest

from npresnet.grading import handout, solution
from npresnet.grading.assignment import LANGUAGES, Assignment
from npresnet.grading.assignment_file import HEADING, MEANINGS, POINTS, PUBLIC_HEADING
from npresnet.grading.bank import MISTAKES
from npresnet.grading.handout import notebook, readme, stubs, titles
from npresnet.grading.handout.docstrings import blocks, columns, is_prose, localized, wrapped
from npresnet.grading.handout.functions import public_functions
from npresnet.grading.lookalikes import HINTS as LOOKS
from npresnet.grading.parts import PARTS
from npresnet.grading.report.visible import KINDS
from npresnet.grading.texts import Texts, named, translate, translations

OTHERS = [language for language in LANGUAGES if language != "en"]
TABLES = ("text", "phrase", "criterion", "setting")


def template_blocks() -> list[str]:
    """The paragraphs of both READMEs that are more than code and placeholders."""
    folder = resources.files("npresnet.grading.handout")
    texts = [
        block
        for name in ("student.md", "teacher.md")
        for block in (folder / name).read_text(encoding="utf-8").strip("\n").split("\n\n")
    ]
    return [text for text in texts if not text.startswith("```") and re.sub(r"[#\s]|\{\w+\}", "", text)]


def constants() -> list[str]:
    return [
        *MEANINGS.values(), HEADING, PUBLIC_HEADING, POINTS, *titles.CHAPTERS.values(), *titles.TITLES.values(),
        stubs.INTRODUCTION, *stubs.RULES, stubs.IMPORTS, stubs.IMPORTS_ALLOWED, notebook.USE, notebook.HEADING,
        notebook.HEADING_WITHOUT, titles.ONE, titles.MANY, notebook.END, readme.HIDDEN, readme.NOT_HIDDEN,
        readme.TEACHER_HIDDEN, readme.TEACHER_NOT_HIDDEN, Assignment().title,
    ]  # fmt: skip


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_of_a_handout_is_translated(language: str) -> None:
    t = Texts(language)
    used = [*constants(), *template_blocks()]
    assert len(used) > 80
    assert [text for text in used if not t.knows(text)] == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_paragraph_of_a_docstring_is_translated(language: str) -> None:
    used = {text for f in public_functions().values() for _, text in blocks(f.docstring) if is_prose(text)}
    assert len(used) > 50
    assert [text for text in used if translate(text, language) == text] == []


@pytest.mark.parametrize("language", OTHERS)
def test_no_text_is_missed_in_a_handout(language: str) -> None:
    """Whatever reaches students through a constant that this file does not know of would be English."""
    asked: set[str] = set()
    known = translations(language)

    class Watched(Texts):
        def __call__(self, text: str, **values: object) -> str:
            asked.add(text)
            return super().__call__(text, **values)

    for module in (stubs, notebook, readme):
        vars(module)["Texts"], kept = Watched, vars(module)["Texts"]
        try:
            for assignment in (Assignment(language=language), Assignment("x", ("1.4", "7"), language=language)):
                handout.student_files(assignment)
                handout.teacher_files(assignment)
        finally:
            vars(module)["Texts"] = kept
    missing = [text for text in asked if text not in known and not text.startswith("```")]
    assert [text for text in missing if re.sub(r"[#\s]|\{\w+\}", "", text)] == []
    assert len(asked) > 60


@pytest.mark.parametrize("language", OTHERS)
def test_every_hint_is_translated(language: str) -> None:
    known = translations(language)
    hints = [*(mistake.hint for mistake in MISTAKES.values()), *LOOKS.values()]
    assert [hint for hint in hints if hint not in known] == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_message_that_is_said_is_translated(language: str) -> None:
    said = set()
    for name in ("comparing.py", "marking.py"):
        text = (resources.files("npresnet.grading") / name).read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "say"
                and isinstance(node.args[0], ast.Constant)
            ):
                said.add(node.args[0].value)
    assert len(said) > 8
    assert [text for text in said if text not in translations(language)] == []


def sources(*names: str) -> Iterator[ast.AST]:
    """Everything in the syntax trees of some files of the package; a folder stands for all of its files."""
    for name in names:
        file = resources.files("npresnet.grading") / name
        for one in file.iterdir() if file.is_dir() else [file]:
            if one.name.endswith(".py"):
                yield from ast.walk(ast.parse(one.read_text(encoding="utf-8")))


@pytest.mark.parametrize("language", OTHERS)
def test_every_phrase_of_a_report_is_translated(language: str) -> None:
    asked = set(KINDS.values())
    for node in sources("report", "wording.py", "jupyter.py", "pytest_plugin.py", "exports"):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("phrase", "counted"):
                inner = [part for argument in node.args for part in ast.walk(argument)]
                asked |= {part.value for part in inner if isinstance(part, ast.Constant)}
        elif isinstance(node, ast.FunctionDef) and node.name == "state":
            asked |= {
                part.value for inner in node.body[1:] for part in ast.walk(inner) if isinstance(part, ast.Constant)
            }
        elif isinstance(node, ast.FunctionDef) and node.name == "facts":
            tuples = (part.elts[0] for part in ast.walk(node) if isinstance(part, ast.Tuple))
            asked |= {first.value for first in tuples if isinstance(first, ast.Constant)}
    asked = {text for text in asked if isinstance(text, str)} - {"exit", "time", "hidden_tests"}
    assert len(asked) > 75
    assert {"partly", "smallest case", "the wrong dtype", "right"} <= asked
    assert [text for text in asked if text not in named("phrase", language)] == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_kind_of_case_is_translated(language: str) -> None:
    criteria = {criterion.name for part in PARTS.values() for criterion in part.criteria}
    assert set(named("criterion", language)) == criteria


@pytest.mark.parametrize("language", OTHERS)
def test_settings_are_translated_or_are_names_of_arguments(language: str) -> None:
    functions = [value for value in vars(solution).values() if inspect.isfunction(value)]
    arguments = {name for function in functions for name in inspect.signature(function).parameters}
    cases = [case for part in PARTS.values() for hidden in (False, True) for case in part.cases(3, hidden)]
    words = {name for case in cases for name in case.settings if len(name) > 2}  # shorter ones are lengths: N, kh
    assert words - arguments - set(named("setting", language)) == set()
    texts = {value for case in cases for value in case.settings.values() if isinstance(value, str)}
    values = {text for text in texts if re.search("[a-z]", text)}
    assert len(values) > 4
    assert values - set(named("setting", language)) == set()


def judged() -> set[str]:
    """Whatever the judge and its policy say of a submission, with ``seven`` in the place of names and numbers."""
    places = {"Ended": 1, "ProtocolError": 0, "Finding": 1}
    said = set()
    for node in sources("judge"):
        if isinstance(node, ast.Call):
            place = places.get(ast.unparse(node.func))
            found = [key.value for key in node.keywords if key.arg == "detail"]
            found += node.args[place : place + 1] if place is not None else []
            for text in found:
                if isinstance(text, ast.Constant):
                    said.add(text.value)
                elif isinstance(text, ast.JoinedStr):
                    pieces = (str(part.value) if isinstance(part, ast.Constant) else "seven" for part in text.values)
                    said.add("".join(pieces))
    return said - {""}


@pytest.mark.parametrize("language", OTHERS)
def test_whatever_the_judge_says_is_translated(language: str) -> None:
    said = judged()
    assert len(said) > 40
    assert [text for text in said if translate(text, language) == text] == []


def test_words_within_what_the_judge_says_are_translated() -> None:
    say = Texts("zh")
    assert say("the process sent a header that is not JSON") == "进程发送了不是 JSON 的帧头"
    assert say("the process sent a frame of 12 bytes, which is too large") == "进程发送了长达 12 字节的帧，太大了"
    assert say("nothing: f returned an int, not 3 values") == "没有返回（f 返回的是类型为 int 的值，而不是 3 个值）"
    assert say("a dict with a key that is a Foo") == "字典，其中有一个键是类型为 Foo 的值"
    assert say("a module that nobody knows") == "a module that nobody knows"  # a type is one word
    assert say("import of images: the exercises are to be solved with numpy alone; remove it").startswith(
        "导入了 images："
    )


@pytest.mark.parametrize("locks", [("landlock", "seccomp"), ("landlock",), ("seccomp",), ()])
def test_isolation_is_translated(locks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("npresnet.grading.judge.isolation")  # the package has a function of that name
    monkeypatch.setattr(module, "locks_here", lambda kernel: locks)
    sentence = module.isolation.__wrapped__()
    left = re.sub(r"Landlock|seccomp|Python|audit hook", "", Texts("zh")(sentence))
    assert not re.search("[A-Za-z]", left)
    assert re.search("[\u4e00-\u9fff]", left)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("language", OTHERS)
def test_names_in_braces_and_code_stay(language: str, table: str) -> None:
    assert named(table, language)
    for text, translated in named(table, language).items():
        assert sorted(re.findall(r"\{\w*\}", translated)) == sorted(re.findall(r"\{\w*\}", text)) or table == "text", (
            text
        )
        assert sorted(set(re.findall(r"\{\w*\}", translated))) == sorted(set(re.findall(r"\{\w*\}", text))), text
        code = set(re.findall(r"(?<!`)`[^`]+`(?!`)|``[^`]+``", text))
        assert code == set(re.findall(r"(?<!`)`[^`]+`(?!`)|``[^`]+``", translated)), text
        assert translated.strip() == translated
        assert translated != text


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("language", OTHERS)
def test_no_text_is_given_twice(language: str, table: str) -> None:
    folder = resources.files("npresnet.grading.texts") / language
    text = "".join(file.read_text(encoding="utf-8") for file in folder.iterdir())
    assert text.count(f"[[{table}]]") == len(named(table, language))


@pytest.mark.parametrize("table", TABLES)
def test_chinese_is_chinese(table: str) -> None:
    for text, translated in named(table, "zh").items():
        words = re.sub(r"\{\w+\}", "", translated)
        assert re.search("[\u4e00-\u9fff]", words) or (table == "phrase" and not re.search("[A-Za-z]", words)), text
        assert not re.search("[\u4e00-\u9fff] ?[,;:!?](?![0-9])", translated), translated  # full-width punctuation


def test_phrases_are_filled_in_and_counted() -> None:
    one, many = "... {count} more line", "... {count} more lines"
    assert [Texts("en").counted(count, one, many) for count in (1, 2, 1200)] == [
        "... 1 more line",
        "... 2 more lines",
        "... 1,200 more lines",
    ]
    assert Texts("zh").counted(2, one, many) == "…… 还有 2 行"
    assert Texts("zh").phrase("{label}: {text}", label="points", text="{points}") == "points：{points}"  # as they are
    assert Texts("zh").setting(True) == "True"


def test_unknown_languages() -> None:
    for language in ("fr", "..", "__pycache__"):
        with pytest.raises(ValueError, match="no texts in the language"):
            Texts(language)


def test_values_are_filled_in() -> None:
    assert Texts("zh")("task {task}, {points}", task="1.3", points="6") == "任务 1.3，6"
    assert Texts("en")("task {task}, {points}", task="1.3", points="6") == "task 1.3, 6"
    assert Texts("zh")("no such text {n}", n=3) == "no such text 3"


def test_finished_texts_are_recognised() -> None:
    assert translate("Gradients of `conv2d_forward`.", "zh") == "`conv2d_forward` 的梯度。"
    assert translate("Gradients of `conv2d_forward`.", "en") == "Gradients of `conv2d_forward`."
    assert translate("cache : from {x}", "zh") == "cache : 由 {x} 返回"
    assert translate("nothing like it", "zh") == "nothing like it"


def test_wrapping_counts_wide_characters() -> None:
    text = "训练时使用本批次的均值和（有偏）方差；评估时使用滑动统计量 ``(1 - momentum) * old``，与 PyTorch 相同。" * 4
    lines = wrapped(text, 60)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(columns(line) <= 62 for line in lines)
    assert not any(line[0] in "，。；）" for line in lines)
    assert columns("ab 中文") == 7


def test_docstrings_in_english_stay_as_they_are() -> None:
    for function in public_functions().values():
        assert localized(function.docstring, "en") == function.docstring
        lines = localized(function.docstring, "zh").splitlines()
        shapes = [line for line in function.docstring.splitlines() if re.fullmatch(r" *[\w, ]+ : \(N, C, H, W\)", line)]
        assert [line for line in lines if line in shapes] == shapes

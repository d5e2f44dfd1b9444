"""Texts in other languages: complete, and with the same names in braces."""

from __future__ import annotations

import ast
import re
from importlib import resources

import pytest

from npresnet.grading import handout
from npresnet.grading.assignment import LANGUAGES, Assignment
from npresnet.grading.assignment_file import HEADING, MEANINGS, POINTS, PUBLIC_HEADING
from npresnet.grading.bank import MISTAKES
from npresnet.grading.handout import notebook, readme, stubs, titles
from npresnet.grading.handout.docstrings import blocks, columns, is_prose, localized, wrapped
from npresnet.grading.handout.functions import public_functions
from npresnet.grading.texts import Texts, translate, translations

OTHERS = [language for language in LANGUAGES if language != "en"]


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
    assert [mistake.hint for mistake in MISTAKES.values() if mistake.hint not in known] == []


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


@pytest.mark.parametrize("language", OTHERS)
def test_names_in_braces_and_code_stay(language: str) -> None:
    for text, translated in translations(language).items():
        assert sorted(set(re.findall(r"\{\w*\}", translated))) == sorted(set(re.findall(r"\{\w*\}", text))), text
        code = set(re.findall(r"(?<!`)`[^`]+`(?!`)|``[^`]+``", text))
        assert code == set(re.findall(r"(?<!`)`[^`]+`(?!`)|``[^`]+``", translated)), text
        assert translated.strip() == translated
        assert translated != text


@pytest.mark.parametrize("language", OTHERS)
def test_no_text_is_given_twice(language: str) -> None:
    folder = resources.files("npresnet.grading.texts") / language
    text = "".join(file.read_text(encoding="utf-8") for file in folder.iterdir())
    assert text.count("[[text]]") == len(translations(language))


def test_chinese_is_chinese() -> None:
    for text, translated in translations("zh").items():
        assert re.search("[\u4e00-\u9fff]", translated), text
        assert not re.search("[\u4e00-\u9fff] ?[,;:!?](?![0-9])", translated), translated  # full-width punctuation


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

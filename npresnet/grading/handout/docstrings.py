"""Docstrings in other languages: headings, entries and paragraphs are translated one by one, shapes stay."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator

from ..texts import translate

WIDTH = 100
"""Columns of a translated paragraph; a Chinese character takes two."""

PLAIN = re.compile(r"[\w, ]+ : (\([^)]*\)|int|float|bool|None|int64| |or)+")
"""An entry without words: names, and a shape or a type."""

CLOSING = frozenset("，。；：、！？）》”’,.;:!?)]")
"""Characters that do not begin a line."""


def localized(docstring: str, language: str) -> str:
    """A docstring in a language, wrapped anew.

    Parameters
    ----------
    docstring : str
        In English, as :func:`inspect.cleandoc` leaves it.
    language : str
    """
    if language == "en":
        return docstring
    lines: list[str] = []
    for indent, text in blocks(docstring):
        translated = translate(text, language) if is_prose(text) else text
        width = WIDTH - len(indent)
        lines += [indent + line for line in (wrapped(translated, width) if is_prose(text) else [translated])]
        if re.fullmatch("-+", text):
            lines[-1] = "-" * columns(lines[-2])
    return "\n".join(lines)


def blocks(docstring: str) -> Iterator[tuple[str, str]]:
    """Indentation and text of every paragraph, in one line; lines that stand for themselves one by one."""
    lines = docstring.splitlines()
    paragraph: list[str] = []
    for index, line in enumerate(lines):
        indent = line[: len(line) - len(line.lstrip())]
        following = lines[index + 1] if index + 1 < len(lines) else ""
        alone = not line.strip() or re.fullmatch("-+", line) or " : " in line or "->" in line or "---" in following
        if alone:
            yield indent, line.strip()
            continue
        paragraph.append(line.strip())
        if not following.strip() or not following.startswith(indent + following.lstrip()[:1]) or " : " in following:
            yield indent, " ".join(paragraph)
            paragraph = []


def is_prose(text: str) -> bool:
    """Whether there are words to be translated in a block."""
    without_code = re.sub(r"``[^`]*``|\s", "", text)
    return bool(re.search("[a-z]", without_code)) and not PLAIN.fullmatch(text) and "->" not in text


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` columns; between Chinese characters a line may be broken anywhere."""
    lines, line = [], ""
    for piece in re.findall(r"\s*(?:``[^`]*``|[^\s\u2e80-\uffef]+|[\u2e80-\uffef])", text):
        if line and columns(line + piece) > width and piece.strip()[0] not in CLOSING:
            lines.append(line)
            line = piece.lstrip()
        else:
            line += piece
    return [*lines, line]


def columns(text: str) -> int:
    """The width of a text on a terminal."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def bullet(text: str, language: str) -> str:
    """An item of a list, wrapped."""
    if language == "en":
        return textwrap.fill(text, 118, initial_indent="- ", subsequent_indent="  ")
    return "- " + "\n  ".join(wrapped(text, WIDTH - 2))

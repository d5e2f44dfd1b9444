"""What is said to students and teachers, in several languages, with the English text as key.

Every folder here is a language; its files are lists of tables, ``[[text]]`` with ``en`` and the translation, so that a
reader can check one beside the other. Names in braces (``{file}``) are filled in, in either language.

Tables of other names hold words that stand by themselves and mean something there alone: ``[[phrase]]`` (labels and
sentences of reports), ``[[criterion]]`` (kinds of cases) and ``[[setting]]`` (what cases are made of).

>>> Texts("zh")("Points")
'分值'
>>> Texts("zh").phrase("points"), Texts("zh").criterion("stride"), Texts("zh").setting("stride")
('得分', '步幅', 'stride')
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from importlib import resources
from typing import Any


class Texts:
    """Texts in one language.

    Parameters
    ----------
    language : str
        ``en`` or ``zh``.

    Raises
    ------
    ValueError
        If there is no folder of that language.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._known = translations(language)

    def __call__(self, text: str, **values: Any) -> str:
        """The text in this language, or in English where there is no translation, with the values filled in.

        Without values, the text may also be one that was made in English, see :func:`translate`.
        """
        if values:
            return self._known.get(text, text).format(**values)
        return translate(text, self.language)

    def document(self, text: str, **values: str) -> str:
        """A text of several paragraphs, each translated by itself, with the values filled in."""
        return "\n\n".join(self(block) for block in text.strip("\n").split("\n\n")).format(**values) + "\n"

    def phrase(self, text: str, /, **values: Any) -> str:
        """A label or a sentence of a report, with the values filled in as they are."""
        translated = named("phrase", self.language).get(text, text)
        return translated.format(**values) if values else translated

    def counted(self, count: int, one: str, many: str, /, **values: Any) -> str:
        """The phrase for one or for several of something, whose number is ``{count}``."""
        return self.phrase(one if count == 1 else many, count=f"{count:,}", **values)

    def criterion(self, name: str) -> str:
        """A kind of case, as it is shown."""
        return named("criterion", self.language).get(name, name)

    def setting(self, word: object) -> str:
        """The name or the value of a setting of a case, as it is shown; arguments of functions keep their names."""
        return named("setting", self.language).get(str(word), str(word))

    def knows(self, text: str) -> bool:
        """Whether there is a translation."""
        return self.language == "en" or text in self._known


def translate(text: str, language: str) -> str:
    """A text that was made in English, such as a message with shapes and numbers in it, in another language.

    Texts with names in braces serve as patterns: what stands in the place of a name in English is put in its place in
    the translation. ``{type}`` stands for one word, all others for anything. A text that fits none stays as it is.

    Examples
    --------
    >>> translate("too slow: more than 20 s", "zh") == "too slow: more than 20 s"  # no such text
    True
    """
    known = translations(language)
    if text in known:
        return known[text]
    for pattern, translated in _patterns(language):
        match = pattern.fullmatch(text)
        if match:
            return translated.format(**{name: translate(value, language) for name, value in match.groupdict().items()})
    return text


@functools.cache
def _patterns(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Texts with names in braces as regular expressions, those with most words of their own first."""
    found = []
    for text, translated in translations(language).items():
        pieces = re.split(r"\{(\w+)\}", text)
        if len(pieces) == 1 or len(set(pieces[1::2])) < len(pieces[1::2]):
            continue
        expression = "".join(_group(piece) if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))
        found.append((sum(map(len, pieces[::2])), re.compile(expression, re.DOTALL), translated))
    return [(pattern, translated) for _, pattern, translated in sorted(found, key=lambda entry: -entry[0])]


def _group(name: str) -> str:
    return rf"(?P<{name}>\w+)" if name == "type" else f"(?P<{name}>.+?)"


def translations(language: str) -> dict[str, str]:
    """All texts of a language by their English text; English itself has none."""
    return named("text", language)


def named(kind: str, language: str) -> dict[str, str]:
    """The translations in the tables of one name: ``text``, ``phrase``, ``criterion`` or ``setting``."""
    return _tables(language).get(kind, {})


@functools.cache
def _tables(language: str) -> dict[str, dict[str, str]]:
    if language == "en":
        return {}
    folder = resources.files(__package__) / language
    if not language.isalpha() or not folder.is_dir():
        raise ValueError(f"there are no texts in the language {language!r}; expected en or zh")
    tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    found: dict[str, dict[str, str]] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            for kind, entries in tomllib.loads(file.read_text(encoding="utf-8")).items():
                found.setdefault(kind, {}).update((entry["en"], entry[language]) for entry in entries)
    return found


ENGLISH = Texts("en")

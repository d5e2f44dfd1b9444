"""Text that a submission had a hand in, made harmless: no control characters, no endless lines."""

from __future__ import annotations

import functools
import math

from ..texts import ENGLISH, Texts

LIMIT = 2000
"""Characters of one message. What is longer was made to be so."""


def printable(text: str, limit: int = LIMIT, keep: str = "", say: Texts = ENGLISH) -> str:
    r"""Text with its control characters spelled out, so that it cannot move a cursor, colour a line or reverse one.

    Parameters
    ----------
    text : str
    limit : int
        Characters to keep.
    keep : str
        Control characters that may stay.
    say : Texts
        The language in which it is said how much was cut off.

    Examples
    --------
    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    cut = text
    if len(text) > limit:
        cut = say.phrase("{text} ... ({count} more characters)", text=text[:limit], count=f"{len(text) - limit:,}")
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in cut)


def printable_lines(text: str, limit: int = LIMIT, say: Texts = ENGLISH) -> str:
    """The same for text of several lines; tabs become spaces, and any kind of line end a newline."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
    return printable(lines, limit, keep="\n", say=say)


def distinct_digits(first: float | None, second: float | None) -> int:
    """Significant digits that tell two numbers apart, with one to spare."""
    if first is None or second is None or math.isnan(first) or math.isnan(second):
        return 6
    return next((n + 1 for n in range(4, 17) if f"{first:.{n}g}" != f"{second:.{n}g}"), 17)


def rough(value: float) -> str:
    """The size of an error."""
    return f"{value:.3g}"


def points(value: float) -> str:
    """Points with at most two decimals, and none that are zero."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def count(n: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 hidden test``, ``3 hidden tests``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def listed(words: list[str], most: int = 6, say: Texts = ENGLISH) -> str:
    """Words with commas (semicolons, if they have commas themselves), the last with ``and``; of many the first ones."""
    if len(words) > most:
        words = [*words[: most - 1], say.phrase("{count} more", count=len(words) - most + 1)]
    if len(words) == 1:
        return words[0]
    commas = any(comma in word for word in words for comma in ",，、")
    between = "{words}; {next}" if commas else "{words}, {next}"
    last = "{words}; and {last}" if commas else "{words} and {last}"
    before = functools.reduce(lambda first, second: say.phrase(between, words=first, next=second), words[:-1])
    return say.phrase(last, words=before, last=words[-1])


def address(section: str, tutorials: str = "tutorials") -> str:
    """Where a section is: a notebook in the folder of tutorials, or a source file in the package beside it."""
    folder = tutorials.rstrip("/")
    if section.startswith("npresnet/"):
        folder = folder.rpartition("/")[0]
    return f"{folder}/{section}" if folder else section

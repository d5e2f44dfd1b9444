"""Submissions that are suspiciously alike: pairs to be looked at by a person. A reason to look is not a proof.

Two files are compared by the fingerprints of :mod:`.fingerprints`, without what the handed-out stubs contain and
without what many submissions share. Of the common ones, *containment* is the share in the smaller file (a part of one
was taken over), and the *Jaccard* index the share in both together (the files are alike as wholes).

Why no library does this: copydetect, the one on PyPI that would fit, had its last release in March 2024 and brings
Pygments, Jinja2 and tqdm for 500 languages and a report of its own; it winnows characters of a whole file with
Python's salted ``hash``, so that two runs may name different pairs; it keeps constants and annotations; and it cannot
set aside what a class has in common, without which all solutions of a small task look alike.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from .class_table import write_rows
from .fingerprints import WINDOW, Fingerprint, K, Print, all_hashes, fingerprint
from .report.text import count, printable

if TYPE_CHECKING:
    from rich.console import Console

THRESHOLD = 0.25
"""Containment from which a pair is listed; see ``tests/test_grading_similarity.py`` for what lies on either side."""

COMMON = 0.4
"""The share of a class that makes a fingerprint common property."""

FEW = 4
"""That many submissions may share a fingerprint in a class of any size, or small classes would share everything."""

LEAST = 8
"""Common fingerprints below which a pair is not listed: some 15 lines. Less is chance."""

NOTE = "These pairs are a reason to look, not a proof: read both files, and ask."


class Lines(NamedTuple):
    """A range of lines, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


class Match(NamedTuple):
    """Lines of one file that are like lines of the other."""

    first: Lines
    second: Lines
    prints: int  # how many fingerprints say so


@dataclass(frozen=True)
class Pair:
    """Two submissions that are alike.

    Attributes
    ----------
    first, second : str
    containment : float
        Common fingerprints over those of the smaller file.
    jaccard : float
        Common fingerprints over those of both.
    common : int
        How many are common.
    matches : tuple of Match
        The longest first.
    """

    first: str
    second: str
    containment: float
    jaccard: float
    common: int
    matches: tuple[Match, ...]


@dataclass(frozen=True)
class Similarities:
    """The outcome of a comparison.

    Attributes
    ----------
    pairs : tuple of Pair
        The most alike first.
    compared : int
        Submissions.
    unread : dict of str to str
        Submissions that are no Python, and why.
    """

    pairs: tuple[Pair, ...]
    compared: int
    unread: Mapping[str, str]


def compare_sources(
    sources: Mapping[str, str],
    *,
    stub: str = "",
    known: Mapping[str, str] | None = None,
    threshold: float = THRESHOLD,
    common: float = COMMON,
    k: int = K,
    window: int = WINDOW,
) -> Similarities:
    """Find pairs of submissions that are alike.

    Parameters
    ----------
    sources : dict of str to str
        Python text by the name of the student.
    stub : str
        What was handed out; it counts for nobody.
    known : dict of str to str, optional
        Other texts that may have been copied from, such as last year's submissions or the published solution; each is
        compared with every submission, but not with the others.
    threshold : float
        Containment from which a pair is listed, from 0 to 1.
    common : float
        Fingerprints in more than this share of the submissions (and in more than ``FEW``) are set aside.
    k, window : int
        See :mod:`.fingerprints`.

    Raises
    ------
    ValueError
        If a share is not between 0 and 1, or a name occurs among both kinds of text.
    """
    known = known or {}
    for name, value in (("threshold", threshold), ("common", common)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is a share from 0 to 1, found {value}")
    if twice := sorted(set(sources) & set(known)):
        raise ValueError(f"{twice[0]!r} is both a submission and a known text; give one of them another name")
    prints: dict[str, Fingerprint] = {}
    unread = {}
    for name, source in [*sources.items(), *known.items()]:
        try:
            prints[name] = fingerprint(source, k, window)
        except SyntaxError as error:
            unread[name] = f"no Python: {error.msg}{f' (line {error.lineno})' if error.lineno else ''}"
    counts = Counter(value for name in sources if name in prints for value in prints[name].values)
    most = max(common * len(sources), FEW)
    excluded = {value for value, number in counts.items() if number > most} | _hashes(stub, k)
    kept = {name: one.values - excluded for name, one in prints.items()}
    pairs = []
    for first, second in combinations(kept, 2):
        if first in known and second in known:
            continue
        shared = kept[first] & kept[second]
        smaller = min(len(kept[first]), len(kept[second]))
        if len(shared) < LEAST or len(shared) < threshold * smaller:
            continue
        matches = tuple(_matches(prints[first], prints[second], shared, k + window))
        jaccard = len(shared) / len(kept[first] | kept[second])
        pairs.append(Pair(first, second, len(shared) / smaller, jaccard, len(shared), matches))
    pairs.sort(key=lambda pair: (-pair.containment, -pair.jaccard, pair.first, pair.second))
    return Similarities(tuple(pairs), len(sources) - len(set(unread) & set(sources)), unread)


def _hashes(stub: str, k: int) -> frozenset[int]:
    try:
        return all_hashes(stub, k)
    except SyntaxError as error:
        raise ValueError(f"the stub is no Python: {error}") from None


def _matches(first: Fingerprint, second: Fingerprint, shared: frozenset[int], reach: int) -> list[Match]:
    """Neighbouring common fingerprints joined to ranges of lines."""
    places: dict[int, list[Print]] = {}
    for one in second.prints:
        if one.value in shared:
            places.setdefault(one.value, []).append(one)
    pairs = [(one, other) for one in first.prints if one.value in shared for other in places[one.value][:4]]
    chains: list[list[tuple[Print, Print]]] = []
    for one, other in pairs:
        for chain in chains:
            if _continues(chain[-1][0], one, reach) and _continues(chain[-1][1], other, reach):
                chain.append((one, other))
                break
        else:
            chains.append([(one, other)])
    matches = [
        Match(_lines([one for one, _ in chain]), _lines([other for _, other in chain]), len(chain)) for chain in chains
    ]
    return list(_without_repeats(sorted(matches, key=lambda match: (-match.prints, match.first))))


def _continues(before: Print, after: Print, reach: int) -> bool:
    return before.unit == after.unit and 0 <= after.start - before.start <= reach


def _lines(prints: Sequence[Print]) -> Lines:
    return Lines(min(one.first_line for one in prints), max(one.last_line for one in prints))


def _without_repeats(matches: Sequence[Match]) -> Iterator[Match]:
    """Without those whose lines lie within a longer one's, in either file."""
    seen: list[Match] = []
    for match in matches:
        if not any(_within(match.first, other.first) or _within(match.second, other.second) for other in seen):
            seen.append(match)
            yield match


def _within(inner: Lines, outer: Lines) -> bool:
    return outer.first <= inner.first and inner.last <= outer.last


def print_pairs(found: Similarities, console: Console | None = None, most: int = 50) -> None:
    """Print a table of the pairs."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console(highlight=False)
    if found.pairs:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column("submissions", overflow="fold")
        table.add_column("of the smaller", justify="right")
        table.add_column("of both", justify="right")
        table.add_column("lines that match", overflow="fold")
        for pair in found.pairs[:most]:
            lines = ", ".join(f"{match.first} and {match.second}" for match in pair.matches[:3])
            more = f", {len(pair.matches) - 3} more" if len(pair.matches) > 3 else ""
            names = Text(f"{printable(pair.first)}\n{printable(pair.second)}")
            table.add_row(names, f"{100 * pair.containment:.0f} %", f"{100 * pair.jaccard:.0f} %", f"{lines}{more}")
        console.print(table)
        if len(found.pairs) > most:
            console.print(f"and {count(len(found.pairs) - most, 'more pair')}")
    pairs = count(len(found.pairs), "pair") if found.pairs else "no pair"
    console.print(
        f"{pairs} suspiciously alike among {count(found.compared, 'submission')}.{' ' + NOTE if found.pairs else ''}"
    )
    for name, why in found.unread.items():
        console.print(Text(f"not compared: {printable(name)}: {printable(why)}"))


def write_pairs(path: str | os.PathLike[str], found: Similarities) -> None:
    """Write the pairs as CSV."""
    header = ["first", "second", "containment", "jaccard", "common fingerprints", "lines of first", "lines of second"]
    rows = [
        [
            pair.first, pair.second, round(pair.containment, 4), round(pair.jaccard, 4), pair.common,
            "; ".join(f"lines {match.first}" for match in pair.matches),
            "; ".join(f"lines {match.second}" for match in pair.matches),
        ]
        for pair in found.pairs
    ]  # fmt: skip
    write_rows(path, header, rows)

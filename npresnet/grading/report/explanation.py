"""Failing tests in words: those of a part that fail for one reason are told once, by their smallest case."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

from ..marks import Cell, Failure, PartMark, Report
from ..texts import ENGLISH, Texts
from .text import address, distinct_digits, listed, points, rough
from .visible import KINDS, View, is_stub

OF_THE_VALUE = frozenset({"values", "shape", "dtype", "missing", "not finite", "type"})
"""Kinds of failure that are about one returned value; the others are about the call as a whole."""

WHERE, LINE = "fails in", "line"
"""Names of facts that are shown in another way where there is a better one."""


class Fact(NamedTuple):
    """A line of an explanation."""

    name: str  # what it is about, in English
    label: str  # the same in the language of the report
    text: str
    section: str = ""  # of the tutorials, to be linked to


@dataclass(frozen=True)
class Explanation:
    """One reason for which tests of a part fail.

    Attributes
    ----------
    headline : str
        What is wrong, in a few words.
    quotes : bool
        Whether the headline holds words of the submission itself.
    cells : tuple of Cell
        The failing tests.
    failure : Failure
        That of the smallest failing case, of a public test if there is one.
    say : Texts
        The language of its words.
    """

    headline: str
    quotes: bool
    cells: tuple[Cell, ...]
    failure: Failure
    say: Texts = ENGLISH

    @property
    def lost(self) -> float:
        """Points that these tests would have earned."""
        return sum(cell.max_points - cell.points for cell in self.cells)

    @property
    def where(self) -> str:
        """The tests, by their criteria."""
        say = self.say
        public = list(dict.fromkeys(cell.criterion for cell in self.cells if not cell.hidden))
        hidden = list(dict.fromkeys(cell.criterion for cell in self.cells if cell.hidden))
        alone = [criterion_name(name, True, say) for name in hidden if name not in public]
        words = [*(criterion_name(name, False, say) for name in public), *alone]
        kept = sum(cell.hidden for cell in self.cells)
        names = listed(words, say=say)
        if not kept or len(alone) == len(words):
            return names
        return say.counted(
            kept,
            "{names}; {count} of these {tests} tests is hidden",
            "{names}; {count} of these {tests} tests are hidden",
            names=names,
            tests=len(self.cells),
        )

    @property
    def facts(self) -> list[Fact]:
        """What is known, in the order of its use to somebody who looks for the mistake."""
        failure, say = self.failure, self.say
        facts = [(WHERE, self.where, "")]
        if failure.hint:
            facts.append(("kind of mistake", failure.hint, ""))
        if failure.section:
            facts.append(("read", address(failure.section), failure.section))
        if failure.line is not None:
            facts.append((LINE, str(failure.line), ""))
        if case := _case(failure, say):
            facts.append(("smallest case", case, ""))
        if failure.expected is not None or failure.got is not None:
            facts.append(("worst value", _values(failure, say), ""))
        if failure.error is not None:
            facts.append(("error", _error(failure, say), ""))
        return [Fact(name, say.phrase(name), text, section) for name, text, section in facts]


def criterion_name(name: str, hidden: bool, say: Texts = ENGLISH) -> str:
    """A kind of case, and whether it is hidden."""
    shown = say.criterion(name)
    return say.phrase("{test} (hidden)", test=shown) if hidden else shown


def cell_name(cell: Cell, say: Texts = ENGLISH) -> str:
    """A returned value under a criterion: ``dx, stride``."""
    name = say.phrase("{output}, {criterion}", output=cell.output, criterion=say.criterion(cell.criterion))
    return say.phrase("{test} (hidden)", test=name) if cell.hidden else name


def explain(part: PartMark, say: Texts = ENGLISH) -> list[Explanation]:
    """The reasons for which a part lost points, the dearest first."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in part.cells:
        if cell.failure is not None:
            groups.setdefault(_reason(cell, cell.failure), []).append(cell)
    explanations = [_explanation(cells, say) for cells in groups.values()]
    return sorted(explanations, key=lambda explanation: -explanation.lost)


def explain_alone(cell: Cell, say: Texts = ENGLISH) -> tuple[str, str]:
    """A headline and lines of facts for one failing test, where every test stands for itself."""
    alone = explain(PartMark("", "", (cell,), 0), say)[0]
    lines = [say.phrase("{label}: {text}", label=f.label, text=f.text) for f in alone.facts if f.name != WHERE]
    return alone.headline, "\n".join(lines)


def not_written(part: PartMark) -> bool:
    """Whether the function is still the stub."""
    return bool(part.cells) and all(cell.failure is not None and is_stub(cell.failure) for cell in part.cells)


def state(part: PartMark) -> str:
    """One or two words for a part, in English: its place in tables of colours, and a phrase."""
    failures = [cell.failure for cell in part.cells if cell.failure is not None]
    if not part.cells:
        return "hidden"
    if not failures:
        return "passed"
    if not_written(part):
        return "not written"
    kinds = {failure.kind for failure in failures}
    if len(failures) == len(part.cells) and len(kinds) == 1:
        short = {"exception": "exception", "time": "too slow", "memory": "memory", "refused": "refused"}
        return short.get(kinds.pop(), "failed")
    return "failed" if len(failures) == len(part.cells) else "partly"


def notes(report: Report) -> list[str]:
    """What else the student should know."""
    say, lines = Texts(report.language), list(report.findings)
    own = [part.name for part in report.parts if part.standing == "own"]
    if own:
        better = "marked together with your own earlier functions, which was better for you: {functions}"
        lines.append(say.phrase(better, functions=listed(own, 30, say)))
    return lines


def _reason(cell: Cell, failure: Failure) -> tuple[str, ...]:
    if failure.kind in OF_THE_VALUE and not is_stub(failure):
        return (failure.kind, failure.output or cell.output, failure.mistake or "")
    return (failure.kind, str(failure.line), failure.mistake or "")


def _explanation(cells: list[Cell], say: Texts) -> Explanation:
    cell = min(cells, key=lambda cell: (cell.hidden, _size(cell.failure)))
    failure = cell.failure
    assert failure is not None  # every cell of a group has one
    headline = failure.message
    if not headline:
        headline = say.phrase(KINDS.get(failure.kind, failure.kind))
        if failure.kind in OF_THE_VALUE:
            headline = say.phrase("{label}: {text}", label=failure.output or cell.output, text=headline)
    quotes = failure.kind not in ("values", "shape", "not finite", "mutated", "unstable", "time", "memory")
    return Explanation(headline, quotes and bool(failure.message), tuple(cells), failure, say)


def _size(failure: Failure | None) -> int:
    return sum(math.prod(shape) for shape in failure.shapes.values()) if failure else 0


def _case(failure: Failure, say: Texts) -> str:
    """Shapes, settings that shapes do not show, dtype and seed."""
    parts = [", ".join(f"{name} {_shape(shape)}" for name, shape in failure.shapes.items())]
    parts.append(", ".join(f"{say.setting(name)} {say.setting(value)}" for name, value in failure.settings.items()))
    if failure.seed is not None:
        parts.append(say.phrase("seed {seed}", seed=failure.seed))
    known = [part for part in parts if part]
    return "; ".join([*known, failure.dtype]) if known else ""


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _values(failure: Failure, say: Texts) -> str:
    at = f"{failure.output}[{', '.join(map(str, failure.position))}]" if failure.position else failure.output
    digits = distinct_digits(failure.expected, failure.got)
    words = []
    if failure.expected is not None:
        words.append(say.phrase("expected {value}", value=f"{failure.expected:.{digits}g}"))
    if failure.got is not None:
        words.append(say.phrase("got {value}", value=f"{failure.got:.{digits}g}"))
    values = _with_commas(words, say)
    return say.phrase("{label}: {text}", label=at, text=values) if at else values


def _error(failure: Failure, say: Texts) -> str:
    words = [] if failure.error is None else [rough(failure.error)]
    if failure.allowed is not None:
        words.append(say.phrase("allowed {value}", value=rough(failure.allowed)))
    if failure.wrong is not None:
        words.append(say.phrase("{share} of the elements are off", share=share(failure.wrong)))
    return _with_commas(words, say)


def _with_commas(clauses: list[str], say: Texts) -> str:
    return functools.reduce(lambda first, second: say.phrase("{clause}, {next}", clause=first, next=second), clauses)


def share(fraction: float) -> str:
    """A part of a whole in percent, that is only 0 or 100 where it really is."""
    percent = 100 * fraction
    if 0 < percent < 1:
        return f"{max(percent, 0.01):.2g} %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{min(percent, 99):.0f} %"


def total(report: Report) -> str:
    """Points of a report: ``81.5 of 100 points``."""
    return of_points(report, Texts(report.language))


def total_of(view: View) -> str:
    """The same, and that hidden tests are not in them, if so."""
    text = total(view.report)
    return view.say.phrase("{total} in the public tests", total=text) if view.withheld else text


def of_points(marked: Report | PartMark, say: Texts) -> str:
    """Points earned and to be earned, in words."""
    return say.phrase("{points} of {most} points", points=points(marked.points), most=points(marked.max_points))


def of_most(marked: PartMark, say: Texts) -> str:
    """The same for a column that says that it is about points."""
    return say.phrase("{points} of {most}", points=points(marked.points), most=points(marked.max_points))

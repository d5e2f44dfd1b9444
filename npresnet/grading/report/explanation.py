"""Failing tests in words: those of a part that fail for one reason are told once, by their smallest case."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from ..marks import Cell, Failure, PartMark, Report
from .text import address, distinct_digits, listed, points, rough
from .visible import KINDS, NOT_WRITTEN

OF_THE_VALUE = frozenset({"values", "shape", "dtype", "missing", "not finite", "type"})
"""Kinds of failure that are about one returned value; the others are about the call as a whole."""

WHERE = "fails in"


class Fact(NamedTuple):
    """A line of an explanation."""

    label: str
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
    """

    headline: str
    quotes: bool
    cells: tuple[Cell, ...]
    failure: Failure

    @property
    def lost(self) -> float:
        """Points that these tests would have earned."""
        return sum(cell.max_points - cell.points for cell in self.cells)

    @property
    def where(self) -> str:
        """The tests, by their criteria."""
        public = list(dict.fromkeys(cell.criterion for cell in self.cells if not cell.hidden))
        hidden = list(dict.fromkeys(cell.criterion for cell in self.cells if cell.hidden))
        alone = [name for name in hidden if name not in public]
        words = [*public, *(f"{name} (hidden)" for name in alone)]
        kept = sum(cell.hidden for cell in self.cells)
        if not kept or len(alone) == len(words):
            return listed(words)
        return f"{listed(words)}; {kept} of these {len(self.cells)} tests {'is' if kept == 1 else 'are'} hidden"

    @property
    def facts(self) -> list[Fact]:
        """What is known, in the order of its use to somebody who looks for the mistake."""
        failure = self.failure
        facts = [Fact(WHERE, self.where)]
        if failure.hint:
            facts.append(Fact("kind of mistake", failure.hint))
        if failure.section:
            facts.append(Fact("read", address(failure.section), failure.section))
        if failure.line is not None:
            facts.append(Fact("line", str(failure.line)))
        if case := _case(failure):
            facts.append(Fact("smallest case", case))
        if failure.expected is not None or failure.got is not None:
            facts.append(Fact("worst value", _values(failure)))
        if failure.error is not None:
            facts.append(Fact("error", _error(failure)))
        return facts


def explain(part: PartMark) -> list[Explanation]:
    """The reasons for which a part lost points, the dearest first."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in part.cells:
        if cell.failure is not None:
            groups.setdefault(_reason(cell, cell.failure), []).append(cell)
    explanations = [_explanation(cells) for cells in groups.values()]
    return sorted(explanations, key=lambda explanation: -explanation.lost)


def explain_alone(cell: Cell) -> tuple[str, str]:
    """A headline and lines of facts for one failing test, where every test stands for itself."""
    alone = explain(PartMark("", "", (cell,), 0))[0]
    return alone.headline, "\n".join(f"{fact.label}: {fact.text}" for fact in alone.facts if fact.label != WHERE)


def not_written(part: PartMark) -> bool:
    """Whether the function is still the stub."""
    return bool(part.cells) and all(cell.failure is not None and _is_stub(cell.failure) for cell in part.cells)


def state(part: PartMark) -> str:
    """One or two words for a part."""
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
    lines = list(report.findings)
    own = [part.name for part in report.parts if part.standing == "own"]
    if own:
        lines.append(f"marked together with your own earlier functions, which was better for you: {listed(own, 30)}")
    return lines


def _is_stub(failure: Failure) -> bool:
    return failure.message == NOT_WRITTEN


def _reason(cell: Cell, failure: Failure) -> tuple[str, ...]:
    if failure.kind in OF_THE_VALUE and not _is_stub(failure):
        return (failure.kind, failure.output or cell.output, failure.mistake or "")
    return (failure.kind, str(failure.line), failure.mistake or "")


def _explanation(cells: list[Cell]) -> Explanation:
    cell = min(cells, key=lambda cell: (cell.hidden, _size(cell.failure)))
    failure = cell.failure
    assert failure is not None  # every cell of a group has one
    headline = failure.message
    if not headline:
        words = KINDS.get(failure.kind, failure.kind)
        headline = f"{failure.output or cell.output}: {words}" if failure.kind in OF_THE_VALUE else words
    quotes = failure.kind not in ("values", "shape", "not finite", "mutated", "unstable", "time", "memory")
    return Explanation(headline, quotes and bool(failure.message), tuple(cells), failure)


def _size(failure: Failure | None) -> int:
    return sum(math.prod(shape) for shape in failure.shapes.values()) if failure else 0


def _case(failure: Failure) -> str:
    """Shapes, settings that shapes do not show, dtype and seed."""
    parts = [", ".join(f"{name} {_shape(shape)}" for name, shape in failure.shapes.items())]
    parts.append(", ".join(f"{name} {value}" for name, value in failure.settings.items()))
    if failure.seed is not None:
        parts.append(f"seed {failure.seed}")
    known = [part for part in parts if part]
    return "; ".join([*known, failure.dtype]) if known else ""


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _values(failure: Failure) -> str:
    at = f"{failure.output}[{', '.join(map(str, failure.position))}]" if failure.position else failure.output
    digits = distinct_digits(failure.expected, failure.got)
    words = []
    if failure.expected is not None:
        words.append(f"expected {failure.expected:.{digits}g}")
    if failure.got is not None:
        words.append(f"got {failure.got:.{digits}g}")
    return f"{at}: {', '.join(words)}" if at else ", ".join(words)


def _error(failure: Failure) -> str:
    words = [] if failure.error is None else [rough(failure.error)]
    if failure.allowed is not None:
        words.append(f"allowed {rough(failure.allowed)}")
    if failure.wrong is not None:
        words.append(f"{share(failure.wrong)} of the elements are off")
    return ", ".join(words)


def share(fraction: float) -> str:
    """A part of a whole in percent, that is only 0 or 100 where it really is."""
    percent = 100 * fraction
    if 0 < percent < 1:
        return f"{max(percent, 0.01):.2g} %"
    return f"{percent:.0f} %" if percent in (0, 100) else f"{min(percent, 99):.0f} %"


def total(report: Report) -> str:
    """Points of a report: ``81.5 of 100 points``."""
    return f"{points(report.points)} of {points(report.max_points)} points"

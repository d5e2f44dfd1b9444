"""Which known mistake explains a wrong result?

Every mistake of the bank that may be behind a part is run on the part's cases, in this process. One that returns what
the submission returned, in every case, right ones included, is the explanation. Where several do, one that also
explains the part's other outputs is preferred, then the one that comes closer, then the one that is listed first. When
no mistake explains all cases of an output, one that explains the failing cases of a criterion is named as a possibility
(``sure`` is False). Last, there are rules for the look of a result: transposed, negated, N times too large.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .bank import MISTAKES, Mistake
from .bank.running import outputs_of
from .evidence import SLACK, Finding, Pair, findings
from .lookalikes import exchanged, lookalike
from .part import Array, Case, Expected, Part

if TYPE_CHECKING:
    from .judge import CaseResult

EXPLAINED = 0.1
"""A mistake explains an error when what is left of it is at most this part."""
CLOSE = 0.01
"""A match is a close one when it is off by at most this part of what rounding explains."""


def diagnose(
    part: Part,
    cases: Sequence[Case],
    results: Sequence[CaseResult],
    answers: Sequence[Mapping[str, Expected]] | None = None,
    own: bool = False,
) -> dict[str, Mistake]:
    """Find the mistakes behind the wrong outputs of a part.

    Parameters
    ----------
    part : Part
    cases : sequence of Case
    results : sequence of CaseResult
        What the submission returned, case by case; cases that raised an error are left out.
    answers : sequence, optional
        The right values of each case; computed when not given.
    own : bool
        Whether the part was run on the submission's own earlier functions, so that their mistakes show.

    Returns
    -------
    dict of Mistake
        By output (``dx``), or by the member of an output that is a dict (``grads/conv1.weight``) where the output as a
        whole has no explanation. Outputs that are right, and those that nothing explains, are left out.
    """
    found: dict[str, Mistake] = {}
    for (_, name), mistake in diagnose_criteria(part, cases, results, answers, own).items():
        if name not in found or (mistake.sure and not found[name].sure):
            found[name] = mistake
    return found


def diagnose_criteria(
    part: Part,
    cases: Sequence[Case],
    results: Sequence[CaseResult],
    answers: Sequence[Mapping[str, Expected]] | None = None,
    own: bool = False,
) -> dict[tuple[str, str], Mistake]:
    """As :func:`diagnose`, by criterion and output: two mistakes in one output may show under two criteria."""
    if answers is None:
        answers = [part.expected(case) for case in cases]
    everything = {output: findings(output, cases, results, answers) for output in part.outputs}
    failing = {
        output: [finding for finding in found if finding.fails]
        for output, found in everything.items()
        if any(finding.fails for finding in found)
    }
    if not failing:
        return {}
    search = _Search(everything, failing)
    for candidates in _candidates(part, own):
        search.look_for(candidates)
    return search.explanations(part)


def _candidates(part: Part, own: bool) -> list[list[Mistake]]:
    """Mistakes that may show in a part: those made in it, those in its other functions, those in all earlier ones."""
    stages: list[list[Mistake]] = [[], [], []]
    for mistake in MISTAKES.values():
        if mistake.part == part.functions[-1]:
            stages[0].append(mistake)
        elif mistake.part in part.functions:
            stages[1].append(mistake)
        elif own or not part.stand_ins:
            stages[2].append(mistake)
    return stages


class _Search:
    """The search for what explains the outputs of a part."""

    def __init__(self, everything: Mapping[str, Sequence[Finding]], failing: Mapping[str, Sequence[Finding]]) -> None:
        self.everything = everything
        self.failing = failing
        self.whole: dict[str, Mistake] = {}
        self.parts: dict[tuple[str, str], Mistake] = {}  # by criterion and output

    def look_for(self, candidates: Sequence[Mistake]) -> None:
        """Try some mistakes on what is not explained yet."""
        for output in self.failing:
            if output not in self.whole and (best := self._best(output, candidates)) is not None:
                self.whole[output] = best
        for output, failing in self.failing.items():
            if output in self.whole:
                continue
            for criterion in dict.fromkeys(finding.case.criterion for finding in failing):
                own = [finding for finding in failing if finding.case.criterion == criterion]
                if (criterion, output) in self.parts:
                    continue
                for mistake in candidates:
                    if output in mistake.outputs and _majority(mistake, own):
                        self.parts[criterion, output] = replace(mistake, sure=False)
                        break

    def _best(self, output: str, candidates: Sequence[Mistake]) -> Mistake | None:
        """The mistake that explains all cases of an output and most besides."""
        fitting = []
        for rank, mistake in enumerate(candidates):
            distance = _distance(mistake, self.failing[output][:1])
            if distance is None or (distance := _distance(mistake, self.everything[output])) is None:
                continue
            others = sum(
                _distance(mistake, found) is not None for name, found in self.everything.items() if name != output
            )
            fitting.append((-others, distance > CLOSE, rank, mistake))
        return min(fitting)[-1] if fitting else None

    def explanations(self, part: Part) -> dict[tuple[str, str], Mistake]:
        """All that was found, with rules for what is left."""
        looks = {output: found for output, found in self.failing.items() if output not in self.whole}
        orders = exchanged(part.name, looks)
        found: dict[tuple[str, str], Mistake] = {}
        for output, failing in self.failing.items():
            general = self.whole.get(output) or orders.get(output)
            if general is None and not any(name == output for _, name in self.parts):
                general = lookalike(part.name, output, failing)
            for criterion in dict.fromkeys(finding.case.criterion for finding in failing):
                mistake = general or self.parts.get((criterion, output))
                if mistake is not None:
                    found[criterion, output] = mistake
                    continue
                own = [finding for finding in failing if finding.case.criterion == criterion]
                if len(own) > 1 and (look := lookalike(part.name, output, own)) is not None:
                    found[criterion, output] = replace(look, sure=False)
        return found


def _distance(mistake: Mistake, found: Sequence[Finding]) -> float | None:
    """How far a mistake is from what was returned, in units of rounding; None when it does not explain it."""
    worst = 0.0
    for finding in found:
        distance = _distance_of_case(mistake, finding)
        if distance is None:
            return None
        worst = max(worst, distance)
    return worst


def _majority(mistake: Mistake, failing: Sequence[Finding]) -> bool:
    """Whether a mistake explains more than half of some failing cases."""
    missed = 0
    for finding in failing:
        missed += _distance_of_case(mistake, finding) is None
        if 2 * missed >= len(failing):  # the rest need not be run
            return False
    return True


def _distance_of_case(mistake: Mistake, finding: Finding) -> float | None:
    theirs = _outputs(mistake.name, _Key(finding.case))
    if theirs is None or finding.wrong_type:
        return None
    output = finding.output
    asked = {*finding.pairs, *finding.absent, *finding.surplus}
    theirs = {name: value for name, value in theirs.items() if name == output or name in asked}
    if set(theirs) != {*finding.pairs, *finding.surplus}:
        return None
    worst = 0.0
    for name, value in theirs.items():
        pair = finding.pairs.get(name)
        if pair is None:  # should not be there at all: its values do not matter
            continue
        distance = _distance_of_array(pair, value)
        if distance is None:
            return None
        worst = max(worst, distance)
    return worst


def _distance_of_array(pair: Pair, theirs: Array) -> float | None:
    distance = pair.distance(theirs)
    if distance > SLACK:
        return None
    if pair.fails and pair.off(theirs) > EXPLAINED * pair.off(pair.right) and np.isfinite(pair.off(pair.right)):
        return None
    return distance


class _Key:
    """A case as a key: equal when all that it follows from is equal."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.values = (case.part, case.criterion, repr(sorted(case.settings.items())), case.seed, case.dtype)

    def __hash__(self) -> int:
        return hash(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.values == other.values


@functools.lru_cache(maxsize=4096)
def _outputs(mistake: str, key: _Key) -> dict[str, Array] | None:
    """What a mistake returns in a case: the same for all submissions of a class."""
    return outputs_of(key.case, MISTAKES[mistake].functions)

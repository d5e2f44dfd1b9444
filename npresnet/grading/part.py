"""What is marked: a part is one function of the coursework, a case one call of it, a criterion a kind of case.

Everything about a case follows from its settings (sizes, stride ...) and a seed: inputs are drawn, a script of calls is
written down, and the answer is computed by :mod:`npresnet.ops` in float64, which knows nothing of the coursework's own
solution. Public and hidden cases come from the same criteria and differ in their seeds alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Settings = Mapping[str, Any]
"""Sizes and options of a case: JSON values by name, such as ``{"N": 2, "C": 3, "H": 5, "W": 4, "stride": 2}``."""
Inputs = dict[str, Any]
"""Values by name: arrays, dicts of arrays (parameters), tuples of whole numbers (a kernel size, a shape), numbers, or
None. An array keeps its order in memory on its way to the judge's process."""


class Step(NamedTuple):
    """One call of a script: ``returns = function(*args, **options)``, names standing for values.

    A script is what the judge's process is told to do; it holds no values and no answers.
    """

    function: str
    args: tuple[str, ...]
    returns: tuple[str, ...]  # one name for a single value, several for a tuple
    options: tuple[tuple[str, str], ...] = ()  # keyword, name of the value


class Expected(NamedTuple):
    """The right answer in float64, and how far rounding may carry a right implementation away from it.

    ``bound`` is in units of the roundoff of the dtype that was computed in: an error ``|got - value|`` is allowed up to
    ``roundoff * bound``, element by element (a single number or an array of the shape of ``value``).
    """

    value: Array
    bound: Array | float


@dataclass(frozen=True)
class Case:
    """One call, ready to be made."""

    part: str
    criterion: str
    settings: Settings
    seed: int
    dtype: str  # float32 or float64, of all inputs with a fraction
    inputs: Inputs
    script: tuple[Step, ...]
    outputs: tuple[str, ...]
    """Names of the returned values that are marked. A dict of arrays is marked as a whole under its name; its members
    cross the pipe as ``name/key``."""

    @property
    def size(self) -> int:
        """Numbers in all inputs, to tell a small case from a large one."""
        return sum(array.size for _, array in arrays_of(self.inputs))


@dataclass(frozen=True)
class Criterion:
    """A kind of case, with its share of the points of its part.

    ``draw(rng, index)`` gives settings of the case of that index; ``count`` of them are public and as many hidden. The
    first is the smallest, so that it can be worked out by hand: the smallest failing case is the one that is shown.
    """

    name: str  # as in reports: "stride 2", "one pixel", "evaluation mode"
    share: float
    draw: Callable[[np.random.Generator, int], Settings]
    count: int = 2
    dtype: str = "float64"


@dataclass(frozen=True)
class Part:
    """A function of the coursework and everything that is known of it."""

    name: str  # conv2d_backward; "whole" for the integration part
    task: str  # "1.4"
    functions: tuple[str, ...]
    """The functions of the submission that this part is about (a backward function and its forward function). The
    others that the solution has are stood in for by the reference ones, unless ``stand_ins`` is False."""
    outputs: Mapping[str, float]
    """Returned values that are marked, with their shares of every criterion, such as dx, dweight, dbias."""
    criteria: tuple[Criterion, ...]
    draw: Callable[[Settings, np.random.Generator], Inputs]
    script: Callable[[Settings], tuple[Step, ...]]
    answer: Callable[[Inputs, Settings], dict[str, Expected]]
    """The right values of all outputs; a member of a dict of arrays under ``name/key``. An output without any must be
    None in this case."""
    points: float
    smallest: Settings = field(default_factory=dict)
    """The least sensible value of every size, down to which a failing case may be shrunk."""
    sensible: Callable[[Settings], bool] = lambda settings: True
    """Whether settings made by shrinking describe a case at all (a kernel inside the padded image ...)."""
    stand_ins: bool = True
    section: str = ""
    """Where the tutorials explain it, such as ``"01_convolution.ipynb#backward"``."""

    def case(self, criterion: Criterion | str, settings: Settings, seed: int, dtype: str = "float64") -> Case:
        """The case of some settings and a seed, always the same."""
        name = criterion if isinstance(criterion, str) else criterion.name
        inputs = self.draw(settings, np.random.default_rng(seed))
        inputs = {key: _as_dtype(value, dtype) for key, value in inputs.items()}
        script = self.script(settings)
        return Case(self.name, name, dict(settings), seed, dtype, inputs, script, tuple(self.outputs))

    def cases(self, seed: int, hidden: bool) -> Iterator[Case]:
        """All public or all hidden cases of an assignment's seed, criterion by criterion."""
        for criterion in self.criteria:
            for index in range(criterion.count):
                own = derived_seed(seed, self.name, criterion.name, "hidden" if hidden else "public", index)
                settings = criterion.draw(np.random.default_rng(own), index)
                yield self.case(criterion, settings, own, criterion.dtype)

    def expected(self, case: Case) -> dict[str, Expected]:
        """The answer to a case, computed in float64 from the inputs as they were sent."""
        inputs = {key: _as_dtype(value, "float64") for key, value in case.inputs.items()}
        return self.answer(inputs, case.settings)


def derived_seed(seed: int, *names: object) -> int:
    """A seed of 48 bits that depends on all arguments, the same on every machine; ``seed`` cannot be found from it."""
    digest = hashlib.blake2b(repr((seed, *map(str, names))).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")


def arrays_of(values: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    """All arrays among named values; those of a dict as ``name/key``."""
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            yield name, value
        elif isinstance(value, dict):
            for key, member in value.items():
                if isinstance(member, np.ndarray):
                    yield f"{name}/{key}", member


def _as_dtype(value: Any, dtype: str) -> Any:
    """A value with its fractions in another dtype; whole numbers, options and None as they are."""
    if isinstance(value, dict):
        return {key: _as_dtype(member, dtype) for key, member in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(dtype)
    return value

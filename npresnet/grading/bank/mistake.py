"""What a known mistake is, and how the bank's files write one down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Wrong = Callable[..., Any]
Functions = Mapping[str, Callable[..., Any]]
"""Functions by the name of the solution's function whose place they take."""

MISTAKES: dict[str, Mistake] = {}
"""All known mistakes by name, those of one function together: what is listed first is preferred where two fit."""


@dataclass(frozen=True)
class Mistake:
    """A mistake that students make, as a wrong implementation that really runs.

    Attributes
    ----------
    name : str
        Such as ``bn-running-var-biased``.
    part : str
        The function in which it is made, such as ``batchnorm2d_forward``.
    outputs : tuple of str
        The returned values that it makes wrong.
    hint : str
        What kind of mistake it is and where to look; never the line that is right.
    functions : mapping
        What takes the place of functions of the solution. A wrong backward function may bring a right forward function
        along that keeps more in its cache. Empty for a mistake that is recognised by the look of the result alone.
    section : str
        Of the tutorials; that of the part where empty.
    sure : bool
        Whether it explains every case of the output, or only some of them.
    """

    name: str
    part: str
    outputs: tuple[str, ...]
    hint: str
    functions: Functions = field(default_factory=dict, repr=False)
    section: str = ""
    sure: bool = True


def mistakes_in(part: str, adapt: Callable[[Wrong], Functions]) -> Callable[[str, str, str], Callable[[Wrong], Wrong]]:
    """Make the decorator with which the mistakes of one function of the coursework are added to the bank.

    Parameters
    ----------
    part : str
        The function in which the mistakes are made.
    adapt : callable
        Turns what is decorated into functions with the interface of the coursework, so that what is decorated can be
        short: it may take arguments that are easier to work with, and return the values that are wrong alone.

    Returns
    -------
    callable
        ``mistake(name, outputs, hint)``; outputs separated by blanks.
    """

    def mistake(name: str, outputs: str, hint: str) -> Callable[[Wrong], Wrong]:
        def add(wrong: Wrong) -> Wrong:
            if name in MISTAKES:
                raise ValueError(f"the bank has two mistakes of the name {name}")
            MISTAKES[name] = Mistake(name, part, tuple(outputs.split()), hint, adapt(wrong))
            return wrong

        return add

    return mistake

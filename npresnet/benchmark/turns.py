"""Contestants take turns, round by round.

A machine is never quite the same for minutes: clocks change, other processes come and go. One turn is short (a second),
all contestants take one each round, and they are compared within a round: a ratio is the median over the rounds of
``their turn / our turn``. The order moves on by one each round, so that nobody always follows the same other.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

SECONDS = 1.0  # of a turn
CALLS = 3  # in a turn, at least
PAUSE = 0.2  # seconds between turns: threads of the one before may still spin, waiting for more work

Name = TypeVar("Name")


def take_turns(
    names: Sequence[Name],
    turn: Callable[[Name], Sequence[float]],
    rounds: int,
    pause: float,
    tell: Callable[[int], None] = lambda number: None,
) -> dict[Name, list[list[float]]]:
    """Let everyone take a turn in each round.

    Parameters
    ----------
    names : sequence
        The contestants.
    turn : function
        Takes a turn of the contestant with this name and returns the time of every call.
    rounds : int
    pause : float
        Seconds before each turn.
    tell : function
        Called before each round with its number, from 0.

    Returns
    -------
    dict of name to one list of times for each round
    """
    times: dict[Name, list[list[float]]] = {name: [] for name in names}
    for number in range(rounds):
        tell(number)
        first = number % max(1, len(names))
        for name in [*names[first:], *names[:first]]:
            time.sleep(pause)
            times[name].append(list(turn(name)))
    return times


def turn_medians(times: Sequence[Sequence[float]]) -> list[float]:
    """One number for each round."""
    return [statistics.median(turn) for turn in times]


def paired_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """How many times longer they take: the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(theirs, ours, strict=True))

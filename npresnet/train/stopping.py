"""Stop training when a measure has not improved for a while."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config_fields import check_integer
from .checks import check_not_negative, check_state

MODES = ("min", "max")


class EarlyStopping:
    """Count evaluations without improvement.

    Parameters
    ----------
    patience : int
        How many of them in a row end the training.
    min_delta : float
        An improvement is more than this.
    mode : {"min", "max"}
        Whether small values are good, as of a loss, or large ones, as of an accuracy.

    Attributes
    ----------
    best : float or None
        The best value so far.
    waited : int
        Evaluations since then; 0 says that the last value was the best.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    def __init__(self, patience: int, min_delta: float = 0.0, mode: str = "min") -> None:
        self.patience = check_integer("patience", patience, 1)
        self.min_delta = check_not_negative("min_delta", min_delta)
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is not known; choose 'min' for a loss, 'max' for an accuracy")
        self.mode = mode
        self.best: float | None = None
        self.waited = 0

    def update(self, value: float) -> bool:
        """Take the value of one evaluation; return whether to stop. NaN is never an improvement."""
        value = float(value)
        gain = math.inf if self.best is None else self.best - value if self.mode == "min" else value - self.best
        if gain > self.min_delta and not math.isnan(value):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited >= self.patience

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return ``"best"``, NaN where there is none yet, and ``"waited"``."""
        best = math.nan if self.best is None else self.best
        return {"best": np.array(best, np.float64), "waited": np.array(self.waited, np.int64)}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue where another one stopped.

        Raises
        ------
        ValueError
            If the state is not one of :meth:`state_dict`; nothing is changed then.
        """
        title = "this is not the state of an EarlyStopping"
        check_state(title, self.state_dict(), state)
        best, waited = float(state["best"]), int(state["waited"])
        if waited < 0:
            raise ValueError(f"{title}: waited is {waited}, expected a count")
        self.best, self.waited = None if math.isnan(best) else best, waited

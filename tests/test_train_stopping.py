"""Early stopping: whole sequences of values, and the state in between."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from npresnet.train import EarlyStopping

NAN = math.nan


def stops_at(values: list[float], **arguments: Any) -> int | None:
    """The number of the value at which to stop."""
    stopping = EarlyStopping(**arguments)
    return next((number for number, value in enumerate(values) if stopping.update(value)), None)


@pytest.mark.parametrize(
    ("values", "arguments", "expected"),
    [
        ([3, 2, 1, 0.5], {"patience": 1}, None),
        ([3, 2, 2], {"patience": 1}, 2),
        ([3, 2, 2, 3, 1.9, 2, 2, 2], {"patience": 3}, 7),
        ([3, 2, 2, 3, 2], {"patience": 3}, 4),
        ([1, 2, 3, 2], {"patience": 1, "mode": "max"}, 3),
        ([0.5, 0.6, 0.6, 0.61, 0.7], {"patience": 2, "min_delta": 0.05, "mode": "max"}, 3),
        ([0.5, 0.54, 0.58], {"patience": 2, "min_delta": 0.05, "mode": "max"}, None),  # from the best, not the last
        ([1, 0.75, 0.5], {"patience": 1, "min_delta": 0.25}, 1),  # must be more than min_delta
        ([NAN, NAN, 1], {"patience": 2}, 1),
        ([1, NAN, 0.5, NAN, NAN], {"patience": 2}, 4),
        ([math.inf, 1, math.inf], {"patience": 1}, 2),
        ([-math.inf, 1, 2, 2], {"patience": 1, "mode": "max"}, 3),
    ],
)
def test_sequences(values: list[float], arguments: dict[str, Any], expected: int | None) -> None:
    assert stops_at(values, **arguments) == expected


def test_what_is_best() -> None:
    stopping = EarlyStopping(3)
    assert stopping.best is None
    for value, best, waited in ((2.0, 2.0, 0), (3.0, 2.0, 1), (1.0, 1.0, 0), (NAN, 1.0, 1), (np.float32(0.5), 0.5, 0)):
        assert stopping.update(value) is False
        assert (stopping.best, stopping.waited) == (best, waited)


@pytest.mark.parametrize("seen", [[], [NAN], [3.0, 2.0, 2.5]])
def test_state(seen: list[float]) -> None:
    first, second = EarlyStopping(3), EarlyStopping(3)
    for value in seen:
        first.update(value)
    second.load_state_dict(first.state_dict())
    assert (second.best, second.waited) == (first.best, first.waited)
    later = [2.2, 2.1, 1.9, 5.0, 6.0, 7.0]
    assert [first.update(value) for value in later] == [second.update(value) for value in later]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "not the state of an EarlyStopping:\n  best is missing\n  waited is missing"),
        ({"best": np.array(1.0), "waited": np.array(-1)}, "waited is -1, expected a count"),
        ({"best": np.array(1.0), "waited": np.array(1.5)}, r"waited has shape \(\) and dtype float64, expected"),
    ],
)
def test_wrong_state(state: dict[str, Any], message: str) -> None:
    stopping = EarlyStopping(3)
    stopping.update(1.0)
    with pytest.raises(ValueError, match=message):
        stopping.load_state_dict(state)
    assert (stopping.best, stopping.waited) == (1.0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "patience must be an integer >= 1, found 0"),
        ({"patience": 1.5}, "patience must be an integer >= 1, found 1.5"),
        ({"patience": 1, "min_delta": -0.1}, "min_delta must not be negative, found -0.1"),
        ({"patience": 1, "min_delta": NAN}, "min_delta must be a finite number, found nan"),
        ({"patience": 1, "mode": "largest"}, "mode 'largest' is not known; choose 'min' for a loss"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**arguments)

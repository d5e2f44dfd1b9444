"""The marks of a submission: plain values that every report is made from, and that JSON can hold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Failure:
    """Why a cell was not earned: the smallest case that fails, and what was wrong with its result."""

    kind: str
    """values, shape, dtype, missing, not finite, type, mutated, unstable, exception, or what ended the process:
    time, memory, exit, killed, output, protocol, refused."""
    message: str  # one plain sentence
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    dtype: str = "float64"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # of the inputs
    output: str = ""  # the returned value, such as "dx" or "grads/conv1.weight"
    position: tuple[int, ...] | None = None  # of the largest error
    expected: float | None = None  # there
    got: float | None = None
    error: float | None = None
    allowed: float | None = None
    wrong: float | None = None  # the fraction of elements that are off
    line: int | None = None  # of the submission, where an exception came from
    mistake: str | None = None  # its name in the bank
    hint: str = ""  # what kind of mistake it is
    section: str = ""  # of the tutorials


@dataclass(frozen=True)
class Cell:
    """One returned value under one criterion, public or hidden: earned or not."""

    criterion: str
    output: str
    points: float
    max_points: float
    hidden: bool
    failure: Failure | None = None

    @property
    def passed(self) -> bool:
        """Whether all its cases were right."""
        return self.failure is None


def _total(points: Iterable[float]) -> float:
    """A sum without the last digits of rounding, so that 100 points are 100."""
    return round(math.fsum(points), 9)


@dataclass(frozen=True)
class PartMark:
    """The marks of one function."""

    name: str
    task: str
    cells: tuple[Cell, ...]
    seconds: float  # of wall clock, in the judge
    standing: str = "reference"
    """What earlier functions the marks rest on: ``reference`` ones, or the submission's ``own``, which were better for
    it; empty where nothing is ever stood in."""
    stdout: str = ""  # the first lines that it printed
    speed: float | None = None  # of the reference in the same process over that of the submission

    @property
    def points(self) -> float:
        """Points earned."""
        return _total(cell.points for cell in self.cells)

    @property
    def max_points(self) -> float:
        """Points to be earned."""
        return _total(cell.max_points for cell in self.cells)


@dataclass(frozen=True)
class Report:
    """Everything that is known of a submission after marking."""

    submission: str  # the file's name
    assignment: str
    parts: tuple[PartMark, ...]
    seconds: float
    isolation: str  # what the judge's processes were kept from, in one sentence
    findings: tuple[str, ...] = ()  # of the import and syntax policy
    seed: int = 0
    feedback: str = "full"
    """What a student is told of hidden cases: ``full`` (also the case), ``kind`` (what kind of mistake) or ``none``."""
    language: str = "en"
    """Of the messages in it, and of what is made from it."""

    @property
    def points(self) -> float:
        """Points earned."""
        return _total(part.points for part in self.parts)

    @property
    def max_points(self) -> float:
        """Points to be earned."""
        return _total(part.max_points for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """The inverse of :meth:`to_dict`; values of before there were languages are in English."""
        parts = []
        for part in values["parts"]:
            cells = tuple(
                Cell(**{**cell, "failure": None if cell["failure"] is None else _failure(cell["failure"])})
                for cell in part["cells"]
            )
            parts.append(PartMark(**{**part, "cells": cells}))
        return cls(**{**values, "parts": tuple(parts), "findings": tuple(values["findings"])})


def _failure(values: Mapping[str, Any]) -> Failure:
    shapes = {name: tuple(shape) for name, shape in values["shapes"].items()}
    position = None if values["position"] is None else tuple(values["position"])
    return Failure(**{**values, "shapes": shapes, "position": position})

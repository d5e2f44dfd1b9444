"""Known mistakes, each a wrong implementation that really runs, with a hint for those who made it.

A student's wrong result is compared with what these produce (see :mod:`npresnet.grading.diagnosis`). There is one file
for each topic of the coursework. A mistake replaces one function of the solution (a backward function together with a
right forward function that keeps what it needs) and is otherwise right.
"""

from __future__ import annotations

from . import activation, blocks, classifier, convolution, normalization, pooling, training
from .mistake import MISTAKES, Mistake

__all__ = [
    "MISTAKES",
    "Mistake",
    "activation",
    "blocks",
    "classifier",
    "convolution",
    "normalization",
    "pooling",
    "training",
]

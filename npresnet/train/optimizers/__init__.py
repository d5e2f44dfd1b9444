"""Optimisers: each reads ``parameter.grad`` and changes ``parameter.data`` in place.

Which one: ``"sgd"`` for a network from the beginning, ``"adamw"`` for fine-tuning, ``"lamb"`` for large batches.
"""

from .adamw import AdamW
from .base import Optimizer
from .lamb import LAMB
from .sgd import SGD

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adamw": AdamW, "lamb": LAMB}
"""Optimisers by their name in a recipe."""

__all__ = ["LAMB", "OPTIMIZERS", "SGD", "AdamW", "Optimizer"]

"""LAMB: Adam whose step is as large as the parameter, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..groups import ParameterGroup
from ..pieces import scratch, sum_of_squares
from .adamw import Adam
from .base import Array, Entry, Piece, for_each_piece_of


class LAMB(Adam):
    """Layer-wise adaptive moments for large batches (You et al. 2020, arXiv:1904.00962), as timm's ``Lamb``.

    With r Adam's direction for a parameter w, λ its weight decay and η the learning rate::

        u = (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε) + λ w
        w = w - η (‖w‖ / ‖u‖) u

    The trust ratio ‖w‖ / ‖u‖ is 1 where one of the norms is 0, and for parameters without weight decay: norms and
    biases. Gradients are not clipped here; see :func:`~npresnet.train.clip_gradients`.

    Parameters
    ----------
    groups : list of ParameterGroup
    betas : (float, float)
        β₁ and β₂, in [0, 1).
    eps : float
        ε, positive.
    """

    def __init__(
        self, groups: Iterable[ParameterGroup], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6
    ) -> None:
        super().__init__(groups, betas, eps)

    def _update(self, entries: Sequence[Entry], lr: float) -> None:
        # Twice over the parameters: the size of a step is known only when all of its directions are. They are
        # computed again rather than kept, which would take as much memory as the model.
        def measure(piece: Piece) -> tuple[float, float]:
            self._advance(piece)
            if not piece.entry.group.weight_decay:
                return 0.0, 0.0
            return sum_of_squares(piece.data), sum_of_squares(self._decayed(piece))

        squares = {entry.name: [0.0, 0.0] for entry in entries}
        for entry, (of_data, of_direction) in for_each_piece_of(entries, measure):
            squares[entry.name][0] += of_data
            squares[entry.name][1] += of_direction
        trust = {
            name: math.sqrt(of_data / of_direction) if of_data and of_direction else 1.0
            for name, (of_data, of_direction) in squares.items()
        }

        def update(piece: Piece) -> None:
            rate = lr * piece.entry.group.lr_scale * trust[piece.entry.name]
            direction = self._decayed(piece)
            piece.data -= np.multiply(direction, rate, out=direction)

        for_each_piece_of(entries, update)

    def _decayed(self, piece: Piece) -> Array:
        """Adam's direction plus weight decay, in scratch memory."""
        direction = self._direction(piece)
        if piece.entry.group.weight_decay:
            direction += np.multiply(piece.data, piece.entry.group.weight_decay, out=scratch(piece.data, 1))
        return direction

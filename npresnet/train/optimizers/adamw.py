"""Adam with weight decay that is decoupled from the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ..checks import check_betas, check_eps
from ..groups import ParameterGroup
from ..pieces import scratch
from .base import Array, Entry, Optimizer, Piece, for_each_piece_of


class Adam(Optimizer):
    """What AdamW and LAMB share: the means of the gradient and of its square (Kingma & Ba 2015)."""

    slots = ("exp_avg", "exp_avg_sq")
    counts_steps = True

    def __init__(self, groups: Iterable[ParameterGroup], betas: tuple[float, float], eps: float) -> None:
        self.betas, self.eps = check_betas(betas), check_eps(eps)
        super().__init__(groups)

    def _advance(self, piece: Piece) -> None:
        """Let the gradient enter both means."""
        first, second = self.betas
        mean, square, some = piece.state["exp_avg"], piece.state["exp_avg_sq"], scratch(piece.data)
        np.subtract(piece.grad, mean, out=some)
        mean += np.multiply(some, 1 - first, out=some)
        np.square(piece.grad, out=some)
        square *= second
        square += np.multiply(some, 1 - second, out=some)

    def _direction(self, piece: Piece) -> Array:
        """The mean gradient divided by its typical size, both freed of their start at zero; in scratch memory."""
        first, second = self.betas
        steps = piece.entry.steps
        size = np.sqrt(piece.state["exp_avg_sq"], out=scratch(piece.data))
        size /= math.sqrt(1 - second**steps)
        size += self.eps
        direction = np.divide(piece.state["exp_avg"], size, out=size)
        direction /= 1 - first**steps
        return direction


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101), as ``torch.optim.AdamW``.

    With g the gradient, w the parameter, λ its weight decay, η the learning rate and t the number of its updates::

        m = β₁ m + (1 - β₁) g
        v = β₂ v + (1 - β₂) g²
        w = (1 - η λ) w - η (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)

    Parameters
    ----------
    groups : list of ParameterGroup
    betas : (float, float)
        β₁ and β₂, in [0, 1).
    eps : float
        ε, positive.
    """

    def __init__(
        self, groups: Iterable[ParameterGroup], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(groups, betas, eps)

    def _update(self, entries: Sequence[Entry], lr: float) -> None:
        def update(piece: Piece) -> None:
            group, data = piece.entry.group, piece.data
            rate = lr * group.lr_scale
            self._advance(piece)
            if group.weight_decay:
                data *= 1 - rate * group.weight_decay
            direction = self._direction(piece)
            data -= np.multiply(direction, rate, out=direction)

        for_each_piece_of(entries, update)

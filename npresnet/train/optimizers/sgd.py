"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..checks import check_fraction
from ..groups import ParameterGroup
from ..pieces import scratch
from .base import Entry, Optimizer, Piece, for_each_piece_of


class SGD(Optimizer):
    """Gradient descent with momentum and L2 regularisation, as ``torch.optim.SGD``.

    With g the gradient, w the parameter, λ its weight decay, μ the momentum and η the learning rate::

        d = g + λ w
        m = μ m + d
        w = w - η m                 Nesterov: w - η (d + μ m)

    Parameters
    ----------
    groups : list of ParameterGroup
    momentum : float
        μ, in [0, 1).
    nesterov : bool
        Look ahead along the momentum (Sutskever et al. 2013).
    """

    def __init__(self, groups: Iterable[ParameterGroup], momentum: float = 0.9, nesterov: bool = False) -> None:
        self.momentum, self.nesterov = check_fraction("momentum", momentum), nesterov
        if nesterov and not self.momentum:
            raise ValueError("nesterov=True needs a momentum, found momentum=0; give one such as 0.9")
        if self.momentum:  # otherwise there is nothing to remember
            self.slots = ("momentum_buffer",)
        super().__init__(groups)

    def _update(self, entries: Sequence[Entry], lr: float) -> None:
        def update(piece: Piece) -> None:
            group, data = piece.entry.group, piece.data
            direction = piece.grad
            if group.weight_decay:
                direction = np.multiply(data, group.weight_decay, out=scratch(data))
                direction += piece.grad
            change = scratch(data, 1)
            if self.momentum:
                mean = piece.state["momentum_buffer"]
                mean *= self.momentum
                mean += direction
                if self.nesterov:
                    np.multiply(mean, self.momentum, out=change)
                    mean = np.add(change, direction, out=change)
                direction = mean
            data -= np.multiply(direction, lr * group.lr_scale, out=change)

        for_each_piece_of(entries, update)

"""Clip the gradients of all parameters by their common norm (Pascanu et al. 2013, arXiv:1211.5063)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..nn import Parameter
from .pieces import Rows, cut, for_each_piece, sum_of_squares

Array = NDArray[np.floating]


def clip_gradients(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients, in place and by one factor, so that their common norm is at most ``max_norm``.

    The same as ``torch.nn.utils.clip_grad_norm_``, but that a norm which is not finite changes nothing: the gradients
    then still show where it comes from.

    Parameters
    ----------
    parameters : iterable of Parameter
        Those without a gradient do not count.
    max_norm : float
        Positive; infinity only measures.

    Returns
    -------
    float
        The norm before clipping: infinity or NaN if a gradient has such numbers.

    Raises
    ------
    ValueError
        If ``max_norm`` is not positive.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, found {max_norm!r}; leave clipping out, or use infinity")
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    norm = gradient_norm(parameters)
    factor = float(max_norm) / (norm + 1e-6)
    if not math.isfinite(norm) or factor >= 1:
        return norm
    for parameter in parameters:
        assert parameter.grad is not None
        if not parameter.grad.flags.writeable:
            parameter.grad = np.array(parameter.grad)
    gradients = _gradients(parameters)

    def scale(number: int, rows: Rows) -> None:
        piece = gradients[number][rows]
        piece *= factor

    for_each_piece(cut([gradient.shape for gradient in gradients]), scale)
    return norm


def gradient_norm(parameters: Iterable[Parameter]) -> float:
    """Return the Euclidean norm of all gradients together, accumulated in float64 whatever their dtype."""
    gradients = _gradients(parameters)
    pieces = cut([gradient.shape for gradient in gradients])
    return math.sqrt(sum(for_each_piece(pieces, lambda number, rows: sum_of_squares(gradients[number][rows]))))


def _gradients(parameters: Iterable[Parameter]) -> list[Array]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]

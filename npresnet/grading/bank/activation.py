"""Mistakes in the rectifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..part import Array
from .mistake import Functions, Wrong, mistakes_in


# ------------------------------------------------------------------------------------------------------ relu_forward
def _relu_forward(wrong: Wrong) -> Functions:
    """``wrong(x)`` returns y."""
    return {"relu_forward": lambda x: (wrong(x), x > 0)}


mistake = mistakes_in("relu_forward", _relu_forward)


@mistake("relu-absolute", "y", "Negative values turn positive in your ReLU. They should become zero.")
def _(x: Array) -> Array:
    return np.abs(x)


@mistake("relu-leaky", "y", "A little of the negative values is left: yours is a leaky ReLU. They should become zero.")
def _(x: Array) -> Array:
    return np.where(x > 0, x, 0.01 * x)


@mistake(
    "relu-negative-kept", "y", "You keep the negative values and drop the positive ones. It is the other way round."
)
def _(x: Array) -> Array:
    return np.minimum(x, 0)


@mistake("relu-unchanged", "y", "Your function returns its input as it is: negative values should become zero.")
def _(x: Array) -> Array:
    return x.copy()


@mistake("relu-step", "y", "You return where x is positive. What is asked for is x itself there, and zero elsewhere.")
def _(x: Array) -> Array:
    return (x > 0).astype(x.dtype)


@mistake("relu-clipped", "y", "Large values are cut off at one in your ReLU. There is no upper limit.")
def _(x: Array) -> Array:
    return np.clip(x, 0, 1)


@mistake("relu-softplus", "y", "Yours is a smoothed ReLU (softplus). The one asked for has a corner at zero.")
def _(x: Array) -> Array:
    return np.logaddexp(0, x)


# ----------------------------------------------------------------------------------------------------- relu_backward
def _relu_backward(wrong: Wrong) -> Functions:
    """``wrong(dy, x)`` returns dx; the forward pass is right and keeps its input."""

    def relu_forward(x: Array) -> tuple[Array, Any]:
        return np.where(x > 0, x, 0), x

    return {"relu_forward": relu_forward, "relu_backward": wrong}


mistake = mistakes_in("relu_backward", _relu_backward)


@mistake(
    "relu-backward-mask-from-dy",
    "dx",
    "Your mask comes from dy. What passes back is decided by the sign of x in the forward pass.",
)
def _(dy: Array, x: Array) -> Array:
    return np.where(dy > 0, dy, 0)


@mistake(
    "relu-backward-unmasked",
    "dx",
    "Your dx is dy as it came. Where x was negative, y does not depend on it: nothing flows back there.",
)
def _(dy: Array, x: Array) -> Array:
    return dy.copy()


@mistake(
    "relu-backward-mask-inverted",
    "dx",
    "Your mask is the wrong way round: the gradient passes where x was positive.",
)
def _(dy: Array, x: Array) -> Array:
    return np.where(x > 0, 0, dy)


@mistake(
    "relu-backward-leaky",
    "dx",
    "A little of the gradient passes where x was negative: that is the leaky ReLU. Nothing should.",
)
def _(dy: Array, x: Array) -> Array:
    return np.where(x > 0, dy, 0.01 * dy)


@mistake(
    "relu-backward-without-dy",
    "dx",
    "You return the slope of the ReLU alone. By the chain rule, it is multiplied with what comes from above.",
)
def _(dy: Array, x: Array) -> Array:
    return (x > 0).astype(dy.dtype)


@mistake(
    "relu-backward-times-value",
    "dx",
    "You multiply dy with the values of the forward pass. The slope of the ReLU is one or zero, whatever the value.",
)
def _(dy: Array, x: Array) -> Array:
    return np.where(x > 0, dy * x, 0)


@mistake(
    "relu-backward-sign",
    "dx",
    "Where x was negative, your dx is minus dy: the slope of the absolute value. The ReLU is flat there.",
)
def _(dy: Array, x: Array) -> Array:
    return dy * np.sign(x)

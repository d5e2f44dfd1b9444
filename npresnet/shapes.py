"""Shapes without arrays: what each layer makes of the shape of its input."""

from __future__ import annotations

import math
from functools import singledispatch

from .nn import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    ZeroPadShortcut,
)

Shape = tuple[int, ...]
"""Of one sample, without the batch: (C, H, W), or (F,) behind Flatten."""


class TooSmall(ValueError):
    """A window does not fit into its padded input."""


@singledispatch
def output_shape(module: Module, shape: Shape) -> Shape:
    """Return the shape of one sample's output of a layer without children, for an input of ``shape``.

    Raises
    ------
    TypeError
        For an unknown class of layers; ``@output_shape.register`` a function for it.
    TooSmall
        If the window of a convolution or a pool does not fit into the padded input.
    """
    raise TypeError(f"the output shape of {type(module).__name__} is not known; add it with @output_shape.register")


@output_shape.register(Identity)
@output_shape.register(BatchNorm2d)
@output_shape.register(Activation)
@output_shape.register(Dropout)
def _same(module: Module, shape: Shape) -> Shape:
    return shape


@output_shape.register
def _conv(module: Conv2d, shape: Shape) -> Shape:
    sides = (windows(n, module.kernel, module.stride, module.padding, module.dilation) for n in shape[1:])
    return module.weight.shape[0], *sides


@output_shape.register
def _max_pool(module: MaxPool2d, shape: Shape) -> Shape:
    sides = (windows(n, module.kernel, module.stride, module.padding, ceil_mode=module.ceil_mode) for n in shape[1:])
    return shape[0], *sides


@output_shape.register
def _avg_pool(module: AvgPool2d, shape: Shape) -> Shape:
    if module.stride == 1:
        return shape
    return shape[0], *(windows(n, 2, module.stride, ceil_mode=True) for n in shape[1:])


@output_shape.register
def _zero_pad(module: ZeroPadShortcut, shape: Shape) -> Shape:
    return module.out_channels, *(-(-n // module.stride) for n in shape[1:])


@output_shape.register
def _global_pool(module: GlobalPool2d, shape: Shape) -> Shape:
    return shape[0] * (2 if module.kind == "catavgmax" else 1), 1, 1


@output_shape.register
def _flatten(module: Flatten, shape: Shape) -> Shape:
    return (math.prod(shape),)


@output_shape.register
def _linear(module: Linear, shape: Shape) -> Shape:
    return module.weight.shape[:1]


def windows(size: int, kernel: int, stride: int, padding: int = 0, dilation: int = 1, ceil_mode: bool = False) -> int:
    """How many windows of a convolution or pool fit on one side of an image; in ceil mode the last may hang over."""
    span, padded = dilation * (kernel - 1) + 1, size + 2 * padding
    if span > padded:
        raise TooSmall(f"its window needs at least {span - 2 * padding} pixels a side")
    steps = padded - span
    n = (-(-steps // stride) if ceil_mode else steps // stride) + 1
    overhangs = ceil_mode and (n - 1) * stride >= size + padding  # it would begin in the padding behind the image
    return n - 1 if overhangs else n

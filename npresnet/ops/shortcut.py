"""The parameter-free shortcut of the paper: option A of He et al. 2015, section 3.3."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _check

Array = NDArray[np.floating]


class ZeroPadCache(NamedTuple):
    """Shapes of input and output, stride, and how many zero channels came before it."""

    shape: tuple[int, ...]  # (N, C, H, W)
    output: tuple[int, ...]  # (N, out_channels, oh, ow)
    stride: int
    before: int


def zero_pad_shortcut(x: Array, out_channels: int, stride: int) -> tuple[Array, ZeroPadCache]:
    """Take every ``stride``-th pixel and add zero channels, half before and half behind.

    (N, C, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))
    """
    x = _check.image_batch(x)
    extra = out_channels - x.shape[1]
    if extra < 0:
        raise ValueError(f"a zero-padded shortcut cannot drop channels: {x.shape[1]} -> {out_channels}")
    if stride < 1:
        raise ValueError(f"stride must be an integer >= 1, found {stride!r}")
    before = extra // 2
    y = np.pad(x[:, :, ::stride, ::stride], ((0, 0), (before, extra - before), (0, 0), (0, 0)))
    return y, ZeroPadCache(x.shape, y.shape, stride, before)


def zero_pad_shortcut_backward(dy: Array, cache: ZeroPadCache) -> Array:
    """Gradient of :func:`zero_pad_shortcut`: the pixels that were taken receive theirs, all others zero."""
    dy = _check.image_batch(dy, "dy")
    _check.shape(dy, cache.output, "dy")
    channels = cache.shape[1]
    dx = np.zeros(cache.shape, dy.dtype)
    dx[:, :, :: cache.stride, :: cache.stride] = dy[:, cache.before : cache.before + channels]
    return dx

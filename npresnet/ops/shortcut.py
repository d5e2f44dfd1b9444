"""The parameter-free shortcut of the paper: option A of He et al. 2015, section 3.3."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _check

Array = NDArray[np.floating]


class ZeroPadCache(NamedTuple):
    """Shape of the input, stride, and how many zero channels came before it."""

    shape: tuple[int, ...]  # (N, C, H, W)
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
    before = extra // 2
    y = np.pad(x[:, :, ::stride, ::stride], ((0, 0), (before, extra - before), (0, 0), (0, 0)))
    return y, ZeroPadCache(x.shape, stride, before)


def zero_pad_shortcut_backward(dy: Array, cache: ZeroPadCache) -> Array:
    """Gradient of :func:`zero_pad_shortcut`: the pixels that were taken receive theirs, all others zero."""
    channels = cache.shape[1]
    dx = np.zeros(cache.shape, dy.dtype)
    dx[:, :, :: cache.stride, :: cache.stride] = dy[:, cache.before : cache.before + channels]
    return dx

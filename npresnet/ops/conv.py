"""Two-dimensional convolution as one matrix product: im2col, multiply; and backwards, multiply, col2im.

The columns of a whole batch would be kh * kw times the size of the image, so they are made a chunk at a time, small
enough to stay in a core's cache between being written and being multiplied; chunks run on all cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import backend, parallel
from . import _check

Array = NDArray[np.floating]
Pair = tuple[int, int]

CHUNK_BYTES = 1 << 20
"""Columns made at a time: about what a core's own cache holds."""
FEW = 8
"""With fewer chunks than this, share out the output channels as well. Fixed, so that results do not depend on cores."""


class Conv2dCache(NamedTuple):
    """What the backward pass of a convolution needs. The columns are not kept but made again: for ResNet-50 they would
    take 57 MB an image."""

    x: Array  # (N, C, H, W)
    weight: Array  # (O, C / groups, kh, kw)
    has_bias: bool
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> tuple[Array, Conv2dCache]:
    """Cross-correlate a batch of images with a bank of filters.

    Parameters
    ----------
    x : (N, C, H, W) float32 or float64
    weight : (O, C / groups, kh, kw)
        Same dtype as ``x``.
    bias : (O,), optional
    stride, padding, dilation : int or (rows, columns)
    groups : int
        Output channel block g sees input channel block g only.

    Returns
    -------
    y : (N, O, oh, ow)
        ``oh = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1``, likewise ``ow``.
    cache : Conv2dCache

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit together, or the kernel is larger than the padded image.

    Notes
    -----
    The same operation as ``torch.nn.functional.conv2d``. Time and memory traffic: see the module's first lines.
    """
    x = _check.image_batch(x)
    weight = _check.float_array(weight, 4, "(O, C / groups, kh, kw)", "weight")
    _check.same_dtype(x, weight=weight, bias=bias)
    stride, padding = _check.pair(stride, "stride", 1), _check.pair(padding, "padding", 0)
    dilation = _check.pair(dilation, "dilation", 1)
    _check_channels(x, weight, bias, groups)
    cache = Conv2dCache(x, weight, bias is not None, stride, padding, dilation, groups)
    oh, ow = _output_size(cache)

    N, O = len(x), len(weight)
    W = weight.reshape(groups, O // groups, -1)  # (g, O/g, K), K = C/g * kh * kw
    y = np.empty((N, groups, O // groups, oh * ow), x.dtype)
    chunks = _chunks(cache, oh, ow)
    channels = parallel.blocks(O // groups, FEW // len(chunks) if O // groups >= 64 else 1)

    def convolve(index: int) -> None:
        images, (first, last) = chunks[index // len(channels)]
        some = channels[index % len(channels)]
        cols = _columns(cache, x[images], (first, last))  # (n, g, K, rows * ow)
        np.matmul(W[:, some], cols, out=y[images, :, some, first * ow : last * ow])

    with parallel.single_threaded_blas():
        parallel.for_each(convolve, len(chunks) * len(channels))
    y = y.reshape(N, O, oh, ow)
    if bias is not None:
        y += bias[:, None, None]
    return y, cache


def conv2d_backward(
    dy: Array, cache: Conv2dCache, *, input_gradient: bool = True, weight_gradient: bool = True
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of :func:`conv2d`.

    With columns X = im2col(x), the forward pass is Y = W X; so dW = dY X^T, dX = W^T dY, and dx = col2im(dX).

    Parameters
    ----------
    dy : (N, O, oh, ow)
    cache : Conv2dCache
    input_gradient, weight_gradient : bool
        Leave out what is not needed; the result is None in its place.

    Returns
    -------
    dx : (N, C, H, W) or None
    dw : (O, C / groups, kh, kw) or None
    db : (O,) or None
        None when the convolution had no bias.
    """
    dy = _check.image_batch(dy, "dy")
    x, weight, groups = cache.x, cache.weight, cache.groups
    N, O = len(x), len(weight)
    oh, ow = _output_size(cache)
    _check.shape(dy, (N, O, oh, ow), "dy")
    _check.same_dtype(x, dy=dy)

    W_T = weight.reshape(groups, O // groups, -1).transpose(0, 2, 1)  # (g, K, O/g)
    dY = dy.reshape(N, groups, O // groups, oh * ow)
    dx = np.empty_like(x) if input_gradient else None
    shards = parallel.blocks(N, FEW)
    dw = np.zeros((len(shards), *W_T.transpose(0, 2, 1).shape), x.dtype) if weight_gradient else None
    step = _images_per_chunk(cache, oh, ow)

    def differentiate(index: int) -> None:
        index, of_weight = index // 2, index % 2
        for start in range(shards[index].start, shards[index].stop, step):
            images = slice(start, min(start + step, shards[index].stop))
            if of_weight and dw is not None:
                cols = _columns(cache, x[images], (0, oh))  # (n, g, K, oh * ow)
                dw[index] += (dY[images] @ cols.transpose(0, 1, 3, 2)).sum(axis=0)
            elif not of_weight and dx is not None:
                dx[images] = _images(cache, W_T @ dY[images])

    with parallel.single_threaded_blas():
        parallel.for_each(differentiate, 2 * len(shards))
    return (
        dx,
        dw.sum(axis=0).reshape(weight.shape) if dw is not None else None,
        dy.sum(axis=(0, 2, 3)) if cache.has_bias else None,
    )


def _columns(cache: Conv2dCache, x: Array, rows: tuple[int, int]) -> Array:
    """The columns of some images and output rows, (n, g, K, rows * ow). A 1x1 convolution sees pixels: no copy."""
    if _is_pointwise(cache):
        sh, sw = cache.stride
        cols = x[:, :, rows[0] * sh : (rows[1] - 1) * sh + 1 : sh, ::sw]  # (n, C, rows, ow)
    else:
        cols = backend().im2col(x, cache.weight.shape[2:], cache.stride, cache.padding, cache.dilation, rows)
    K = cache.weight[0].size
    return cols.reshape(len(x), cache.groups, K, -1)


def _images(cache: Conv2dCache, cols: Array) -> Array:
    """The transpose of :func:`_columns`: (n, g, K, oh * ow) -> (n, C, H, W)."""
    n, (_, C, H, W) = len(cols), cache.x.shape
    if not _is_pointwise(cache):
        cols = cols.reshape(n, -1, cols.shape[-1])
        return backend().col2im(
            cols, (C, H, W), cache.weight.shape[2:], cache.stride, cache.padding, cache.dilation
        )  # fmt: skip
    oh, ow = _output_size(cache)
    if cache.stride == (1, 1):
        return cols.reshape(n, C, H, W)
    dx = np.zeros((n, C, H, W), cols.dtype)
    dx[:, :, :: cache.stride[0], :: cache.stride[1]] = cols.reshape(n, C, oh, ow)
    return dx


def _is_pointwise(cache: Conv2dCache) -> bool:
    return cache.weight.shape[2:] == (1, 1) and cache.padding == (0, 0)


def _images_per_chunk(cache: Conv2dCache, oh: int, ow: int) -> int:
    return max(1, CHUNK_BYTES // (cache.groups * cache.weight[0].nbytes * oh * ow))


def _chunks(cache: Conv2dCache, oh: int, ow: int) -> list[tuple[slice, tuple[int, int]]]:
    """Cut the work into (images, output rows): several images, or when one is too large, a band of its rows."""
    N, step = len(cache.x), _images_per_chunk(cache, oh, ow)
    row_bytes = cache.groups * cache.weight[0].nbytes * ow
    bands = (
        [(b.start, b.stop) for b in parallel.blocks(oh, -(-row_bytes * oh // CHUNK_BYTES))] if step == 1 else [(0, oh)]
    )
    return [(slice(start, min(start + step, N)), band) for start in range(0, N, step) for band in bands]


def _output_size(cache: Conv2dCache) -> Pair:
    size = []
    for axis in range(2):
        window = cache.dilation[axis] * (cache.weight.shape[2 + axis] - 1) + 1
        padded = cache.x.shape[2 + axis] + 2 * cache.padding[axis]
        if window > padded:
            raise ValueError(
                f"the kernel spans {window} pixels but the padded image only {padded}: x has shape {cache.x.shape}, "
                f"weight {cache.weight.shape}, padding {cache.padding}; use a larger image or more padding"
            )
        size.append((padded - window) // cache.stride[axis] + 1)
    return size[0], size[1]


def _check_channels(x: Array, weight: Array, bias: Array | None, groups: int) -> None:
    if not isinstance(groups, (int, np.integer)) or groups < 1 or x.shape[1] % groups or len(weight) % groups:
        raise ValueError(
            f"groups={groups!r} must divide the {x.shape[1]} input channels and the {len(weight)} output channels"
        )
    if weight.shape[1] != x.shape[1] // groups:
        raise ValueError(
            f"weight {weight.shape} expects {weight.shape[1] * groups} input channels in {groups} group(s), "
            f"but x has shape {x.shape}"
        )
    if bias is not None:
        _check.shape(np.asarray(bias), (len(weight),), "bias")

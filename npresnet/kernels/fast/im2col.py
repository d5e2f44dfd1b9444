"""im2col and its transpose, one image row at a time.

NOTE: the innermost indices are unsigned. For a signed index Numba must allow for Python's negative indices, and that
test keeps the loop from being turned into vector instructions: unsigned it runs three times as fast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .compiler import jit

Array = NDArray[np.floating]
Pair = tuple[int, int]


def im2col(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, rows: tuple[int, int] | None = None
) -> Array:
    """See :func:`npresnet.kernels.reference.im2col`."""
    N, C, H, W = x.shape
    first, last = rows if rows is not None else (0, _output_size(H, kernel, stride, padding, dilation, 0))
    ow = _output_size(W, kernel, stride, padding, dilation, 1)
    cols = np.empty((N, C, *kernel, last - first, ow), x.dtype)
    _im2col(x, cols, *stride, *padding, *dilation, first)
    return cols.reshape(N, C * kernel[0] * kernel[1], (last - first) * ow)


def col2im(
    cols: Array, image: tuple[int, int, int], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """See :func:`npresnet.kernels.reference.col2im`."""
    C, H, W = image
    oh, ow = (_output_size(size, kernel, stride, padding, dilation, axis) for axis, size in enumerate((H, W)))
    cols = np.ascontiguousarray(cols).reshape(-1, C, *kernel, oh, ow)
    dx = np.empty((len(cols), C, H, W), cols.dtype)
    _col2im(cols, dx, *stride, *padding, *dilation)
    return dx


def _output_size(size: int, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, axis: int) -> int:
    return (size + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1


@jit
def _inside(offset, stride, size, n):  # type: ignore[no-untyped-def]
    """Range of those p in range(n) for which ``offset + stride * p`` lies in range(size)."""
    first = min(max(0, -(offset // stride)), n)
    last = min(n, (size - 1 - offset) // stride + 1)
    return first, max(first, last)


@jit
def _im2col(x, cols, sh, sw, ph, pw, dh, dw, first):  # type: ignore[no-untyped-def]
    N, C, H, W = x.shape
    kh, kw, oh, ow = cols.shape[2:]
    for n in range(N):
        for c in range(C):
            plane = x[n, c]
            for i in range(kh):
                y0 = first * sh + i * dh - ph
                top, bottom = _inside(y0, sh, H, oh)
                for j in range(kw):
                    left, right = _inside(j * dw - pw, sw, W, ow)
                    out = cols[n, c, i, j]
                    if bottom - top < oh or right - left < ow:
                        out[:] = 0  # what the padding shows
                    q0, x0, width = np.uint64(left), np.uint64(left * sw + j * dw - pw), np.uint64(right - left)
                    for p in range(top, bottom):
                        row, y = np.uint64(p), np.uint64(y0 + p * sh)
                        if sw == 1:
                            for q in range(width):
                                out[row, q0 + q] = plane[y, x0 + q]
                        else:
                            for q in range(width):
                                out[row, q0 + q] = plane[y, x0 + np.uint64(sw) * q]


@jit
def _col2im(cols, dx, sh, sw, ph, pw, dh, dw):  # type: ignore[no-untyped-def]
    N, C, H, W = dx.shape
    kh, kw, oh, ow = cols.shape[2:]
    for n in range(N):
        for c in range(C):
            plane = dx[n, c]
            plane[:] = 0
            for i in range(kh):
                y0 = i * dh - ph
                top, bottom = _inside(y0, sh, H, oh)
                for j in range(kw):
                    left, right = _inside(j * dw - pw, sw, W, ow)
                    out = cols[n, c, i, j]
                    q0, x0, width = np.uint64(left), np.uint64(left * sw + j * dw - pw), np.uint64(right - left)
                    for p in range(top, bottom):
                        row, y = np.uint64(p), np.uint64(y0 + p * sh)
                        if sw == 1:
                            for q in range(width):
                                plane[y, x0 + q] += out[row, q0 + q]
                        else:
                            for q in range(width):
                                plane[y, x0 + np.uint64(sw) * q] += out[row, q0 + q]

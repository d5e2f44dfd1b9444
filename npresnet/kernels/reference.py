"""The executable specification: every kernel in plain NumPy, short, slow and obvious.

Shapes: ``x`` is an image batch (N, C, H, W); ``kernel``, ``stride``, ``padding`` and ``dilation`` are pairs (rows,
columns). Nothing here writes to its arguments. The Numba twins with the same names and signatures are in
:mod:`npresnet.kernels.fast`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit

Array = NDArray[np.floating]
Pair = tuple[int, int]

# ---------------------------------------------------------------------------------------------------- convolution


def im2col(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, rows: tuple[int, int] | None = None
) -> Array:
    """Write the patch under every kernel position as a column.

    Parameters
    ----------
    x : (N, C, H, W)
    rows : (first, last + 1), optional
        Output rows to make; all of them by default.

    Returns
    -------
    cols : (N, C * kh * kw, oh * ow)
        Row (c, i, j) holds what kernel element (i, j) of channel c sees; zeros where it lies in the padding.
    """
    N, C, H, W = x.shape
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, padding, dilation
    first, last = rows if rows is not None else (0, (H + 2 * ph - dh * (kh - 1) - 1) // sh + 1)
    oh, ow = last - first, (W + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))[:, :, first * sh :]
    cols = np.empty((N, C, kh, kw, oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            cols[:, :, i, j] = padded[:, :, top : top + sh * oh : sh, left : left + sw * ow : sw]
    return cols.reshape(N, C * kh * kw, oh * ow)


def col2im(
    cols: Array, image: tuple[int, int, int], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """Add every column back to the patch it came from: the transpose of :func:`im2col`.

    Parameters
    ----------
    cols : (N, C * kh * kw, oh * ow)
    image : (C, H, W)

    Returns
    -------
    dx : (N, C, H, W)
        Overlapping patches are summed.
    """
    C, H, W = image
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = kernel, stride, padding, dilation
    oh, ow = (H + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (W + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    cols = cols.reshape(-1, C, kh, kw, oh, ow)
    padded = np.zeros((len(cols), C, H + 2 * ph, W + 2 * pw), cols.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            padded[:, :, top : top + sh * oh : sh, left : left + sw * ow : sw] += cols[:, :, i, j]
    return padded[:, :, ph : ph + H, pw : pw + W].copy()


# -------------------------------------------------------------------------------------------- batch normalisation


def batchnorm_statistics(x: Array) -> tuple[Array, Array]:
    """Return mean and biased variance of every channel, (C,) each, summed in float64."""
    mean = x.mean(axis=(0, 2, 3), dtype=np.float64)
    var = ((x - mean[:, None, None]) ** 2).mean(axis=(0, 2, 3))
    return mean.astype(x.dtype), var.astype(x.dtype)


def batchnorm_normalize(x: Array, mean: Array, inv_std: Array, weight: Array, bias: Array) -> Array:
    """Return ``weight * (x - mean) * inv_std + bias``, channel by channel."""
    scale = weight * inv_std
    return (x - mean[:, None, None]) * scale[:, None, None] + bias[:, None, None]


def batchnorm_sums(dy: Array, x: Array, mean: Array, inv_std: Array) -> tuple[Array, Array]:
    """Return the gradients of bias and weight, ``sum(dy)`` and ``sum(dy * x_hat)``, (C,) each, summed in float64."""
    x_hat = (x - mean[:, None, None]) * inv_std[:, None, None]
    dbias = dy.sum(axis=(0, 2, 3), dtype=np.float64)
    dweight = (dy * x_hat).sum(axis=(0, 2, 3), dtype=np.float64)
    return dbias.astype(x.dtype), dweight.astype(x.dtype)


def batchnorm_backward(
    dy: Array, x: Array, mean: Array, inv_std: Array, weight: Array, dbias: Array, dweight: Array
) -> Array:
    """Return dx when mean and variance were those of this batch (Ioffe & Szegedy 2015, section 3)."""
    N, _, H, W = x.shape
    m = N * H * W
    x_hat = (x - mean[:, None, None]) * inv_std[:, None, None]
    scale = (weight * inv_std)[:, None, None]
    return scale * (dy - (dbias[:, None, None] + x_hat * dweight[:, None, None]) / m)


# ------------------------------------------------------------------------------------------------------- pooling


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, output: Pair
) -> tuple[Array, NDArray[np.int32]]:
    """Return the largest value under every kernel position and where it was.

    Parameters
    ----------
    output : (oh, ow)
        Size of the result; windows may reach beyond the padding (ceil mode).

    Returns
    -------
    y : (N, C, oh, ow)
    argmax : (N, C, oh, ow) int32
        Position ``row * W + column`` in the image; the first one when several are equal, a NaN when there is one.
    """
    N, C, H, W = x.shape
    (kh, kw), (sh, sw), (ph, pw), (dh, dw), (oh, ow) = kernel, stride, padding, dilation, output
    below, right = (
        max(0, (oh - 1) * sh + (kh - 1) * dh + 1 - H - ph),
        max(0, (ow - 1) * sw + (kw - 1) * dw + 1 - W - pw),
    )
    border = ((0, 0), (0, 0), (ph, below), (pw, right))
    padded = np.pad(x, border, constant_values=-np.inf)
    place = np.pad(np.arange(H * W, dtype=np.int32).reshape(1, 1, H, W), border, constant_values=-1)
    y = np.full((N, C, oh, ow), -np.inf, x.dtype)
    argmax = np.full((N, C, oh, ow), -1, np.int32)
    for i in range(kh):
        for j in range(kw):
            window = np.s_[:, :, i * dh : i * dh + sh * (oh - 1) + 1 : sh, j * dw : j * dw + sw * (ow - 1) + 1 : sw]
            value, where = padded[window], place[window]
            better = (value > y) | (np.isnan(value) & ~np.isnan(y)) | ((argmax < 0) & (where >= 0))
            y = np.where(better, value, y)
            argmax = np.where(better, where, argmax)
    return y, argmax


def max_pool2d_backward(dy: Array, argmax: NDArray[np.int32], image: Pair) -> Array:
    """Add every gradient to the pixel that won: (N, C, oh, ow) -> (N, C, H, W), image = (H, W)."""
    N, C, oh, ow = dy.shape
    H, W = image
    dx = np.zeros((N, C, H * W), dy.dtype)
    planes = np.arange(N)[:, None], np.arange(C)[None, :]
    for i in range(oh):
        for j in range(ow):  # one output pixel at a time: two windows may share their winner
            dx[planes[0], planes[1], argmax[:, :, i, j]] += dy[:, :, i, j]
    return dx.reshape(N, C, H, W)


def avg_pool2d(x: Array, kernel: Pair, stride: Pair, padding: Pair, divisor: Array) -> Array:
    """Return the sum under every kernel position divided by ``divisor`` (oh, ow): (N, C, oh, ow)."""
    (kh, kw), (sh, sw), (ph, pw), (oh, ow) = kernel, stride, padding, divisor.shape
    H, W = x.shape[2:]
    below, right = max(0, (oh - 1) * sh + kh - H - ph), max(0, (ow - 1) * sw + kw - W - pw)
    padded = np.pad(x, ((0, 0), (0, 0), (ph, below), (pw, right)))
    total = np.zeros((*x.shape[:2], oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            total += padded[:, :, i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw]
    return total / divisor.astype(x.dtype)


def avg_pool2d_backward(dy: Array, image: Pair, kernel: Pair, stride: Pair, padding: Pair, divisor: Array) -> Array:
    """Spread every gradient evenly over its window: (N, C, oh, ow) -> (N, C, H, W), image = (H, W)."""
    (kh, kw), (sh, sw), (ph, pw), (oh, ow), (H, W) = kernel, stride, padding, divisor.shape, image
    below, right = max(0, (oh - 1) * sh + kh - H - ph), max(0, (ow - 1) * sw + kw - W - pw)
    share = dy / divisor.astype(dy.dtype)
    padded = np.zeros((*dy.shape[:2], ph + H + below, pw + W + right), dy.dtype)
    for i in range(kh):
        for j in range(kw):
            padded[:, :, i : i + sh * (oh - 1) + 1 : sh, j : j + sw * (ow - 1) + 1 : sw] += share
    return padded[:, :, ph : ph + H, pw : pw + W].copy()


# ---------------------------------------------------------------------------- activations, each above its backward


def add(x: Array, y: Array) -> Array:
    """Return ``x + y``, the residual sum; its gradient goes to both unchanged."""
    return x + y


def relu(x: Array) -> Array:
    """max(x, 0); a NaN stays a NaN."""
    return np.maximum(x, 0)


def relu_backward(dy: Array, y: Array) -> Array:
    """The gradient passes where the *output* was positive."""
    return np.where(y > 0, dy, 0).astype(dy.dtype)


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6)."""
    return np.clip(x, 0, 6)


def relu6_backward(dy: Array, x: Array) -> Array:
    """The gradient passes strictly between the two kinks."""
    return np.where((x > 0) & (x < 6), dy, 0).astype(dy.dtype)


def leaky_relu(x: Array) -> Array:
    """x for positive x, else 0.01 x."""
    return np.where(x > 0, x, x * x.dtype.type(0.01))


def leaky_relu_backward(dy: Array, x: Array) -> Array:
    """Slope 1 above zero, 0.01 below."""
    return np.where(x > 0, dy, dy * dy.dtype.type(0.01))


def gelu(x: Array) -> Array:
    """x Phi(x) with the normal distribution function (Hendrycks & Gimpel 2016)."""
    return x * (0.5 * (1 + erf(x * np.sqrt(0.5).astype(x.dtype))))


def gelu_backward(dy: Array, x: Array) -> Array:
    """Phi(x) + x phi(x)."""
    distribution = 0.5 * (1 + erf(x * np.sqrt(0.5).astype(x.dtype)))
    density = np.exp(-0.5 * x * x) * np.sqrt(0.5 / np.pi).astype(x.dtype)
    return dy * (distribution + x * density)


def gelu_tanh(x: Array) -> Array:
    """The tanh approximation, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    inner = np.sqrt(2 / np.pi).astype(x.dtype) * (x + x.dtype.type(0.044715) * x * x * x)
    return 0.5 * x * (1 + np.tanh(inner))


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    """Product rule with d tanh(u) = (1 - tanh(u)^2) du."""
    root, c = np.sqrt(2 / np.pi).astype(x.dtype), x.dtype.type(0.044715)
    t = np.tanh(root * (x + c * x * x * x))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * root * (1 + 3 * c * x * x))


def silu(x: Array) -> Array:
    """x sigmoid(x)."""
    return x * expit(x)


def silu_backward(dy: Array, x: Array) -> Array:
    """s + x s (1 - s)."""
    s = expit(x)
    return dy * (s + x * s * (1 - s))


def elu(x: Array) -> Array:
    """x for positive x, else exp(x) - 1 (Clevert et al. 2015)."""
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def elu_backward(dy: Array, x: Array) -> Array:
    """Slope 1 above zero, exp(x) below."""
    return np.where(x > 0, dy, dy * np.exp(np.minimum(x, 0)))


def mish(x: Array) -> Array:
    """x tanh(log(1 + exp(x))) (Misra 2019)."""
    return x * np.tanh(np.logaddexp(x, 0))


def mish_backward(dy: Array, x: Array) -> Array:
    """t + x (1 - t^2) sigmoid(x), t = tanh(softplus(x))."""
    t = np.tanh(np.logaddexp(x, 0))
    return dy * (t + x * (1 - t * t) * expit(x))


def hardswish(x: Array) -> Array:
    """x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    return x * np.clip(x + 3, 0, 6) / 6


def hardswish_backward(dy: Array, x: Array) -> Array:
    """0 up to -3, 1 from 3 on, (2 x + 3) / 6 between."""
    return dy * np.where(x <= -3, 0, np.where(x >= 3, 1, (2 * x + 3) / 6)).astype(dy.dtype)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return np.tanh(x)


def tanh_backward(dy: Array, x: Array) -> Array:
    """1 - tanh(x)^2."""
    t = np.tanh(x)
    return dy * (1 - t * t)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return expit(x)


def sigmoid_backward(dy: Array, x: Array) -> Array:
    """s (1 - s)."""
    s = expit(x)
    return dy * (s * (1 - s))

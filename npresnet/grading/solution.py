"""The coursework, solved: every function that students write, in the order in which a course would set them.

This file is the source of everything that is handed out. Stubs are this file without the bodies of the functions below,
so what a student reads (signature, shapes, words) is what is graded. It imports NumPy alone and is written for reading:
no function is clever. Parts that a student has not solved yet are stood in for by the functions of this file.

Images are (N, C, H, W), weights (O, C, kh, kw), as in PyTorch. Every forward function returns a cache for its backward
function; what is in it is the author's own business. No function writes to its arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray  # of float32 or float64; a function keeps the dtype that it is given
Params = dict[str, np.ndarray]  # parameters, or their gradients, by name
Cache = Any  # whatever a backward function needs of its forward pass


# ---------------------------------------------------------------------------------------------- 1 convolution
def im2col(x: Array, kernel_size: tuple[int, int], stride: int = 1, padding: int = 0, dilation: int = 1) -> Array:
    """Lay out the patches under a sliding window as columns.

    Parameters
    ----------
    x : (N, C, H, W)
    kernel_size : (kh, kw)
    stride, padding, dilation : int
        Zeros are added on all four sides. ``dilation`` is the distance between neighbouring pixels of a patch.

    Returns
    -------
    cols : (N, C * kh * kw, oh * ow)
        Row ``(c * kh + i) * kw + j`` holds pixel (i, j) of every patch of channel c; column ``p * ow + q`` the patch at
        position (p, q). ``oh = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1``, likewise ``ow``.
    """
    (N, C, H, W), (kh, kw) = x.shape, kernel_size
    oh = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (W + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    cols = np.empty((N, C, kh, kw, oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilation, j * dilation
            cols[:, :, i, j] = padded[:, :, top : top + oh * stride : stride, left : left + ow * stride : stride]
    return cols.reshape(N, C * kh * kw, oh * ow)


def col2im(
    cols: Array,
    image_shape: tuple[int, int, int, int],
    kernel_size: tuple[int, int],
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Array:
    """Add every column back to the pixels it was taken from: the transpose of :func:`im2col`.

    Parameters
    ----------
    cols : (N, C * kh * kw, oh * ow)
    image_shape : (N, C, H, W)
    kernel_size : (kh, kw)
    stride, padding, dilation : int

    Returns
    -------
    x : (N, C, H, W)
        Where patches overlap, their contributions are summed; what falls on the padding is dropped.
    """
    (N, C, H, W), (kh, kw) = image_shape, kernel_size
    oh = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1
    ow = (W + 2 * padding - dilation * (kw - 1) - 1) // stride + 1
    cols = cols.reshape(N, C, kh, kw, oh, ow)
    padded = np.zeros((N, C, H + 2 * padding, W + 2 * padding), cols.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dilation, j * dilation
            padded[:, :, top : top + oh * stride : stride, left : left + ow * stride : stride] += cols[:, :, i, j]
    return padded[:, :, padding : padding + H, padding : padding + W]


def conv2d_forward(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> tuple[Array, Cache]:
    """Cross-correlate images with a bank of filters, as ``torch.nn.functional.conv2d`` does.

    Parameters
    ----------
    x : (N, C, H, W)
    weight : (O, C // groups, kh, kw)
    bias : (O,) or None
    stride, padding, dilation, groups : int
        With groups, the g-th block of output channels sees the g-th block of input channels only.

    Returns
    -------
    y : (N, O, oh, ow)
    cache : whatever :func:`conv2d_backward` needs
    """
    N, O, kernel_size = len(x), len(weight), weight.shape[2:]
    oh, ow = (
        (size + 2 * padding - dilation * (k - 1) - 1) // stride + 1
        for size, k in zip(x.shape[2:], kernel_size, strict=True)
    )
    cols = im2col(x, kernel_size, stride, padding, dilation)  # (N, C * kh * kw, oh * ow)
    cols = cols.reshape(N, groups, -1, oh * ow)  # (N, g, C/g * kh * kw, oh * ow)
    W = weight.reshape(groups, O // groups, -1)  # (g, O/g, C/g * kh * kw)
    y = (W @ cols).reshape(N, O, oh, ow)
    if bias is not None:
        y = y + bias[:, None, None]
    return y, (x.shape, cols, weight, bias is not None, stride, padding, dilation, groups)


def conv2d_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array | None]:
    """Gradients of :func:`conv2d_forward`.

    Parameters
    ----------
    dy : (N, O, oh, ow)
    cache : from :func:`conv2d_forward`

    Returns
    -------
    dx : (N, C, H, W)
    dweight : (O, C // groups, kh, kw)
    dbias : (O,) or None
        None when there was no bias.
    """
    image_shape, cols, weight, has_bias, stride, padding, dilation, groups = cache
    N, O = dy.shape[:2]
    W = weight.reshape(groups, O // groups, -1)  # (g, O/g, K)
    dY = dy.reshape(N, groups, O // groups, -1)  # (N, g, O/g, oh * ow)
    dweight = (dY @ cols.transpose(0, 1, 3, 2)).sum(axis=0).reshape(weight.shape)
    dcols = (W.transpose(0, 2, 1) @ dY).reshape(N, -1, dY.shape[-1])  # (N, C * kh * kw, oh * ow)
    dx = col2im(dcols, image_shape, weight.shape[2:], stride, padding, dilation)
    return dx, dweight, dy.sum(axis=(0, 2, 3)) if has_bias else None


# ---------------------------------------------------------------------------------------------- 2 normalisation
def batchnorm2d_forward(
    x: Array,
    weight: Array,
    bias: Array,
    running_mean: Array,
    running_var: Array,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Array, Cache, Array, Array]:
    """Normalise every channel, then scale and shift it.

    In training, with the mean and the (biased) variance of this batch; in evaluation, with the running statistics.

    Parameters
    ----------
    x : (N, C, H, W)
    weight, bias : (C,)
        gamma and beta of the paper.
    running_mean, running_var : (C,)
    training : bool
    momentum : float
        Weight of the new value in the running statistics, as in PyTorch: ``(1 - momentum) * old + momentum * new``. The
        new variance is the unbiased one, divided by ``m - 1``.
    eps : float
        Added to the variance, inside the root.

    Returns
    -------
    y : (N, C, H, W)
    cache : whatever :func:`batchnorm2d_backward` needs
    running_mean, running_var : (C,)
        After this batch, as new arrays; in evaluation with the values they had.
    """
    if training:
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))  # (C,), (C,)
        m = x.size // x.shape[1]
        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * var * m / (m - 1)
    else:
        mean, var = running_mean, running_var
    inv_std = 1 / np.sqrt(var + eps)  # (C,)
    x_hat = (x - mean[:, None, None]) * inv_std[:, None, None]
    y = weight[:, None, None] * x_hat + bias[:, None, None]
    return y, (x_hat, inv_std, weight, training), running_mean.copy(), running_var.copy()


def batchnorm2d_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Gradients of :func:`batchnorm2d_forward`, for a forward pass in training or in evaluation.

    Parameters
    ----------
    dy : (N, C, H, W)
    cache : from :func:`batchnorm2d_forward`

    Returns
    -------
    dx : (N, C, H, W)
        In training, the mean and the variance depend on every pixel, too.
    dweight, dbias : (C,)
    """
    x_hat, inv_std, weight, training = cache
    dbias = dy.sum(axis=(0, 2, 3))
    dweight = (dy * x_hat).sum(axis=(0, 2, 3))
    if training:
        m = dy.size // dy.shape[1]
        dy = dy - dbias[:, None, None] / m - x_hat * dweight[:, None, None] / m
    return (weight * inv_std)[:, None, None] * dy, dweight, dbias


# ---------------------------------------------------------------------------------------------- 3 activation, pooling
def relu_forward(x: Array) -> tuple[Array, Cache]:
    """max(x, 0), element by element.

    Parameters
    ----------
    x : array of any shape

    Returns
    -------
    y : array of the same shape
    cache : whatever :func:`relu_backward` needs
    """
    return np.maximum(x, 0), x > 0


def relu_backward(dy: Array, cache: Cache) -> Array:
    """Gradient of :func:`relu_forward`.

    Parameters
    ----------
    dy : array of the shape of y
    cache : from :func:`relu_forward`

    Returns
    -------
    dx : array of the same shape
    """
    return dy * cache


def max_pool2d_forward(x: Array, kernel_size: int, stride: int, padding: int = 0) -> tuple[Array, Cache]:
    """The largest value in every window.

    Parameters
    ----------
    x : (N, C, H, W)
    kernel_size, stride, padding : int
        Windows may overlap (``stride < kernel_size``). Padding never wins: it counts as minus infinity.

    Returns
    -------
    y : (N, C, oh, ow)
        ``oh = (H + 2 * padding - kernel_size) // stride + 1``, likewise ``ow``.
    cache : whatever :func:`max_pool2d_backward` needs
    """
    N, C, H, W = x.shape
    oh, ow = (H + 2 * padding - kernel_size) // stride + 1, (W + 2 * padding - kernel_size) // stride + 1
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=-np.inf)
    windows = im2col(
        padded.reshape(N * C, 1, *padded.shape[2:]), (kernel_size, kernel_size), stride
    )  # (N*C, k*k, oh*ow)
    best = windows.argmax(axis=1)  # (N*C, oh*ow)
    y = np.take_along_axis(windows, best[:, None], axis=1)
    return y.reshape(N, C, oh, ow), (x.shape, best, kernel_size, stride, padding)


def max_pool2d_backward(dy: Array, cache: Cache) -> Array:
    """Gradient of :func:`max_pool2d_forward`: every value of dy goes to the pixel that won its window.

    Parameters
    ----------
    dy : (N, C, oh, ow)
    cache : from :func:`max_pool2d_forward`

    Returns
    -------
    dx : (N, C, H, W)
        A pixel that won several windows receives the sum.
    """
    (N, C, H, W), best, kernel_size, stride, padding = cache
    windows = np.zeros((N * C, kernel_size**2, best.shape[1]), dy.dtype)
    np.put_along_axis(windows, best[:, None], dy.reshape(N * C, 1, -1), axis=1)
    dx = col2im(windows, (N * C, 1, H, W), (kernel_size, kernel_size), stride, padding)
    return dx.reshape(N, C, H, W)


def global_avg_pool_forward(x: Array) -> tuple[Array, Cache]:
    """The mean of every channel.

    Parameters
    ----------
    x : (N, C, H, W)

    Returns
    -------
    y : (N, C)
    cache : whatever :func:`global_avg_pool_backward` needs
    """
    return x.mean(axis=(2, 3)), x.shape


def global_avg_pool_backward(dy: Array, cache: Cache) -> Array:
    """Gradient of :func:`global_avg_pool_forward`.

    Parameters
    ----------
    dy : (N, C)
    cache : from :func:`global_avg_pool_forward`

    Returns
    -------
    dx : (N, C, H, W)
    """
    shape = cache
    share = dy / (shape[2] * shape[3])  # (N, C), of every pixel
    return np.broadcast_to(share[:, :, None, None], shape).copy()


# ---------------------------------------------------------------------------------------------- 4 classifier
def linear_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, Cache]:
    """A fully connected layer.

    Parameters
    ----------
    x : (N, D)
    weight : (K, D)
    bias : (K,)

    Returns
    -------
    y : (N, K)
        ``x @ weight.T + bias``
    cache : whatever :func:`linear_backward` needs
    """
    return x @ weight.T + bias, (x, weight)


def linear_backward(dy: Array, cache: Cache) -> tuple[Array, Array, Array]:
    """Gradients of :func:`linear_forward`.

    Parameters
    ----------
    dy : (N, K)
    cache : from :func:`linear_forward`

    Returns
    -------
    dx : (N, D)
    dweight : (K, D)
    dbias : (K,)
    """
    x, weight = cache
    return dy @ weight, dy.T @ x, dy.sum(axis=0)


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """The mean over the batch of ``-log(softmax(logits)[label])``, and its gradient.

    Parameters
    ----------
    logits : (N, K)
        Of any size, and any distance apart: 1000 must not overflow, and a label whose logit lies 1000 below another
        still has a finite loss.
    labels : (N,) int64

    Returns
    -------
    loss : float
    dlogits : (N, K)
    """
    N = len(logits)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dlogits = np.exp(log_probabilities)
    dlogits[np.arange(N), labels] -= 1
    return -log_probabilities[np.arange(N), labels].mean(), dlogits / N


# ---------------------------------------------------------------------------------------------- 5 residual blocks
def basic_block_forward(x: Array, params: Params, stride: int = 1, training: bool = True) -> tuple[Array, Cache]:
    """The basic block of ResNet-18 and -34: two 3x3 convolutions, and the shortcut around them.

    ::

        x -> conv1 (3x3, stride, padding 1) -> bn1 -> ReLU -> conv2 (3x3, padding 1) -> bn2 -> + -> ReLU -> y
        x -> shortcut ------------------------------------------------------------------------^

    Parameters
    ----------
    x : (N, C, H, W)
    params : dict of arrays
        ``conv1.weight`` (O, C, 3, 3), ``conv2.weight`` (O, O, 3, 3); for bn1 and bn2 ``bn1.weight``, ``bn1.bias``,
        ``bn1.running_mean``, ``bn1.running_var`` (O,) and so on. When they include ``shortcut.conv.weight``
        (O, C, 1, 1) and ``shortcut.bn.weight`` ..., the shortcut is that convolution, with the same stride, and its
        batch normalisation (a projection); otherwise it is x itself. No convolution has a bias.
    stride : int
    training : bool
        The mode of every batch normalisation (momentum and eps as they are by default). The new running statistics
        are not asked for.

    Returns
    -------
    y : (N, O, oh, ow)
    cache : whatever :func:`basic_block_backward` needs
    """
    a, conv1 = conv2d_forward(x, params["conv1.weight"], stride=stride, padding=1)
    b, bn1 = _normalized(a, params, "bn1", training)
    c, relu1 = relu_forward(b)
    d, conv2 = conv2d_forward(c, params["conv2.weight"], padding=1)
    e, bn2 = _normalized(d, params, "bn2", training)
    residual, shortcut = _shortcut_forward(x, params, stride, training)
    y, relu2 = relu_forward(e + residual)
    return y, (conv1, bn1, relu1, conv2, bn2, shortcut, relu2)


def basic_block_backward(dy: Array, cache: Cache) -> tuple[Array, Params]:
    """Gradients of :func:`basic_block_forward`.

    Parameters
    ----------
    dy : (N, O, oh, ow)
    cache : from :func:`basic_block_forward`

    Returns
    -------
    dx : (N, C, H, W)
    grads : dict of arrays
        For every weight and bias in ``params``, under the same name (not for running statistics).
    """
    conv1, bn1, relu1, conv2, bn2, shortcut, relu2 = cache
    grads: Params = {}
    dsum = relu_backward(dy, relu2)
    dd, grads["bn2.weight"], grads["bn2.bias"] = batchnorm2d_backward(dsum, bn2)
    dc, grads["conv2.weight"], _ = conv2d_backward(dd, conv2)
    db = relu_backward(dc, relu1)
    da, grads["bn1.weight"], grads["bn1.bias"] = batchnorm2d_backward(db, bn1)
    dx, grads["conv1.weight"], _ = conv2d_backward(da, conv1)
    return dx + _shortcut_backward(dsum, shortcut, grads), grads


def bottleneck_block_forward(x: Array, params: Params, stride: int = 1, training: bool = True) -> tuple[Array, Cache]:
    """The bottleneck block of ResNet-50 and deeper: 1x1 to fewer channels, 3x3, and 1x1 to many.

    ::

        x -> conv1 (1x1) -> bn1 -> ReLU -> conv2 (3x3, stride, padding 1) -> bn2 -> ReLU
          -> conv3 (1x1) -> bn3 -> + -> ReLU -> y
        x -> shortcut -------------^

    Parameters
    ----------
    x : (N, C, H, W)
    params : dict of arrays
        As for :func:`basic_block_forward`: ``conv1.weight`` (M, C, 1, 1), ``conv2.weight`` (M, M, 3, 3),
        ``conv3.weight`` (O, M, 1, 1), bn1, bn2 (M,), bn3 (O,), and for a projection the shortcut's.
    stride : int
        Of the 3x3 convolution and of the projection.
    training : bool

    Returns
    -------
    y : (N, O, oh, ow)
    cache : whatever :func:`bottleneck_block_backward` needs
    """
    a, conv1 = conv2d_forward(x, params["conv1.weight"])
    b, bn1 = _normalized(a, params, "bn1", training)
    c, relu1 = relu_forward(b)
    d, conv2 = conv2d_forward(c, params["conv2.weight"], stride=stride, padding=1)
    e, bn2 = _normalized(d, params, "bn2", training)
    f, relu2 = relu_forward(e)
    g, conv3 = conv2d_forward(f, params["conv3.weight"])
    h, bn3 = _normalized(g, params, "bn3", training)
    residual, shortcut = _shortcut_forward(x, params, stride, training)
    y, relu3 = relu_forward(h + residual)
    return y, (conv1, bn1, relu1, conv2, bn2, relu2, conv3, bn3, shortcut, relu3)


def bottleneck_block_backward(dy: Array, cache: Cache) -> tuple[Array, Params]:
    """Gradients of :func:`bottleneck_block_forward`.

    Parameters
    ----------
    dy : (N, O, oh, ow)
    cache : from :func:`bottleneck_block_forward`

    Returns
    -------
    dx : (N, C, H, W)
    grads : dict of arrays
        For every weight and bias in ``params``, under the same name (not for running statistics).
    """
    conv1, bn1, relu1, conv2, bn2, relu2, conv3, bn3, shortcut, relu3 = cache
    grads: Params = {}
    dsum = relu_backward(dy, relu3)
    dg, grads["bn3.weight"], grads["bn3.bias"] = batchnorm2d_backward(dsum, bn3)
    df, grads["conv3.weight"], _ = conv2d_backward(dg, conv3)
    de = relu_backward(df, relu2)
    dd, grads["bn2.weight"], grads["bn2.bias"] = batchnorm2d_backward(de, bn2)
    dc, grads["conv2.weight"], _ = conv2d_backward(dd, conv2)
    db = relu_backward(dc, relu1)
    da, grads["bn1.weight"], grads["bn1.bias"] = batchnorm2d_backward(db, bn1)
    dx, grads["conv1.weight"], _ = conv2d_backward(da, conv1)
    return dx + _shortcut_backward(dsum, shortcut, grads), grads


def _normalized(x: Array, params: Params, name: str, training: bool) -> tuple[Array, Cache]:
    """The batch normalisation ``name`` of a block."""
    weight, bias = params[name + ".weight"], params[name + ".bias"]
    running_mean, running_var = params[name + ".running_mean"], params[name + ".running_var"]
    y, cache, _, _ = batchnorm2d_forward(x, weight, bias, running_mean, running_var, training)
    return y, cache


def _shortcut_forward(x: Array, params: Params, stride: int, training: bool) -> tuple[Array, Cache]:
    """The input itself, or its projection."""
    if "shortcut.conv.weight" not in params:
        return x, None
    a, conv = conv2d_forward(x, params["shortcut.conv.weight"], stride=stride)
    y, bn = _normalized(a, params, "shortcut.bn", training)
    return y, (conv, bn)


def _shortcut_backward(dy: Array, cache: Cache, grads: Params) -> Array:
    """The gradient that reaches the input along the shortcut; those of its parameters go into ``grads``."""
    if cache is None:
        return dy
    conv, bn = cache
    da, grads["shortcut.bn.weight"], grads["shortcut.bn.bias"] = batchnorm2d_backward(dy, bn)
    dx, grads["shortcut.conv.weight"], _ = conv2d_backward(da, conv)
    return dx


# ---------------------------------------------------------------------------------------------- 6 training
def sgd_momentum_step(
    param: Array, grad: Array, velocity: Array, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
) -> tuple[Array, Array]:
    """One step of stochastic gradient descent with momentum, as in PyTorch.

    ``g = grad + weight_decay * param``, ``velocity = momentum * velocity + g``, ``param = param - lr * velocity``

    Parameters
    ----------
    param, grad, velocity : arrays of one shape
    lr, momentum, weight_decay : float

    Returns
    -------
    param, velocity : arrays of the same shape
        New ones; the arguments keep their values.
    """
    velocity = momentum * velocity + grad + weight_decay * param
    return param - lr * velocity, velocity


def train_small_resnet(
    images: Array, labels: Array, params: Params, steps: int, lr: float, momentum: float = 0.9
) -> tuple[Array, Params]:
    """Train a small ResNet on one batch, over and over, until it knows it by heart.

    ::

        images -> stem.conv (3x3, padding 1) -> stem.bn -> ReLU -> block1 (basic, identity)
               -> block2 (basic, stride 2, projection) -> global average pool -> head (linear) -> softmax cross-entropy

    Parameters
    ----------
    images : (N, 3, H, W)
    labels : (N,) int64
    params : dict of arrays
        ``stem.conv.weight`` (A, 3, 3, 3), ``stem.bn.weight`` ...; ``block1.conv1.weight`` and so on, as in
        :func:`basic_block_forward`; ``block2.`` likewise (B channels, with ``block2.shortcut.conv.weight`` ...);
        ``head.weight`` (K, B), ``head.bias`` (K,).
    steps : int
    lr, momentum : float
        Of :func:`sgd_momentum_step`, for every weight and bias, without weight decay; velocities begin with zeros.

    Returns
    -------
    losses : (steps,)
        The loss before each step, in training mode.
    params : dict of arrays
        After the last step; running statistics as they were.
    """
    params = dict(params)
    velocities = {name: np.zeros_like(value) for name, value in params.items() if "running" not in name}
    losses = np.empty(steps)
    for step in range(steps):
        losses[step], grads = _loss_and_gradients(images, labels, params)
        for name, velocity in velocities.items():
            params[name], velocities[name] = sgd_momentum_step(params[name], grads[name], velocity, lr, momentum)
    return losses, params


def _loss_and_gradients(images: Array, labels: Array, params: Params) -> tuple[float, Params]:
    """Forward and backward through the whole network."""
    block1, block2 = (
        {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
        for prefix in ("block1.", "block2.")
    )
    a, conv = conv2d_forward(images, params["stem.conv.weight"], padding=1)
    b, bn = _normalized(a, params, "stem.bn", True)
    c, relu = relu_forward(b)
    d, cache1 = basic_block_forward(c, block1)
    e, cache2 = basic_block_forward(d, block2, stride=2)
    f, pool = global_avg_pool_forward(e)
    logits, head = linear_forward(f, params["head.weight"], params["head.bias"])
    loss, dlogits = softmax_cross_entropy(logits, labels)

    df, dweight, dbias = linear_backward(dlogits, head)
    dd, grads2 = basic_block_backward(global_avg_pool_backward(df, pool), cache2)
    dc, grads1 = basic_block_backward(dd, cache1)
    da, dgamma, dbeta = batchnorm2d_backward(relu_backward(dc, relu), bn)
    _, dstem, _ = conv2d_backward(da, conv)
    grads = {"stem.conv.weight": dstem, "stem.bn.weight": dgamma, "stem.bn.bias": dbeta}
    grads |= {"head.weight": dweight, "head.bias": dbias}
    grads |= {f"block1.{name}": value for name, value in grads1.items()}
    grads |= {f"block2.{name}": value for name, value in grads2.items()}
    return loss, grads

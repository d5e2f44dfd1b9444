"""ResNet from scratch

Write the functions below, each in place of its NotImplementedError. How they work is up to you: loops, einsum, slices,
helper functions, classes, anything in NumPy. Only the mathematics and what the docstrings say is marked.

- Images are (N, C, H, W), weights (O, C, kh, kw), as in PyTorch. Inputs may be float32 or float64.
- Every forward function returns a cache for its backward function; what is in it is your own business.
- No function writes to its arguments, and the same call twice gives the same values.
- Return NumPy arrays of the shapes that the docstrings give.
- You may call functions of earlier tasks. When a later task is marked, right ones take their place, so that a mistake
  is paid once.
- Import NumPy and the standard library; no files, no network, no other processes.
"""

import numpy as np


# ------------------------------------------------------------------------------------ 1 Convolution
# task 1.1, 4 points
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
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
    raise NotImplementedError("im2col")


# task 1.2, 5 points
def col2im(cols, image_shape, kernel_size, stride=1, padding=0, dilation=1):
    """Add every column back to the pixels it was taken from: the transpose of `im2col`.

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
    raise NotImplementedError("col2im")


# task 1.3, 8 points
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
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
    cache : whatever `conv2d_backward` needs
    """
    raise NotImplementedError("conv2d_forward")


# task 1.4, 10 points
def conv2d_backward(dy, cache):
    """Gradients of `conv2d_forward`.

    Parameters
    ----------
    dy : (N, O, oh, ow)
    cache : from `conv2d_forward`

    Returns
    -------
    dx : (N, C, H, W)
    dweight : (O, C // groups, kh, kw)
    dbias : (O,) or None
        None when there was no bias.
    """
    raise NotImplementedError("conv2d_backward")


# ---------------------------------------------------------------------------- 2 Batch normalisation
# task 2.1, 7 points
def batchnorm2d_forward(x, weight, bias, running_mean, running_var, training, momentum=0.1, eps=1e-5):
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
    cache : whatever `batchnorm2d_backward` needs
    running_mean, running_var : (C,)
        After this batch, as new arrays; in evaluation with the values they had.
    """
    raise NotImplementedError("batchnorm2d_forward")


# task 2.2, 9 points
def batchnorm2d_backward(dy, cache):
    """Gradients of `batchnorm2d_forward`, for a forward pass in training or in evaluation.

    Parameters
    ----------
    dy : (N, C, H, W)
    cache : from `batchnorm2d_forward`

    Returns
    -------
    dx : (N, C, H, W)
        In training, the mean and the variance depend on every pixel, too.
    dweight, dbias : (C,)
    """
    raise NotImplementedError("batchnorm2d_backward")


# ------------------------------------------------------------------------- 3 Activation and pooling
# task 3.1, 1 point
def relu_forward(x):
    """max(x, 0), element by element.

    Parameters
    ----------
    x : array of any shape

    Returns
    -------
    y : array of the same shape
    cache : whatever `relu_backward` needs
    """
    raise NotImplementedError("relu_forward")


# task 3.2, 2 points
def relu_backward(dy, cache):
    """Gradient of `relu_forward`.

    Parameters
    ----------
    dy : array of the shape of y
    cache : from `relu_forward`

    Returns
    -------
    dx : array of the same shape
    """
    raise NotImplementedError("relu_backward")


# task 3.3, 4 points
def max_pool2d_forward(x, kernel_size, stride, padding=0):
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
    cache : whatever `max_pool2d_backward` needs
    """
    raise NotImplementedError("max_pool2d_forward")


# task 3.4, 5 points
def max_pool2d_backward(dy, cache):
    """Gradient of `max_pool2d_forward`: every value of dy goes to the pixel that won its window.

    Parameters
    ----------
    dy : (N, C, oh, ow)
    cache : from `max_pool2d_forward`

    Returns
    -------
    dx : (N, C, H, W)
        A pixel that won several windows receives the sum.
    """
    raise NotImplementedError("max_pool2d_backward")


# task 3.5, 1 point
def global_avg_pool_forward(x):
    """The mean of every channel.

    Parameters
    ----------
    x : (N, C, H, W)

    Returns
    -------
    y : (N, C)
    cache : whatever `global_avg_pool_backward` needs
    """
    raise NotImplementedError("global_avg_pool_forward")


# task 3.6, 2 points
def global_avg_pool_backward(dy, cache):
    """Gradient of `global_avg_pool_forward`.

    Parameters
    ----------
    dy : (N, C)
    cache : from `global_avg_pool_forward`

    Returns
    -------
    dx : (N, C, H, W)
    """
    raise NotImplementedError("global_avg_pool_backward")


# ---------------------------------------------------------------------------- 4 Classifier and loss
# task 4.1, 1 point
def linear_forward(x, weight, bias):
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
    cache : whatever `linear_backward` needs
    """
    raise NotImplementedError("linear_forward")


# task 4.2, 3 points
def linear_backward(dy, cache):
    """Gradients of `linear_forward`.

    Parameters
    ----------
    dy : (N, K)
    cache : from `linear_forward`

    Returns
    -------
    dx : (N, D)
    dweight : (K, D)
    dbias : (K,)
    """
    raise NotImplementedError("linear_backward")


# task 4.3, 5 points
def softmax_cross_entropy(logits, labels):
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
    raise NotImplementedError("softmax_cross_entropy")


# -------------------------------------------------------------------------------- 5 Residual blocks
# task 5.1, 4 points
def basic_block_forward(x, params, stride=1, training=True):
    """The basic block of ResNet-18 and -34: two 3x3 convolutions, and the shortcut around them.

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
    cache : whatever `basic_block_backward` needs
    """
    raise NotImplementedError("basic_block_forward")


# task 5.2, 8 points
def basic_block_backward(dy, cache):
    """Gradients of `basic_block_forward`.

    Parameters
    ----------
    dy : (N, O, oh, ow)
    cache : from `basic_block_forward`

    Returns
    -------
    dx : (N, C, H, W)
    grads : dict of arrays
        For every weight and bias in ``params``, under the same name (not for running statistics).
    """
    raise NotImplementedError("basic_block_backward")


# task 5.3, 3 points
def bottleneck_block_forward(x, params, stride=1, training=True):
    """The bottleneck block of ResNet-50 and deeper: 1x1 to fewer channels, 3x3, and 1x1 to many.

        x -> conv1 (1x1) -> bn1 -> ReLU -> conv2 (3x3, stride, padding 1) -> bn2 -> ReLU
          -> conv3 (1x1) -> bn3 -> + -> ReLU -> y
        x -> shortcut -------------^

    Parameters
    ----------
    x : (N, C, H, W)
    params : dict of arrays
        As for `basic_block_forward`: ``conv1.weight`` (M, C, 1, 1), ``conv2.weight`` (M, M, 3, 3),
        ``conv3.weight`` (O, M, 1, 1), bn1, bn2 (M,), bn3 (O,), and for a projection the shortcut's.
    stride : int
        Of the 3x3 convolution and of the projection.
    training : bool

    Returns
    -------
    y : (N, O, oh, ow)
    cache : whatever `bottleneck_block_backward` needs
    """
    raise NotImplementedError("bottleneck_block_forward")


# task 5.4, 6 points
def bottleneck_block_backward(dy, cache):
    """Gradients of `bottleneck_block_forward`.

    Parameters
    ----------
    dy : (N, O, oh, ow)
    cache : from `bottleneck_block_forward`

    Returns
    -------
    dx : (N, C, H, W)
    grads : dict of arrays
        For every weight and bias in ``params``, under the same name (not for running statistics).
    """
    raise NotImplementedError("bottleneck_block_backward")


# --------------------------------------------------------------------------------------- 6 Training
# task 6.1, 3 points
def sgd_momentum_step(param, grad, velocity, lr, momentum=0.9, weight_decay=0.0):
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
    raise NotImplementedError("sgd_momentum_step")


# task 6.2, 5 points
def train_small_resnet(images, labels, params, steps, lr, momentum=0.9):
    """Train a small ResNet on one batch, over and over, until it knows it by heart.

        images -> stem.conv (3x3, padding 1) -> stem.bn -> ReLU -> block1 (basic, identity)
               -> block2 (basic, stride 2, projection) -> global average pool -> head (linear) -> softmax cross-entropy

    Parameters
    ----------
    images : (N, 3, H, W)
    labels : (N,) int64
    params : dict of arrays
        ``stem.conv.weight`` (A, 3, 3, 3), ``stem.bn.weight`` ...; ``block1.conv1.weight`` and so on, as in
        `basic_block_forward`; ``block2.`` likewise (B channels, with ``block2.shortcut.conv.weight`` ...);
        ``head.weight`` (K, B), ``head.bias`` (K,).
    steps : int
    lr, momentum : float
        Of `sgd_momentum_step`, for every weight and bias, without weight decay; velocities begin with zeros.

    Returns
    -------
    losses : (steps,)
        The loss before each step, in training mode.
    params : dict of arrays
        After the last step; running statistics as they were.
    """
    raise NotImplementedError("train_small_resnet")

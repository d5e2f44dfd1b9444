"""The Numba twins of :mod:`npresnet.kernels.reference`: same names, same signatures, same values, all cores.

Each function checks nothing and allocates its result; the compiled loop below it does the work on a part of the
output, and :func:`~npresnet.kernels.parallel.for_each` runs the parts side by side.
"""

from .activation import (
    add,
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    hardswish,
    hardswish_backward,
    leaky_relu,
    leaky_relu_backward,
    mish,
    mish_backward,
    relu,
    relu6,
    relu6_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    tanh,
    tanh_backward,
)
from .batchnorm import batchnorm_backward, batchnorm_normalize, batchnorm_statistics, batchnorm_sums
from .im2col import col2im, im2col
from .pooling import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward

__all__ = [
    "add",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batchnorm_backward",
    "batchnorm_normalize",
    "batchnorm_statistics",
    "batchnorm_sums",
    "col2im",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "hardswish",
    "hardswish_backward",
    "im2col",
    "leaky_relu",
    "leaky_relu_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "mish",
    "mish_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "tanh",
    "tanh_backward",
]

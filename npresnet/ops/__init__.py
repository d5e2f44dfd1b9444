"""The operations of a ResNet as pure functions, each forward directly above its backward.

A forward function returns ``(y, cache)``; its backward takes ``(dy, cache)`` and returns the gradients in the order of
the forward's array arguments. A cache is a NamedTuple to look into. Nothing writes to an argument.
"""

from .activation import ActivationCache, activation, activation_backward
from .batchnorm import (
    BatchNormCache,
    batchnorm2d_eval,
    batchnorm2d_eval_backward,
    batchnorm2d_train,
    batchnorm2d_train_backward,
    updated_running_statistics,
)
from .conv import Conv2dCache, conv2d, conv2d_backward
from .dropout import DropoutCache, dropout, dropout_backward, stochastic_depth
from .linear import LinearCache, linear, linear_backward
from .loss import (
    BCECache,
    CrossEntropyCache,
    MSECache,
    bce_with_logits,
    bce_with_logits_backward,
    cross_entropy,
    cross_entropy_backward,
    mse,
    mse_backward,
)
from .pooling import (
    AvgPoolCache,
    GlobalPoolCache,
    MaxPoolCache,
    avg_pool2d,
    avg_pool2d_backward,
    global_pool2d,
    global_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from .shortcut import ZeroPadCache, zero_pad_shortcut, zero_pad_shortcut_backward

__all__ = [
    "ActivationCache",
    "AvgPoolCache",
    "BCECache",
    "BatchNormCache",
    "Conv2dCache",
    "CrossEntropyCache",
    "DropoutCache",
    "GlobalPoolCache",
    "LinearCache",
    "MSECache",
    "MaxPoolCache",
    "ZeroPadCache",
    "activation",
    "activation_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batchnorm2d_eval",
    "batchnorm2d_eval_backward",
    "batchnorm2d_train",
    "batchnorm2d_train_backward",
    "bce_with_logits",
    "bce_with_logits_backward",
    "conv2d",
    "conv2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "global_pool2d",
    "global_pool2d_backward",
    "linear",
    "linear_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "mse",
    "mse_backward",
    "stochastic_depth",
    "updated_running_statistics",
    "zero_pad_shortcut",
    "zero_pad_shortcut_backward",
]

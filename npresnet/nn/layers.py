"""The layers of a ResNet as modules: each calls one operation of :mod:`npresnet.ops` and its backward."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .. import ops
from .module import Module, Parameter

Array = NDArray[np.floating]


class Sequential(Module):
    """Modules one after the other; their names are their numbers."""

    def __init__(self, *layers: Module) -> None:
        super().__init__()
        self.layers = list(layers)

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the layers as ``("0", first)``, ``("1", second)``, ..."""
        return ((str(index), layer) for index, layer in enumerate(self.layers))

    def forward(self, x: Array) -> Array:
        """Run all layers."""
        for layer in self.layers:
            x = layer(x)
        return x

    def backward(self, dy: Array) -> Array:
        """Run all layers' backward, last first."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)


class Identity(Module):
    """Return the input."""

    def forward(self, x: Array) -> Array:
        """(...) -> (...)."""
        return x

    def backward(self, dy: Array) -> Array:
        """(...) -> (...)."""
        return dy


class Conv2d(Module):
    """Convolution with a square kernel; padding ``dilation * (kernel // 2)`` unless given. See :func:`ops.conv2d`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation, self.groups = kernel, stride, dilation, groups
        self.padding = dilation * (kernel // 2) if padding is None else padding
        self.weight = Parameter(np.zeros((out_channels, in_channels // groups, kernel, kernel), np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, O, oh, ow)."""
        bias = self.bias.data if self.bias else None
        y, cache = ops.conv2d(x, self.weight.data, bias, self.stride, self.padding, self.dilation, self.groups)
        self._keep(cache)
        return y

    def backward(self, dy: Array, input_gradient: bool = True) -> Array:
        """(N, O, oh, ow) -> (N, C, H, W); an empty array where the gradient of the input is not wanted."""
        dx, dw, db = ops.conv2d_backward(
            dy, self._take(), input_gradient=input_gradient, weight_gradient=self.weight.requires_grad
        )
        self.weight.accumulate(dw)
        if self.bias:
            self.bias.accumulate(db)
        return np.empty(0, dy.dtype) if dx is None else dx


class BatchNorm2d(Module):
    """Batch normalisation with running statistics. See :mod:`npresnet.ops.batchnorm`.

    Attributes
    ----------
    frozen : bool
        Use the running statistics, and leave them alone, even in training mode: for fine-tuning.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum, self.frozen = eps, momentum, False
        self.weight = Parameter(np.ones(channels, np.float32))
        self.bias = Parameter(np.zeros(channels, np.float32))
        self.running_mean: Array = np.zeros(channels, np.float32)
        self.running_var: Array = np.ones(channels, np.float32)
        self.num_batches_tracked: NDArray[np.int64] = np.zeros((), np.int64)

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, H, W)."""
        uses_batch = self.training and not self.frozen
        if uses_batch:
            y, cache = ops.batchnorm2d_train(x, self.weight.data, self.bias.data, self.eps)
            self.running_mean, self.running_var = ops.updated_running_statistics(
                self.running_mean, self.running_var, cache, self.momentum
            )
            self.num_batches_tracked = np.asarray(self.num_batches_tracked + 1)
        else:
            y, cache = ops.batchnorm2d_eval(
                x, self.weight.data, self.bias.data, self.running_mean, self.running_var, self.eps
            )
        self._keep((uses_batch, cache))
        return y

    def backward(self, dy: Array) -> Array:
        """(N, C, H, W) -> (N, C, H, W)."""
        used_batch, cache = self._take()
        backward = ops.batchnorm2d_train_backward if used_batch else ops.batchnorm2d_eval_backward
        dx, dweight, dbias = backward(dy, cache)
        self.weight.accumulate(dweight)
        self.bias.accumulate(dbias)
        return dx


class Activation(Module):
    """An activation function by name. See :func:`ops.activation`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Array) -> Array:
        """(...) -> (...)."""
        y, cache = ops.activation(x, self.name)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """(...) -> (...)."""
        return ops.activation_backward(dy, self._take())


class MaxPool2d(Module):
    """Maximum pooling with a square window. See :func:`ops.max_pool2d`."""

    def __init__(self, kernel: int, stride: int, padding: int = 0, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.ceil_mode = kernel, stride, padding, ceil_mode

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, oh, ow)."""
        y, cache = ops.max_pool2d(x, self.kernel, self.stride, self.padding, ceil_mode=self.ceil_mode)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """(N, C, oh, ow) -> (N, C, H, W)."""
        return ops.max_pool2d_backward(dy, self._take())


class AvgPool2d(Module):
    """2x2 average pooling before the projection of a ResNet-D shortcut.

    With stride 2, an odd last row or column is a mean of its own (ceil mode, padding not counted). With stride 1, in
    a dilated stage, a row and a column of zeros are added behind, as timm's ``AvgPool2dSame``.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride))."""
        if self.stride == 1:
            y, cache = ops.avg_pool2d(x, 2, 1, padding=1)  # (N, C, H + 1, W + 1): padded on both sides
            y = y[:, :, 1:, 1:]
        else:
            y, cache = ops.avg_pool2d(x, 2, self.stride, ceil_mode=True, count_include_pad=False)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """(N, C, oh, ow) -> (N, C, H, W)."""
        if self.stride == 1:
            dy = np.pad(dy, ((0, 0), (0, 0), (1, 0), (1, 0)))
        return ops.avg_pool2d_backward(dy, self._take())


class GlobalPool2d(Module):
    """Pool each channel to one value: avg, max, avgmax or catavgmax. See :func:`ops.global_pool2d`."""

    def __init__(self, kind: str = "avg") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, C, 1, 1), for catavgmax (N, 2 C, 1, 1)."""
        y, cache = ops.global_pool2d(x, self.kind)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """(N, C, 1, 1) -> (N, C, H, W)."""
        return ops.global_pool2d_backward(dy, self._take())


class Flatten(Module):
    """(N, ...) -> (N, F)."""

    def forward(self, x: Array) -> Array:
        """(N, C, 1, 1) -> (N, C)."""
        self._keep(x.shape)
        return x.reshape(len(x), -1)

    def backward(self, dy: Array) -> Array:
        """(N, C) -> (N, C, 1, 1)."""
        return dy.reshape(self._take())


class Linear(Module):
    """Fully connected layer. See :func:`ops.linear`."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = Parameter(np.zeros((out_features, in_features), np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32))

    def initialize(self, rng: np.random.Generator) -> None:
        """Draw weight and bias uniformly within 1 / sqrt(in_features), as PyTorch does."""
        bound = 1 / np.sqrt(self.weight.shape[1])
        for parameter in (self.weight, self.bias):
            parameter.data = rng.uniform(-bound, bound, parameter.shape).astype(parameter.dtype)

    def forward(self, x: Array) -> Array:
        """(N, F) -> (N, O)."""
        y, cache = ops.linear(x, self.weight.data, self.bias.data)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """(N, O) -> (N, F)."""
        dx, dw, db = ops.linear_backward(dy, self._take())
        self.weight.accumulate(dw)
        self.bias.accumulate(db)
        return dx


class Dropout(Module):
    """Dropout of single values, or with ``whole_samples`` of a sample's residual branch; nothing in evaluation mode.

    ``rng`` is the generator that draws the masks; a model shares one among all its layers.
    """

    def __init__(self, rate: float, rng: np.random.Generator, whole_samples: bool = False) -> None:
        super().__init__()
        self.rate, self.rng, self.whole_samples = rate, rng, whole_samples

    def forward(self, x: Array) -> Array:
        """(...) -> (...)."""
        if not self.training or self.rate == 0:
            self._keep("identity")
            return x
        drop = ops.stochastic_depth if self.whole_samples else ops.dropout
        y, cache = drop(x, self.rate, self.rng)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """(...) -> (...)."""
        cache = self._take()
        return dy if isinstance(cache, str) else ops.dropout_backward(dy, cache)


class ZeroPadShortcut(Module):
    """Option A of the paper. See :func:`ops.zero_pad_shortcut`."""

    def __init__(self, out_channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels, self.stride = out_channels, stride

    def forward(self, x: Array) -> Array:
        """(N, C, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        y, cache = ops.zero_pad_shortcut(x, self.out_channels, self.stride)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """(N, out_channels, oh, ow) -> (N, C, H, W)."""
        return ops.zero_pad_shortcut_backward(dy, self._take())


def chain(layers: Sequence[Module]) -> Module:
    """Return the only layer, or all of them as a :class:`Sequential`."""
    return layers[0] if len(layers) == 1 else Sequential(*layers)

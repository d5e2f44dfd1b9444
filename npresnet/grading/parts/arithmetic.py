"""Operations to build networks from, for answers whose rounding is measured; see :mod:`npresnet.grading.tolerance`.

Each method returns its result and a function from the result's gradient to the gradients of the arguments. The
mathematics is that of :mod:`npresnet.ops`; what is added is that every result passes through ``rounding`` together with
its bound, and that two things are remembered, by which unsuitable numbers are recognised: the inputs of all ReLUs,
and how much of every normalised channel is spread and not mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npresnet import ops

from .. import tolerance
from ..part import Array
from ..tolerance import Rounding, Statistics

EPS = 1e-5
MARGIN = 1e-3
"""How far the input of every ReLU is from zero: some hundred times what rounding in float32 moves it."""
SPREAD = 0.15
"""The least share of the spread in the mean square of a channel that is normalised."""
ATTEMPTS = 2000
"""How often numbers are drawn again before that is given up."""

Params = dict[str, Array]
Gradients = tuple[Array, Params]
Backward = Callable[[Array], Gradients]
"""dy -> dx, and the gradients of parameters by name."""


class Arithmetic:
    """Operations of a network in training or in evaluation."""

    def __init__(self, rounding: Rounding, training: bool) -> None:
        self.rounding, self.training = rounding, training
        self.preactivations: list[Array] = []
        self.spreads: list[Array] = []  # var(x) / mean(x^2), of every channel that was normalised with its own batch

    def inputs(self, *arrays: Array) -> list[Array]:
        """Inputs, rounded as they come in."""
        return [self.rounding(array, lambda array=array: np.abs(array)) for array in arrays]  # type: ignore[misc]

    def parameters(self, params: Params) -> Params:
        """Parameters, rounded as they come in."""
        return dict(zip(params, self.inputs(*params.values()), strict=True))

    def convolution(
        self, x: Array, params: Params, name: str, stride: int = 1, padding: int = 0
    ) -> tuple[Array, Backward]:
        """The convolution ``name``, without a bias."""
        weight = params[name + ".weight"]
        y, cache = ops.conv2d(x, weight, None, stride, padding)
        y = self.rounding(y, lambda: tolerance.convolution(x, weight, None, stride, padding))

        def backward(dy: Array) -> Gradients:
            dx, dweight = map(np.asarray, ops.conv2d_backward(dy, cache)[:2])
            dx = self.rounding(dx, lambda: tolerance.convolution_backward(dy, x, weight, stride, padding).dx)
            dweight = self.rounding(
                dweight, lambda: tolerance.convolution_backward(dy, x, weight, stride, padding).dweight
            )
            return dx, {name + ".weight": dweight}

        return y, backward

    def normalization(self, x: Array, params: Params, name: str) -> tuple[Array, Backward]:
        """The batch normalisation ``name``."""
        weight, bias = params[name + ".weight"], params[name + ".bias"]
        mean, var = params[name + ".running_mean"], params[name + ".running_var"]
        if self.training:
            y, cache = ops.batchnorm2d_train(x, weight, bias, EPS)
            self.spreads.append(cache.var / (cache.var + cache.mean**2 + EPS))
        else:
            y, cache = ops.batchnorm2d_eval(x, weight, bias, mean, var, EPS)

        def statistics() -> Statistics:
            m = x.size // x.shape[1]
            return Statistics.of_batch(x) if self.training else Statistics.given(mean, var, m)

        y = self.rounding(y, lambda: tolerance.normalization(x, weight, bias, statistics(), EPS))

        def backward(dy: Array) -> Gradients:
            gradients = (ops.batchnorm2d_train_backward if self.training else ops.batchnorm2d_eval_backward)(dy, cache)

            def bound(index: int) -> Array:
                return tolerance.normalization_backward(dy, x, weight, statistics(), EPS, self.training)[index]

            dx, dweight, dbias = (
                self.rounding(gradient, lambda index=index: bound(index))  # type: ignore[misc]
                for index, gradient in enumerate(gradients)
            )
            return dx, {name + ".weight": dweight, name + ".bias": dbias}

        return y, backward

    def relu(self, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """max(x, 0): exact."""
        self.preactivations.append(x)
        y, cache = ops.activation(x, "relu")
        return y, lambda dy: ops.activation_backward(dy, cache)

    def add(self, a: Array, b: Array) -> Array:
        """A sum."""
        return self.rounding(a + b, lambda: np.abs(a + b))

    def block(
        self, x: Array, params: Params, layers: list[tuple[str, int, int]], stride: int
    ) -> tuple[Array, Backward]:
        """A residual block.

        Parameters
        ----------
        x : (N, C, H, W)
        params : dict of arrays
        layers : list of (number, stride, padding)
            Convolutions of the main path, each with its normalisation, and with a ReLU between any two.
        stride : int
            Of the projection, if ``params`` has one.
        """
        h, backwards = x, []
        for index, (number, layer_stride, padding) in enumerate(layers):
            if index:
                h, relu = self.relu(h)
                backwards.append(_without_parameters(relu))
            h, convolution = self.convolution(h, params, "conv" + number, layer_stride, padding)
            h, normalization = self.normalization(h, params, "bn" + number)
            backwards += [convolution, normalization]
        shortcut, shortcut_backwards = x, []
        if "shortcut.conv.weight" in params:
            shortcut, convolution = self.convolution(x, params, "shortcut.conv", stride)
            shortcut, normalization = self.normalization(shortcut, params, "shortcut.bn")
            shortcut_backwards = [convolution, normalization]
        y, last_relu = self.relu(self.add(h, shortcut))

        def backward(dy: Array) -> Gradients:
            dsum = last_relu(dy)
            dx, grads = _back_through(backwards, dsum)
            dshortcut, shortcut_grads = _back_through(shortcut_backwards, dsum)
            return self.add(dx, dshortcut), {**grads, **shortcut_grads}

        return y, backward

    def basic_block(self, x: Array, params: Params, stride: int) -> tuple[Array, Backward]:
        """Two 3x3 convolutions, the first with the stride."""
        return self.block(x, params, [("1", stride, 1), ("2", 1, 1)], stride)

    def bottleneck_block(self, x: Array, params: Params, stride: int) -> tuple[Array, Backward]:
        """1x1, 3x3 with the stride, 1x1."""
        return self.block(x, params, [("1", 1, 0), ("2", stride, 1), ("3", 1, 0)], stride)


def is_clear(a: Arithmetic) -> bool:
    """Whether the numbers of a computation leave no doubt about its answer.

    No ReLU is near its kink, each lets something through and holds something back, and no channel is so nearly constant
    that its variance drowns in rounding.
    """
    return all(bool((spread > SPREAD).all()) for spread in a.spreads) and all(
        bool((np.abs(array) > MARGIN).all()) and bool((array > 0).any()) and bool((array < 0).any())
        for array in a.preactivations
    )


def _without_parameters(backward: Callable[[Array], Array]) -> Backward:
    return lambda dy: (backward(dy), {})


def _back_through(backwards: list[Backward], dy: Array) -> Gradients:
    grads: Params = {}
    for backward in reversed(backwards):
        dy, some = backward(dy)
        grads.update(some)
    return dy, grads

"""Mistakes in pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import solution
from ..part import Array
from .mistake import Functions, Wrong, mistakes_in
from .windows import Window, patches, spread, without_padding


# ------------------------------------------------------------------------------------------------ max_pool2d_forward
def _max_pool2d_forward(wrong: Wrong) -> Functions:
    """``wrong(x, k, window)`` returns y; the cache is that of a right call."""

    def max_pool2d_forward(x: Array, kernel_size: int, stride: int, padding: int = 0) -> tuple[Array, Any]:
        _, cache = solution.max_pool2d_forward(x, kernel_size, stride, padding)
        return wrong(x, kernel_size, Window(stride, padding)), cache

    return {"max_pool2d_forward": max_pool2d_forward}


def _largest(x: Array, k: int, window: Window, **options: Any) -> Array:
    """The maximum of every window, -inf on the padding."""
    return patches(x, (k, k), window, **({"fill": -np.inf} | options)).max(axis=(2, 3))


mistake = mistakes_in("max_pool2d_forward", _max_pool2d_forward)


@mistake(
    "max-pool-padded-with-zeros",
    "y",
    "At the border, your padding wins against negative values. It must never be the largest, so zeros will not do.",
)
def _(x: Array, k: int, window: Window) -> Array:
    return _largest(x, k, window, fill=0.0)


@mistake("max-pool-average", "y", "You take the mean of every window. What is asked for is its largest value.")
def _(x: Array, k: int, window: Window) -> Array:
    return patches(x, (k, k), window).mean(axis=(2, 3))


@mistake("max-pool-minimum", "y", "You take the smallest value of every window. What is asked for is the largest.")
def _(x: Array, k: int, window: Window) -> Array:
    return -_largest(-x, k, window)


@mistake(
    "max-pool-absolute",
    "y",
    "You take the value of the largest magnitude. Signs count: minus five is smaller than one.",
)
def _(x: Array, k: int, window: Window) -> Array:
    high, low = _largest(x, k, window), -_largest(-x, k, window)
    return np.where(high >= -low, high, low)


@mistake(
    "max-pool-windows-apart",
    "y",
    "Your windows lie side by side, a kernel's width apart. Their distance is the stride, so they may overlap.",
)
def _(x: Array, k: int, window: Window) -> Array:
    return _largest(x, k, window._replace(stride=k))


@mistake("max-pool-stride-ignored", "y", "The stride has no effect: your window moves by one pixel at a time.")
def _(x: Array, k: int, window: Window) -> Array:
    return _largest(x, k, window._replace(stride=1))


@mistake("max-pool-padding-forgotten", "y", "Padding has no effect: your windows begin inside the image.")
def _(x: Array, k: int, window: Window) -> Array:
    return _largest(x, k, window._replace(padding=0))


@mistake(
    "max-pool-size-rounded-up",
    "y",
    "When the stride does not divide evenly, your y has one row or column too many, whose window reaches over the "
    "edge. The size is rounded down.",
)
def _(x: Array, k: int, window: Window) -> Array:
    steps = (window.steps(x.shape[2], k, up=True), window.steps(x.shape[3], k, up=True))
    return _largest(x, k, window, steps=steps)


@mistake(
    "max-pool-over-channels",
    "y",
    "Your maximum is taken over the channels as well. Each channel is pooled for itself.",
)
def _(x: Array, k: int, window: Window) -> Array:
    y = _largest(x, k, window)
    return np.broadcast_to(y.max(axis=1, keepdims=True), y.shape).copy()


@mistake("max-pool-positions-transposed", "y", "Your y is transposed: its rows are columns.")
def _(x: Array, k: int, window: Window) -> Array:
    return _largest(x, k, window).swapaxes(2, 3)


# ----------------------------------------------------------------------------------------------- max_pool2d_backward
@dataclass
class _Gradients:
    """The backward pass: what every window is given back, (N, C, k, k, oh, ow)."""

    dy: Array
    x: Array
    k: int
    window: Window

    @property
    def image_size(self) -> tuple[int, int]:
        return self.x.shape[2], self.x.shape[3]

    @property
    def pixels(self) -> Array:
        return patches(self.x, (self.k, self.k), self.window, fill=-np.inf)

    @property
    def winners(self) -> Array:
        """Positions of the maxima in their windows, (N, C, oh, ow)."""
        N, C, k, _, oh, ow = (pixels := self.pixels).shape
        return pixels.reshape(N, C, k * k, oh, ow).argmax(axis=2)

    def given_to(self, winners: Array, dy: Array | None = None) -> Array:
        """dy at some positions of the windows."""
        N, C, oh, ow = self.dy.shape
        given = np.zeros((N, C, self.k**2, oh, ow), self.dy.dtype)
        np.put_along_axis(given, winners[:, :, None], (self.dy if dy is None else dy)[:, :, None], axis=2)
        return given.reshape(N, C, self.k, self.k, oh, ow)

    def given_to_all(self) -> Array:
        N, C, oh, ow = self.dy.shape
        return np.broadcast_to(self.dy[:, :, None, None], (N, C, self.k, self.k, oh, ow))

    def padded_dx(self, given: Array, window: Window | None = None) -> Array:
        """The gradient of the padded image."""
        return spread(given, self.image_size, window or self.window)

    def dx(self, given: Array, window: Window | None = None) -> Array:
        """The gradient of the image; only pixels of the image are given anything."""
        return without_padding(self.padded_dx(given, window), self.image_size, self.window.padding)


def _max_pool2d_backward(wrong: Wrong) -> Functions:
    """``wrong(gradients)`` returns dx; the forward pass is right and keeps its input."""

    def max_pool2d_forward(x: Array, kernel_size: int, stride: int, padding: int = 0) -> tuple[Array, Any]:
        return _largest(x, kernel_size, Window(stride, padding)), (x, kernel_size, Window(stride, padding))

    return {
        "max_pool2d_forward": max_pool2d_forward,
        "max_pool2d_backward": lambda dy, cache: wrong(_Gradients(dy, *cache)),
    }


mistake = mistakes_in("max_pool2d_backward", _max_pool2d_backward)


@mistake(
    "max-pool-backward-average",
    "dx",
    "You share dy out among all pixels of a window, as for average pooling. Only the largest one decided y.",
)
def _(call: _Gradients) -> Array:
    return call.dx(call.given_to_all() / call.k**2)


@mistake(
    "max-pool-backward-all-pixels",
    "dx",
    "All pixels of a window are given dy. Only the largest one decided y.",
)
def _(call: _Gradients) -> Array:
    return call.dx(call.given_to_all())


@mistake(
    "max-pool-backward-overlaps-assigned",
    "dx",
    "A pixel that won several windows keeps only what the last of them sends back. It gets the sum.",
)
def _(call: _Gradients) -> Array:
    N, C, oh, ow = call.dy.shape
    (H, W), p = call.image_size, call.window.padding
    padded = np.zeros((N, C, H + 2 * p, W + 2 * p), call.dy.dtype)
    rows, columns = np.divmod(call.winners, call.k)
    n, c = np.ogrid[:N, :C]
    for top in range(oh):
        for left in range(ow):
            row, column = rows[:, :, top, left], columns[:, :, top, left]
            at = (n, c, row + top * call.window.stride, column + left * call.window.stride)
            padded[at] = call.dy[:, :, top, left]
    return without_padding(padded, call.image_size, p)


@mistake(
    "max-pool-backward-windows-apart",
    "dx",
    "You put the windows back side by side, a kernel's width apart. Their distance is the stride, so they may overlap.",
)
def _(call: _Gradients) -> Array:
    return call.dx(call.given_to(call.winners), call.window._replace(stride=call.k))


@mistake(
    "max-pool-backward-stride-ignored",
    "dx",
    "You put the windows back one pixel apart. Their distance is the stride.",
)
def _(call: _Gradients) -> Array:
    return call.dx(call.given_to(call.winners), call.window._replace(stride=1))


@mistake(
    "max-pool-backward-padding-kept",
    "dx",
    "Your dx still has the padding around it. It has to be cut off.",
)
def _(call: _Gradients) -> Array:
    return call.padded_dx(call.given_to(call.winners))


@mistake(
    "max-pool-backward-padding-cut-at-end",
    "dx",
    "Your dx is shifted: all of the padding is cut off at the bottom and on the right.",
)
def _(call: _Gradients) -> Array:
    return without_padding(call.padded_dx(call.given_to(call.winners)), call.image_size, 0)


@mistake(
    "max-pool-backward-first-pixel",
    "dx",
    "The top left pixel of every window is given dy. It belongs to the largest one.",
)
def _(call: _Gradients) -> Array:
    return call.dx(call.given_to(0 * call.winners))


@mistake(
    "max-pool-backward-winner-transposed",
    "dx",
    "Row and column of the winner inside its window have changed places. Look at how you turn its number into a "
    "position.",
)
def _(call: _Gradients) -> Array:
    row, column = np.divmod(call.winners, call.k)
    return call.dx(call.given_to(column * call.k + row))


@mistake(
    "max-pool-backward-without-dy",
    "dx",
    "Your dx says which pixels won. By the chain rule, the winner is given what comes from above.",
)
def _(call: _Gradients) -> Array:
    return call.dx(call.given_to(call.winners, np.ones_like(call.dy)))


@mistake(
    "max-pool-backward-times-value",
    "dx",
    "You multiply dy with the maximum. The slope of y at the pixel that won is one, whatever its value.",
)
def _(call: _Gradients) -> Array:
    return call.dx(call.given_to(call.winners, call.dy * call.pixels.max(axis=(2, 3))))


# ------------------------------------------------------------------------------------------- global_avg_pool_forward
mistake = mistakes_in(
    "global_avg_pool_forward", lambda wrong: {"global_avg_pool_forward": lambda x: (wrong(x), x.shape)}
)


@mistake("global-avg-pool-sum", "y", "You sum over the image. What is asked for is the mean.")
def _(x: Array) -> Array:
    return x.sum(axis=(2, 3))


@mistake(
    "global-avg-pool-height-only",
    "y",
    "Your sum is divided by the height only. The image has as many pixels as height times width.",
)
def _(x: Array) -> Array:
    return x.sum(axis=(2, 3)) / x.shape[2]


@mistake(
    "global-avg-pool-divided-by-batch",
    "y",
    "Your mean is divided by the size of the batch, too. Every image is averaged for itself.",
)
def _(x: Array) -> Array:
    return x.mean(axis=(2, 3)) / len(x)


@mistake("global-avg-pool-maximum", "y", "You take the largest value of every channel. What is asked for is the mean.")
def _(x: Array) -> Array:
    return x.max(axis=(2, 3))


@mistake("global-avg-pool-axes-kept", "y", "Your y still has axes for height and width. It should be (N, C).")
def _(x: Array) -> Array:
    return x.mean(axis=(2, 3), keepdims=True)


@mistake(
    "global-avg-pool-over-channels",
    "y",
    "You average over the channels. What is asked for is one number for each channel, averaged over the image.",
)
def _(x: Array) -> Array:
    return x.mean(axis=1)


@mistake("global-avg-pool-over-batch", "y", "You average over the batch as well. Every image has its own result.")
def _(x: Array) -> Array:
    return x.mean(axis=(0, 2, 3))


# ------------------------------------------------------------------------------------------ global_avg_pool_backward
mistake = mistakes_in(
    "global_avg_pool_backward",
    lambda wrong: {
        "global_avg_pool_forward": lambda x: (x.mean(axis=(2, 3)), x.shape),
        "global_avg_pool_backward": wrong,
    },
)


def _spread(dy: Array, shape: tuple[int, ...], divisor: float) -> Array:
    return np.broadcast_to(dy[:, :, None, None] / divisor, shape).copy()


@mistake(
    "global-avg-pool-backward-not-divided",
    "dx",
    "Every pixel is given all of dy. In a mean, each has only a small share.",
)
def _(dy: Array, shape: Any) -> Array:
    return _spread(dy, shape, 1)


@mistake(
    "global-avg-pool-backward-height-only",
    "dx",
    "Your dy is divided by the height only. The mean was taken over height times width pixels.",
)
def _(dy: Array, shape: Any) -> Array:
    return _spread(dy, shape, shape[2])


@mistake(
    "global-avg-pool-backward-divided-by-batch",
    "dx",
    "Your dx is divided by the size of the batch, too. The mean was taken over the pixels of one image.",
)
def _(dy: Array, shape: Any) -> Array:
    return _spread(dy, shape, shape[0] * shape[2] * shape[3])


@mistake(
    "global-avg-pool-backward-divided-by-channels",
    "dx",
    "Your dx is divided by the number of channels, too. The mean was taken over the pixels of one channel.",
)
def _(dy: Array, shape: Any) -> Array:
    return _spread(dy, shape, shape[1] * shape[2] * shape[3])


@mistake(
    "global-avg-pool-backward-first-pixel",
    "dx",
    "Only the first pixel is given a gradient. All pixels have their share in a mean.",
)
def _(dy: Array, shape: Any) -> Array:
    dx = np.zeros(shape, dy.dtype)
    dx[:, :, 0, 0] = dy
    return dx


@mistake(
    "global-avg-pool-backward-not-spread",
    "dx",
    "Your dx has one value for each channel. It should have the shape of x, a value for every pixel.",
)
def _(dy: Array, shape: Any) -> Array:
    return dy[:, :, None, None] / (shape[2] * shape[3])

"""Mistakes in im2col, col2im and convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import solution
from ..part import Array
from .mistake import Functions, Wrong, mistakes_in
from .windows import Window, patches, spread, without_padding


# ------------------------------------------------------------------------------------------------------------ im2col
def _im2col(wrong: Wrong) -> Functions:
    """``wrong(x, kernel_size, window)`` returns what im2col does, or its pixels as (N, C, kh, kw, oh, ow)."""

    def im2col(x: Array, kernel_size: Any, stride: int = 1, padding: int = 0, dilation: int = 1) -> Array:
        return _flat(wrong(x, tuple(kernel_size), Window(stride, padding, dilation)))

    return {"im2col": im2col}


def _flat(pixels: Array) -> Array:
    if pixels.ndim < 6:
        return pixels
    N, a, b, c, oh, ow = pixels.shape
    return pixels.reshape(N, a * b * c, oh * ow)


mistake = mistakes_in("im2col", _im2col)


@mistake(
    "im2col-kernel-before-channel",
    "cols",
    "The rows of your columns are in another order: the channel has to be the slowest index, the position inside the "
    "kernel runs faster. Look at how you number the rows.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, kernel_size, window).transpose(0, 2, 3, 1, 4, 5)


@mistake(
    "im2col-kernel-transposed",
    "cols",
    "Inside a channel, rows and columns of the kernel have changed places: the horizontal offset has to run fastest.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, kernel_size, window).swapaxes(2, 3)


@mistake(
    "im2col-positions-transposed",
    "cols",
    "Your columns are in another order: patches have to be numbered along a row of positions first, then down.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, kernel_size, window).swapaxes(4, 5)


@mistake(
    "im2col-flipped",
    "cols",
    "The pixels of every patch come out rotated by 180 degrees. Row (0, 0) of a patch is its top left pixel.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, kernel_size, window)[:, :, ::-1, ::-1]


@mistake(
    "im2col-padding-forgotten",
    "cols",
    "Padding has no effect in your function: the patches are those of the image without the zeros around it.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, kernel_size, window._replace(padding=0))


@mistake(
    "im2col-padding-after-only",
    "cols",
    "Your zeros are all below and to the right of the image. They belong on all four sides, so the image has to start "
    "further inside the padded array.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, kernel_size, window, after_only=True)


@mistake(
    "im2col-padding-repeats-edge",
    "cols",
    "You pad with copies of the border's pixels. Padding is made of zeros here.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    p = window.padding
    return patches(np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), mode="edge"), kernel_size, window._replace(padding=0))


@mistake(
    "im2col-stride-ignored",
    "cols",
    "The stride has no effect: the window moves by one pixel at a time, and so there are too many patches.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, kernel_size, window._replace(stride=1))


@mistake(
    "im2col-dilation-ignored",
    "cols",
    "Dilation has no effect: you take neighbouring pixels. They should lie further apart, which also makes the window "
    "larger and the number of its positions smaller.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, kernel_size, window._replace(dilation=1))


@mistake(
    "im2col-size-rounded-up",
    "cols",
    "When the stride does not divide evenly, you take one more position, whose window reaches over the edge. The "
    "number of positions is rounded down.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, kernel_size, window, steps=_rounded_up(x, kernel_size, window))


def _rounded_up(x: Array, kernel_size: Any, window: Window) -> tuple[int, int]:
    return window.steps(x.shape[2], kernel_size[0], up=True), window.steps(x.shape[3], kernel_size[1], up=True)


@mistake(
    "im2col-square-kernel",
    "cols",
    "You take the kernel to be square: its height is used where its width should be.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return patches(x, (kernel_size[0], kernel_size[0]), window)


@mistake(
    "im2col-patches-as-rows",
    "cols",
    "Each of your patches is a row. It should be a column: the last axis counts positions.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return _flat(patches(x, kernel_size, window)).transpose(0, 2, 1)


@mistake(
    "im2col-batch-in-columns",
    "cols",
    "You put the images of the batch side by side in one matrix. Here every image has a matrix of its own: the batch "
    "stays the first axis.",
)
def _(x: Array, kernel_size: Any, window: Window) -> Array:
    return np.concatenate(list(_flat(patches(x, kernel_size, window))), axis=1)


# ------------------------------------------------------------------------------------------------------------ col2im
def _col2im(wrong: Wrong) -> Functions:
    """``wrong(cols, image_size, window)`` gets (N, C, kh, kw, oh, ow) and returns the image."""

    def col2im(
        cols: Array, image_shape: Any, kernel_size: Any, stride: int = 1, padding: int = 0, dilation: int = 1
    ) -> Array:
        N, C, H, W = image_shape
        window = Window(stride, padding, dilation)
        steps = (window.steps(H, kernel_size[0]), window.steps(W, kernel_size[1]))
        return wrong(cols.reshape(N, C, *kernel_size, *steps), (H, W), window)

    return {"col2im": col2im}


def _image(cols: Array, image_size: tuple[int, int], window: Window, **options: Any) -> Array:
    """What col2im should return."""
    return without_padding(spread(cols, image_size, window, **options), image_size, window.padding)


mistake = mistakes_in("col2im", _col2im)


@mistake(
    "col2im-overlaps-assigned",
    "x",
    "Where patches overlap, the last contribution overwrites the others. A pixel that lies in several patches gets "
    "their sum.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    return _image(cols, image_size, window, assign=True)


@mistake(
    "col2im-overlaps-averaged",
    "x",
    "Where patches overlap, you take the mean of the contributions. As the transpose of im2col, col2im sums them: it "
    "is not its inverse.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    return _image(cols, image_size, window) / np.maximum(_image(np.ones_like(cols), image_size, window), 1)


@mistake(
    "col2im-padding-kept",
    "x",
    "The padding is still around the image that you return. It has to be cut off.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    return spread(cols, image_size, window)


@mistake(
    "col2im-padding-cut-at-end",
    "x",
    "You cut all of the padding off at the bottom and on the right, so the image is shifted. Half of it lies above and "
    "to the left.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    return without_padding(spread(cols, image_size, window), image_size, 0)


@mistake(
    "col2im-nothing-without-padding",
    "x",
    "Without padding, your image is empty: a slice that ends at minus zero ends at the beginning. Look at how you cut "
    "the padding off.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    p = window.padding
    return spread(cols, image_size, window)[:, :, p:-p, p:-p]


@mistake(
    "col2im-kernel-before-channel",
    "x",
    "You read the rows of the columns in another order: the channel is the slowest index, the position inside the "
    "kernel runs faster.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    N, C, kh, kw, oh, ow = cols.shape
    return _image(cols.reshape(N, kh, kw, C, oh, ow).transpose(0, 3, 1, 2, 4, 5), image_size, window)


@mistake(
    "col2im-kernel-transposed",
    "x",
    "Inside a channel, you read the rows of the columns with the vertical offset running fastest. It is the horizontal "
    "one that does.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    N, C, kh, kw, oh, ow = cols.shape
    return _image(cols.reshape(N, C, kw, kh, oh, ow).swapaxes(2, 3), image_size, window)


@mistake(
    "col2im-positions-transposed",
    "x",
    "You read the positions of the patches down the image first. They are numbered along the rows.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    N, C, kh, kw, oh, ow = cols.shape
    return _image(cols.reshape(N, C, kh, kw, ow, oh).swapaxes(4, 5), image_size, window)


@mistake(
    "col2im-flipped",
    "x",
    "Every patch is put back rotated by 180 degrees: row (0, 0) of a patch belongs to its top left pixel.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    return _image(cols[:, :, ::-1, ::-1], image_size, window)


@mistake(
    "col2im-stride-ignored",
    "x",
    "The patches are put back side by side, one pixel apart. With a stride they belong further apart.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    return _image(cols, image_size, window._replace(stride=1))


@mistake(
    "col2im-dilation-ignored",
    "x",
    "The pixels of a patch are put back as neighbours. With dilation they lie further apart.",
)
def _(cols: Array, image_size: Any, window: Window) -> Array:
    return _image(cols, image_size, window._replace(dilation=1))


# ---------------------------------------------------------------------------------------------------- conv2d_forward
@dataclass
class _Call:
    """A convolution that was asked for."""

    x: Array
    weight: Array
    bias: Array | None
    window: Window
    groups: int

    def right(self, **changes: Any) -> Array:
        """The solution's answer, to this call or to one with other values."""
        return _forward(self, **changes)[0]

    def outputs(self) -> Array:
        """The answer without the bias."""
        return self.right(bias=None)

    @property
    def group_inputs(self) -> int:
        """Input channels of a group."""
        return self.weight.shape[1]

    def biased(self, y: Array, times: float = 1) -> Array:
        """With the bias added to (N, O, ., .)."""
        return y if self.bias is None else y + times * self.bias[:, None, None]

    def product(self, pixels: Array) -> Array:
        """The convolution of patches (N, C, kh, kw, oh, ow)."""
        N, C, *_, oh, ow = pixels.shape
        pixels = pixels.reshape(N, self.groups, C // self.groups, *pixels.shape[2:])
        weight = self.weight.reshape(self.groups, -1, *self.weight.shape[1:])
        return self.biased(np.einsum("ngcijpq,gocij->ngopq", pixels, weight).reshape(N, -1, oh, ow))


def _forward(call: _Call, **changes: Any) -> tuple[Array, Any]:
    values: dict[str, Any] = vars(call) | changes
    return solution.conv2d_forward(
        values["x"], values["weight"], values["bias"], **values["window"]._asdict(), groups=values["groups"]
    )


def _conv2d_forward(wrong: Wrong) -> Functions:
    """``wrong(call)`` returns y; the cache is that of a right call."""

    def conv2d_forward(
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
    ) -> tuple[Array, Any]:
        call = _Call(x, weight, bias, Window(stride, padding, dilation), groups)
        return wrong(call), _forward(call)[1]

    return {"conv2d_forward": conv2d_forward}


def _transposed(weight: Array) -> Array:
    """Kernels with rows and columns exchanged, or only their numbers, where they are not square."""
    return weight.swapaxes(2, 3).reshape(weight.shape)


def _shuffled(x: Array, groups: int) -> Array:
    """Channels in the order in which they are read when group g takes every groups-th channel, beginning with g."""
    N, C, H, W = x.shape
    return x.reshape(N, C // groups, groups, H, W).swapaxes(1, 2).reshape(x.shape)


def _unshuffled(x: Array, groups: int) -> Array:
    N, C, H, W = x.shape
    return x.reshape(N, groups, C // groups, H, W).swapaxes(1, 2).reshape(x.shape)


def _first_block(x: Array, groups: int) -> Array:
    """The first group's channels in the place of every group's."""
    return np.tile(x[:, : x.shape[1] // groups], (1, groups, 1, 1))


mistake = mistakes_in("conv2d_forward", _conv2d_forward)


@mistake(
    "conv-kernel-flipped",
    "y",
    "Your kernel is flipped: this is the convolution of mathematics. Networks cross-correlate: the kernel's top left "
    "weight meets the window's top left pixel.",
)
def _(call: _Call) -> Array:
    return call.right(weight=call.weight[:, :, ::-1, ::-1])


@mistake(
    "conv-kernel-transposed",
    "y",
    "Rows and columns of the kernel have changed places. Look at the order in which you go through its two axes.",
)
def _(call: _Call) -> Array:
    return call.right(weight=_transposed(call.weight))


@mistake(
    "conv-weight-order",
    "y",
    "Weights and columns do not meet: the filters are flattened in another order of channel and kernel position than "
    "the rows of the columns.",
)
def _(call: _Call) -> Array:
    return call.right(weight=call.weight.transpose(0, 2, 3, 1).reshape(call.weight.shape))


@mistake(
    "conv-padding-forgotten",
    "y",
    "Padding has no effect in your convolution: it sees the image without the zeros around it.",
)
def _(call: _Call) -> Array:
    return call.right(window=call.window._replace(padding=0))


@mistake(
    "conv-padding-after-only",
    "y",
    "Your zeros are all below and to the right of the image, so that y is shifted. They belong on all four sides.",
)
def _(call: _Call) -> Array:
    return call.product(patches(call.x, call.weight.shape[2:], call.window, after_only=True))


@mistake(
    "conv-padding-counted-once",
    "y",
    "Your y lacks its last rows and columns: padding makes the image larger on both sides of each axis.",
)
def _(call: _Call) -> Array:
    (H, W), window = call.x.shape[2:], call.window
    oh, ow = (window.steps(size - window.padding, k) for size, k in zip((H, W), call.weight.shape[2:], strict=True))
    return call.right()[:, :, :oh, :ow]


@mistake(
    "conv-stride-ignored",
    "y",
    "The stride has no effect: your window moves by one pixel at a time.",
)
def _(call: _Call) -> Array:
    return call.right(window=call.window._replace(stride=1))


@mistake(
    "conv-dilation-ignored",
    "y",
    "Dilation has no effect: the weights meet neighbouring pixels. They should lie further apart, which also makes y "
    "smaller.",
)
def _(call: _Call) -> Array:
    return call.right(window=call.window._replace(dilation=1))


@mistake(
    "conv-size-rounded-up",
    "y",
    "When the stride does not divide evenly, your y has one row or column too many, whose window reaches over the "
    "edge. The size is rounded down.",
)
def _(call: _Call) -> Array:
    kernel_size = call.weight.shape[2:]
    steps = _rounded_up(call.x, kernel_size, call.window)
    return call.product(patches(call.x, kernel_size, call.window, steps=steps))


@mistake(
    "conv-groups-first-block",
    "y",
    "With groups, all of your output channels look at the first block of input channels. Each group has its own block.",
)
def _(call: _Call) -> Array:
    return call.right(x=_first_block(call.x, call.groups))


@mistake(
    "conv-groups-inputs-interleaved",
    "y",
    "With groups, you deal the input channels out in turn. A group sees a block of neighbouring channels.",
)
def _(call: _Call) -> Array:
    return call.right(x=_shuffled(call.x, call.groups))


@mistake(
    "conv-groups-outputs-interleaved",
    "y",
    "With groups, you deal the output channels out in turn. A group makes a block of neighbouring output channels.",
)
def _(call: _Call) -> Array:
    order = np.arange(len(call.weight)).reshape(-1, call.groups).T.ravel()  # group by group: the filters it is given
    y = np.empty_like(call.outputs())
    y[:, order] = call.right(weight=call.weight[order], bias=None)
    return call.biased(y)


@mistake(
    "conv-bias-forgotten",
    "y",
    "The bias is missing: every output channel has one number that is added to all of its pixels.",
)
def _(call: _Call) -> Array:
    return call.outputs()


@mistake(
    "conv-bias-per-channel",
    "y",
    "The bias is added too often: once for every input channel. It belongs after the sum over the channels.",
)
def _(call: _Call) -> Array:
    return call.biased(call.outputs(), times=call.group_inputs)


@mistake(
    "conv-reshape-mixes-batch",
    "y",
    "Images of the batch are mixed up: before the reshape to (N, O, oh, ow), the axes of your array are in another "
    "order. A reshape does not move axes.",
)
def _(call: _Call) -> Array:
    y = call.right()
    return y.swapaxes(0, 1).reshape(y.shape)


@mistake(
    "conv-size-swapped",
    "y",
    "Height and width of y are exchanged in your reshape: the numbers are right, the rows are cut in the wrong places.",
)
def _(call: _Call) -> Array:
    N, O, oh, ow = (y := call.right()).shape
    return y.reshape(N, O, ow, oh)


@mistake(
    "conv-positions-transposed",
    "y",
    "Your y is transposed: its rows are columns.",
)
def _(call: _Call) -> Array:
    return call.right().swapaxes(2, 3)


@mistake(
    "conv-channels-last",
    "y",
    "Your output channels are the last axis. Images are (N, C, H, W) everywhere in this course.",
)
def _(call: _Call) -> Array:
    return call.right().transpose(0, 2, 3, 1)


@mistake(
    "conv-averaged",
    "y",
    "You take the mean over the window. A convolution sums the products.",
)
def _(call: _Call) -> Array:
    return call.biased(call.outputs() / call.weight[0].size)


# --------------------------------------------------------------------------------------------------- conv2d_backward
@dataclass
class _Gradients:
    """A convolution's backward pass, with what is right at hand."""

    dy: Array
    x: Array
    weight: Array
    has_bias: bool
    window: Window
    groups: int

    def right(self, **changes: Any) -> tuple[Array, Array, Array | None]:
        """The solution's gradients, of this call or of one with other values."""
        values: dict[str, Any] = vars(self) | changes
        weight, bias = values["weight"], np.zeros(len(self.weight), self.weight.dtype)
        _, cache = solution.conv2d_forward(
            values["x"], weight, bias, **values["window"]._asdict(), groups=values["groups"]
        )
        return solution.conv2d_backward(values["dy"], cache)

    @property
    def image_size(self) -> tuple[int, int]:
        return self.x.shape[2], self.x.shape[3]

    def dcols(self) -> Array:
        """Gradients of the patches, (N, C, kh, kw, oh, ow)."""
        N, O, oh, ow = self.dy.shape
        dy = self.dy.reshape(N, self.groups, O // self.groups, oh, ow)
        weight = self.weight.reshape(self.groups, O // self.groups, *self.weight.shape[1:])
        dcols = np.einsum("ngopq,gocij->ngcijpq", dy, weight)
        return dcols.reshape(N, -1, *dcols.shape[3:])

    def padded_dx(self, window: Window | None = None, assign: bool = False) -> Array:
        """dx with its padding."""
        return spread(self.dcols(), self.image_size, window or self.window, assign=assign)

    def cut(self, padded: Array) -> Array:
        """dx without it."""
        return without_padding(padded, self.image_size, self.window.padding)

    def dweight_of(self, pixels: Array) -> Array:
        """dweight from patches (N, C, kh, kw, oh, ow)."""
        N, O, oh, ow = self.dy.shape
        dy = self.dy.reshape(N, self.groups, O // self.groups, oh, ow)
        pixels = pixels.reshape(N, self.groups, -1, *pixels.shape[2:])
        return np.einsum("ngopq,ngcijpq->gocij", dy, pixels).reshape(self.weight.shape)


def _conv2d_backward(wrong: Wrong) -> Functions:
    """``wrong(gradients)`` returns a dict of those that are wrong; the forward pass is right and keeps its input."""

    def conv2d_forward(
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
    ) -> tuple[Array, Any]:
        y, _ = solution.conv2d_forward(x, weight, bias, stride, padding, dilation, groups)
        return y, (x, weight, bias is not None, Window(stride, padding, dilation), groups)

    def conv2d_backward(dy: Array, cache: Any) -> tuple[Array, Array, Array | None]:
        call = _Gradients(dy, *cache)
        dx, dweight, dbias = call.right()
        values: dict[str, Any] = {"dx": dx, "dweight": dweight, "dbias": dbias, "always": False} | wrong(call)
        return values["dx"], values["dweight"], values["dbias"] if call.has_bias or values["always"] else None

    return {"conv2d_forward": conv2d_forward, "conv2d_backward": conv2d_backward}


mistake = mistakes_in("conv2d_backward", _conv2d_backward)


@mistake(
    "conv-backward-dbias-averaged",
    "dbias",
    "Your dbias is divided by the size of the batch. The loss has already seen to any mean: gradients are summed over "
    "the images.",
)
def _(call: _Gradients) -> Any:
    return {"dbias": call.dy.sum(axis=(0, 2, 3)) / len(call.dy)}


@mistake(
    "conv-backward-dbias-mean",
    "dbias",
    "Your dbias is a mean. The bias is added to every pixel of every image, so what comes back from them is summed.",
)
def _(call: _Gradients) -> Any:
    return {"dbias": call.dy.mean(axis=(0, 2, 3))}


@mistake(
    "conv-backward-dbias-per-pixel",
    "dbias",
    "Your dbias still has a value for every pixel. There is one bias for each output channel.",
)
def _(call: _Gradients) -> Any:
    return {"dbias": call.dy.sum(axis=0)}


@mistake(
    "conv-backward-dbias-per-image",
    "dbias",
    "Your dbias still has a value for every image of the batch. All images share the bias.",
)
def _(call: _Gradients) -> Any:
    return {"dbias": call.dy.sum(axis=(2, 3))}


@mistake(
    "conv-backward-dbias-always",
    "dbias",
    "Without a bias, there is no gradient of it: dbias should be None.",
)
def _(call: _Gradients) -> Any:
    return {"dbias": call.dy.sum(axis=(0, 2, 3)), "always": True}


@mistake(
    "conv-backward-dweight-averaged",
    "dweight",
    "Your dweight is divided by the size of the batch. Every image uses the same weights: what they send back is "
    "summed.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": call.right()[1] / len(call.dy)}


@mistake(
    "conv-backward-dweight-last-image",
    "dweight",
    "Only the last image of the batch reaches your dweight: the earlier ones are overwritten.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": call.right(dy=call.dy[-1:], x=call.x[-1:])[1]}


@mistake(
    "conv-backward-dweight-flipped",
    "dweight",
    "Your dweight is rotated by 180 degrees. Nothing is flipped in the gradient of the weights.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": call.right()[1][:, :, ::-1, ::-1]}


@mistake(
    "conv-backward-dweight-transposed",
    "dweight",
    "Rows and columns of the kernel have changed places in your dweight.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": _transposed(call.right()[1])}


@mistake(
    "conv-backward-dweight-order",
    "dweight",
    "Your dweight has the right numbers in the wrong order: the rows of the columns are numbered channel first, then "
    "kernel position.",
)
def _(call: _Gradients) -> Any:
    O, C, kh, kw = call.weight.shape
    return {"dweight": call.right()[1].reshape(O, kh, kw, C).transpose(0, 3, 1, 2)}


@mistake(
    "conv-backward-dweight-stride-ignored",
    "dweight",
    "In dweight, your dy meets patches that are one pixel apart. With a stride, each value of dy belongs to the patch "
    "that it was computed from.",
)
def _(call: _Gradients) -> Any:
    pixels = patches(
        call.x, call.weight.shape[2:], call.window._replace(stride=1), steps=(call.dy.shape[2], call.dy.shape[3])
    )
    return {"dweight": call.dweight_of(pixels)}


@mistake(
    "conv-backward-dweight-padding-ignored",
    "dweight",
    "In dweight, your dy meets patches of an image that was not padded above and to the left, as it was in the forward "
    "pass.",
)
def _(call: _Gradients) -> Any:
    return {"dweight": call.dweight_of(patches(call.x, call.weight.shape[2:], call.window, after_only=True))}


@mistake(
    "conv-backward-dx-kernel-flipped",
    "dx",
    "The kernel in your dx is flipped once too often or once too little: a pixel gets its gradient through the weight "
    "that it was multiplied with.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.right(weight=call.weight[:, :, ::-1, ::-1])[0]}


@mistake(
    "conv-backward-dx-kernel-transposed",
    "dx",
    "Rows and columns of the kernel have changed places in your dx.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.right(weight=_transposed(call.weight))[0]}


@mistake(
    "conv-backward-dx-overlaps-assigned",
    "dx",
    "In dx, overlapping windows overwrite each other. A pixel that lies in several windows gets the sum of what they "
    "send back.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.cut(call.padded_dx(assign=True))}


@mistake(
    "conv-backward-dx-padding-cut-at-end",
    "dx",
    "Your dx is shifted: all of the padding is cut off at the bottom and on the right.",
)
def _(call: _Gradients) -> Any:
    return {"dx": without_padding(call.padded_dx(), call.image_size, 0)}


@mistake(
    "conv-backward-dx-padding-kept",
    "dx",
    "Your dx still has the padding around it. It has to be cut off.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.padded_dx()}


@mistake(
    "conv-backward-dx-stride-ignored",
    "dx",
    "In dx, the windows are put back one pixel apart. With a stride they lie further apart.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.cut(call.padded_dx(call.window._replace(stride=1)))}


@mistake(
    "conv-backward-dx-dilation-ignored",
    "dx",
    "In dx, the pixels of a window are put back as neighbours. With dilation they lie further apart.",
)
def _(call: _Gradients) -> Any:
    return {"dx": call.cut(call.padded_dx(call.window._replace(dilation=1)))}


@mistake(
    "conv-backward-dx-last-filter",
    "dx",
    "Only the last output channel reaches your dx. Every filter looked at x, so what they send back is summed.",
)
def _(call: _Gradients) -> Any:
    dy = np.zeros_like(call.dy)
    last = slice(len(call.weight) // call.groups - 1, None, len(call.weight) // call.groups)
    dy[:, last] = call.dy[:, last]
    return {"dx": call.right(dy=dy)[0]}


@mistake(
    "conv-backward-groups-first-block",
    "dx dweight",
    "With groups, your gradients all belong to the first block of input channels. Each group has its own block.",
)
def _(call: _Gradients) -> Any:
    dx, dweight, _ = call.right(x=_first_block(call.x, call.groups))
    first = dx.reshape(len(dx), call.groups, -1, *call.image_size).sum(axis=1)
    return {"dx": np.concatenate([first, np.zeros_like(dx[:, first.shape[1] :])], axis=1), "dweight": dweight}


@mistake(
    "conv-backward-groups-interleaved",
    "dx dweight",
    "With groups, your gradients belong to input channels dealt out in turn. A group has a block of neighbouring "
    "channels.",
)
def _(call: _Gradients) -> Any:
    dx, dweight, _ = call.right(x=_shuffled(call.x, call.groups))
    return {"dx": _unshuffled(dx, call.groups), "dweight": dweight}

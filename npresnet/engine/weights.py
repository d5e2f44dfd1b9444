"""Weights as the kernels read them: BatchNorm multiplied in, and 16 output channels side by side.

The packed form of a convolution is (O / 16, C / 16, k, k, 16 / p, 16, p): for each block of 16 outputs the terms of
the sum in the order of the table, for each term 16 outputs, and p = 1, 2 or 4 input channels together for float32,
bfloat16 and 8-bit numbers. For the image, whose channels are interleaved, the terms are the k C numbers of a row of
the kernel: (O / 16, k, k C / p, 16, p). Winograd's is (products, O / 16, C, 16).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..nn import BatchNorm2d, Conv2d, Linear
from .graph import Classifier, Convolution
from .layout import BLOCK, ELEMENT_BYTES, blocks_of

Array = NDArray[Any]


@dataclass
class Folded:
    """A convolution with its normalisation as one: ``weight * scale`` and ``bias``.

    Attributes
    ----------
    weight : (O, C / groups, k, k)
    scale, bias : (O,) float64
    reach : int
        Blocks of input channels that an output block depends on.
    first : int
        The first of them for output block b is ``b // span * first``.
    span : int
        Output blocks that see the same input blocks.
    """

    weight: Array
    scale: NDArray[np.float64]
    bias: NDArray[np.float64]
    channels: int
    stride: int
    padding: int
    dilation: int
    groups: int

    @property
    def out_channels(self) -> int:
        return len(self.weight)

    @property
    def kernel(self) -> int:
        return self.weight.shape[-1]

    @property
    def _widths(self) -> tuple[int, int]:
        return self.channels // self.groups, self.out_channels // self.groups

    @property
    def style(self) -> str:
        """How groups meet blocks of 16: ``whole`` blocks in a group, several groups in ``one`` block, or ``dense``."""
        inputs, outputs = self._widths
        if self.groups > 1 and inputs % BLOCK == 0 and outputs % BLOCK == 0:
            return "whole"
        if self.groups > 1 and inputs == outputs and BLOCK % inputs == 0:
            return "one"
        return "dense"  # odd groups become a dense kernel with zeros

    @property
    def reach(self) -> int:
        if self.style == "whole":
            return self._widths[0] // BLOCK
        return 1 if self.style == "one" else blocks_of(self.channels)

    @property
    def span(self) -> int:
        """Output blocks that see the same input blocks."""
        if self.style == "whole":
            return self._widths[1] // BLOCK
        return 1 if self.style == "one" else blocks_of(self.out_channels)

    def block(self, number: int, dtype: Any = np.float32) -> Array:
        """Weights of 16 outputs and all input channels that they see, scaled: (16, reach * 16, k, k)."""
        outputs = slice(number * BLOCK, (number + 1) * BLOCK)
        kernels, scale = self.weight[outputs], self.scale[outputs, None, None, None]
        scaled = np.empty(kernels.shape, dtype)
        np.multiply(kernels, scale, out=scaled, casting="same_kind")  # in float64, then rounded
        inputs, per_group = self._widths
        k = self.kernel
        if self.groups == 1 and len(scaled) == BLOCK and self.channels % BLOCK == 0:
            return scaled
        block = np.zeros((BLOCK, self.reach * BLOCK, k, k), dtype)
        for lane, kernel in enumerate(scaled):
            group = (number * BLOCK + lane) // per_group
            first = group * inputs
            if self.style == "whole":
                first = 0
            elif self.style == "one":
                first -= number * BLOCK
            block[lane, first : first + inputs] = kernel
        return block


def fold(node: Convolution, channels: int) -> Folded:
    """Fold the normalisation of a convolution into it."""
    module = node.layer
    if not isinstance(module, Conv2d):  # a shortcut without parameters: a 1x1 kernel of ones and zeros
        out = module.out_channels
        weight = np.zeros((out, channels, 1, 1), np.float32)
        first = (out - channels) // 2
        weight[np.arange(channels) + first, np.arange(channels)] = 1
        return Folded(weight, np.ones(out), np.zeros(out), channels, module.stride, 0, 1, 1)
    weight = module.weight.peek()
    scale, bias = np.ones(len(weight)), np.zeros(len(weight))
    if module.bias is not None:
        bias += module.bias.peek()
    norm = node.normalization
    if isinstance(norm, BatchNorm2d):
        scale = norm.weight.peek() / np.sqrt(norm.running_var.astype(np.float64) + norm.eps)
        bias = norm.bias.peek() + (bias - norm.running_mean) * scale
    return Folded(weight, scale, bias, channels, module.stride, module.padding, module.dilation, module.groups)


def linear(node: Classifier) -> Folded:
    """Return a classifier as a 1x1 convolution on one pixel."""
    module: Linear = node.layer
    weight = module.weight.peek()[:, :, None, None]
    out, channels = weight.shape[:2]
    return Folded(weight, np.ones(out), module.bias.peek().astype(np.float64), channels, 1, 0, 1, 1)


def to_bfloat16(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16, half to even, as 16-bit patterns."""
    x = np.ascontiguousarray(x, np.float32)
    bits = x.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def packed_shape(folded: Folded, precision: str, interleaved: bool) -> tuple[int, ...]:
    """Shape of the packed weights; see the head of this file."""
    p = 4 // ELEMENT_BYTES[precision]
    k, out = folded.kernel, blocks_of(folded.out_channels)
    if interleaved:
        return out, k, -(-k * folded.channels // p), BLOCK, p
    return out, folded.reach, k, k, BLOCK // p, BLOCK, p


def pack_block(folded: Folded, number: int, precision: str, interleaved: bool, out: Array, steps: Any = None) -> None:
    """Write the weights of one block of outputs into its place, of shape ``packed_shape()[1:]``.

    Parameters
    ----------
    steps : (16,), for int8
        The size of one step of the 8-bit weights of each output channel.
    """
    block = folded.block(number)
    if precision == "int8":
        block = np.rint(block / steps[:, None, None, None])
    elif precision == "bfloat16":
        block = to_bfloat16(block)
    lanes, _, k, _ = block.shape
    if interleaved:
        rows = block[:, : folded.channels].transpose(0, 2, 3, 1).reshape(lanes, k, -1)  # (16, k, k C)
        _, steps_of_row, _, p = out.shape
        rows = np.pad(rows, ((0, 0), (0, 0), (0, steps_of_row * p - rows.shape[2])))
        out[...] = rows.reshape(lanes, k, steps_of_row, p).transpose(1, 2, 0, 3)
    else:
        reach, _, _, steps_16, _, p = out.shape
        shaped = block.reshape(lanes, reach, steps_16, p, k, k)
        out[...] = shaped.transpose(1, 4, 5, 2, 0, 3)


def weight_steps(folded: Folded) -> NDArray[np.float32]:
    """Return the size of one step of the 8-bit weights of each output channel: the largest weight is 127 steps."""
    largest = np.abs(folded.weight).reshape(folded.out_channels, -1).max(axis=1) * np.abs(folded.scale)
    return np.where(largest > 0, largest / 127, 1.0).astype(np.float32)


def pad_channels(values: Array, fill: float = 0.0) -> NDArray[np.float32]:
    """Return values of channels as float32, filled up to whole blocks."""
    return np.pad(values.astype(np.float32), (0, -len(values) % BLOCK), constant_values=np.float32(fill))

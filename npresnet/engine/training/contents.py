"""What the way forward leaves for the way back, and what of it changes from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...nn import BatchNorm2d, Dropout, Parameter
from ..graph import Convolution
from ..layout import Map


@dataclass
class Contents:
    """What a convolution leaves for its way back."""

    node: Convolution
    weight: Parameter | NDArray[np.float32]
    channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    source: Map
    before: Map  # the convolution's output, before the normalisation
    output: Map
    statistics: int = 0  # address
    kept: NDArray[np.float32] | None = None  # (N,) factors of stochastic depth

    @property
    def taps(self) -> list[tuple[int, int]]:
        """Kernel positions."""
        return [(r, c) for r in range(self.kernel) for c in range(self.kernel)]

    @property
    def phases(self) -> list[Phase]:
        """For each pixel of a square of ``stride`` the kernel positions that meet it, and how far their output is."""
        s, p, d = self.stride, self.padding, self.dilation
        phases = []
        for y in range(s):
            for x in range(s):
                taps = {
                    (r, q): ((y + p - d * r) // s, (x + p - d * q) // s)
                    for r, q in self.taps
                    if (y + p - d * r) % s == 0 and (x + p - d * q) % s == 0
                }
                phases.append(Phase(y, x, -(-(self.source.height - y) // s), -(-(self.source.width - x) // s), taps))
        return phases


@dataclass
class Pointers:
    """Addresses in rows that may change from step to step."""

    data: list[tuple[int, str, Parameter, int]] = field(default_factory=list)  # the last: bytes before what is read
    gradients: list[tuple[int, str, Parameter]] = field(default_factory=list)
    running: list[tuple[int, BatchNorm2d]] = field(default_factory=list)
    kept: list[tuple[NDArray[np.float32], Dropout]] = field(default_factory=list)
    image: int = 0
    head: int = 0  # the row that reads the gradient of the pooled features


@dataclass
class Phase:
    """The pixels of a map that a convolution with a stride reads with the same kernel positions."""

    y: int  # the first of them
    x: int
    height: int  # how many
    width: int
    taps: dict[tuple[int, int], tuple[int, int]]  # kernel position: rows down and columns right to its output

"""Winograd's convolution: 4x4 outputs of a 3x3 kernel with 36 products, not 144; or 2x2 outputs with 16, not 36.

Two polynomials can be multiplied by evaluating both at enough points, multiplying the values, and interpolating. A
one-dimensional convolution of m outputs with a kernel of r is such a product with m + r - 1 coefficients: with ``d``
the m + r - 1 inputs, ``g`` the kernel, and as points 0, a few pairs a and -a, and infinity,

    y = A.T ((G g) * (B.T d))                          in one dimension: m + r - 1 products, not r m
    y = A.T ((G g G.T) * (B.T d B)) A                  in two dimensions: (m + r - 1)^2 products, not (r m)^2

``G g G.T`` is computed once, from the weights. ``B.T d B`` costs additions only, shared by all output channels, and
so does ``A.T y A``, shared by all input channels (:mod:`.winograd_tasks`). In between, every one of the 36 or 16
numbers of a tile is summed over the input channels: ordinary matrix products, for which the micro-kernel is used.

A kernel of 3 that moves by 2 is two convolutions that move by 1: its outer weights meet every other input, m + 1 of
them, and its middle weight meets the m between. The first is done with m + 1 products as above, the second as it is:
2 m + 1 products for m outputs, not 3 m, and in two dimensions 81, not 144, or 25, not 36. The middle weight is the
same m times, so the weights are as many as for a stride of 1.

The points decide how much the sums and differences cancel. For m = 4 the usual 1 and 2 leave 8 times the rounding error
of an ordinary convolution; 3/4 and 3/2 are exact in binary too and leave about 5 times; 1/2 and 5/4, of the stride of
2, about twice (Lavin & Gray 2015, arXiv:1509.09308; Barabasz et al. 2018, arXiv:1803.10986). The smaller tile has fewer
weights to read, 16 for every 9 instead of 36, and rounds better.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

POINTS: dict[tuple[int, int], tuple[float, ...]] = {
    (4, 3): (0, 0.75, -0.75, 1.5, -1.5),
    (2, 3): (0, 1, -1),
    (4, 2): (0.5, -0.5, 1.25, -1.25),
    (2, 2): (0, 1),
}
"""The points, besides infinity, for m outputs in a row and a kernel of r."""


class Form(NamedTuple):
    """A way to compute a 3x3 convolution."""

    tile: int  # outputs in a row of a tile, m
    stride: int

    @property
    def span(self) -> int:
        """Inputs in a row of a tile; and as many numbers after the transform."""
        return self.tile + 2 if self.stride == 1 else 2 * self.tile + 1

    @property
    def products(self) -> int:
        """Products for a tile and a pair of channels."""
        return self.span**2

    @property
    def points(self) -> tuple[float, ...]:
        """Those of the part of the kernel that is transformed."""
        return POINTS[self.tile, 4 - self.stride]

    def reach(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns below and right of the border that the tiles of an output of this size read."""
        rows, columns = (
            self.tile * self.stride * (-(-size // self.tile) - 1) + self.span - 1 for size in (height, width)
        )
        return rows, columns

    @property
    def kernels(self) -> list[int]:
        """For each product the number of its transformed weight."""
        n = self.tile + 2
        rows = [min(row, n - 1) for row in range(self.span)]
        return [row * n + column for row in rows for column in rows]


KINDS = {
    "winograd 4x4": Form(4, 1),
    "winograd 2x2": Form(2, 1),
    "winograd 4x4, stride 2": Form(4, 2),
    "winograd 2x2, stride 2": Form(2, 2),
}


@functools.cache
def kernel_matrix(form: Form) -> NDArray[np.float64]:
    """G, (m + 2, 3): a row for each point, over what the other points leave of its Lagrange polynomial; infinity.

    For a stride of 2 the outer two of the three weights, and as a last row the middle one.
    """
    length = 4 - form.stride
    rows = []
    for point in form.points:
        others = np.prod([point - other for other in form.points if other != point])
        rows.append([point**power / others for power in range(length)])
    matrix = np.array([*rows, [0] * (length - 1) + [1]])
    if form.stride == 1:
        return matrix
    split = np.zeros((form.tile + 2, 3))
    split[:-1, ::2], split[-1, 1] = matrix, 1
    return split


def transform_weights(weight: NDArray[np.floating], form: Form) -> NDArray[np.float64]:
    """``G g G.T`` of every kernel: (O, C, 3, 3) -> ((m + 2)^2, O, C)."""
    both = np.kron(kernel_matrix(form), kernel_matrix(form))
    out, channels = weight.shape[:2]
    kernels = np.ascontiguousarray(weight.reshape(out * channels, 9).T, np.float64)
    # NOTE: not @, which would start the threads of a BLAS library and give each a buffer of its own.
    return np.einsum("pk,kn->pn", both, kernels).reshape(-1, out, channels)

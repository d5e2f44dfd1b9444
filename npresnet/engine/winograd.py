"""Winograd's convolution: 4x4 outputs of a 3x3 kernel with 36 products, not 144; or 2x2 outputs with 16, not 36.

Two polynomials can be multiplied by evaluating both at enough points, multiplying the values, and interpolating. A
one-dimensional convolution of m outputs with a kernel of 3 is such a product with m + 2 coefficients: with ``d`` the
m + 2 inputs, ``g`` the kernel, and as points 0, a few pairs a and -a, and infinity,

    y = A.T ((G g) * (B.T d))                          in one dimension: m + 2 products, not 3 m
    y = A.T ((G g G.T) * (B.T d B)) A                  in two dimensions: (m + 2)^2 products, not 9 m^2

``G g G.T`` is computed once, from the weights. ``B.T d B`` costs additions only, shared by all output channels, and
so does ``A.T y A``, shared by all input channels (:mod:`.winograd_tasks`). In between, every one of the 36 or 16
numbers of a tile is summed over the input channels: ordinary matrix products, for which the micro-kernel is used.

The points decide how much the sums and differences cancel. For m = 4 the usual 1 and 2 leave 8 times the rounding error
of an ordinary convolution; 3/4 and 3/2 are exact in binary too and leave about 3 times
(Lavin & Gray 2015, arXiv:1509.09308; Barabasz et al. 2018, arXiv:1803.10986). The smaller tile has fewer weights to
read, 16 for every 9 instead of 36, and rounds better.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

POINTS = {4: (0.75, 1.5), 2: (1.0,)}
"""For m = 4 and 2 outputs in a row: the points a, each of which stands for a and -a."""

KINDS = {"winograd 4x4": 4, "winograd 2x2": 2}


def products_of(tile: int) -> int:
    """How many products a tile of so many rows takes for each pair of channels."""
    return (tile + 2) ** 2


@functools.cache
def kernel_matrix(tile: int) -> NDArray[np.float64]:
    """G, (m + 2, 3): a row for each point, over what the other points leave of its Lagrange polynomial."""
    points = [0.0, *(sign * a for a in POINTS[tile] for sign in (1, -1))]
    rows = []
    for point in points:
        others = np.prod([point - other for other in points if other != point])
        rows.append([power / others for power in (1, point, point**2)])
    return np.array([*rows, [0, 0, 1]])


def transform_weights(weight: NDArray[np.floating], tile: int) -> NDArray[np.float64]:
    """``G g G.T`` of every kernel: (O, C, 3, 3) -> (products, O, C)."""
    both = np.kron(kernel_matrix(tile), kernel_matrix(tile))  # (products, 9)
    out, channels = weight.shape[:2]
    kernels = np.ascontiguousarray(weight.reshape(out * channels, 9).T, np.float64)
    # NOTE: not @, which would start the threads of a BLAS library and give each a buffer of its own.
    return np.einsum("pk,kn->pn", both, kernels).reshape(-1, out, channels)

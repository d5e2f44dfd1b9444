"""Winograd's convolution: 4x4 outputs of a 3x3 kernel with 36 products in place of 144.

Two polynomials can be multiplied by evaluating both at enough points, multiplying the values, and interpolating. A
one-dimensional convolution of 4 outputs with a kernel of 3 is such a product of 6 coefficients: with ``d`` 6 inputs,
``g`` the kernel, and points 0, a, -a, b, -b and infinity,

    y = A.T ((G g) * (B.T d))                          in one dimension: 6 products, not 12
    y = A.T ((G g G.T) * (B.T d B)) A                  in two dimensions: 36 products, not 144

``G g G.T`` is computed once, from the weights. ``B.T d B`` costs additions only, shared by all output channels, and
so does ``A.T m A``, shared by all input channels. In between, every one of the 36 numbers of a tile is summed over
the input channels: 36 ordinary matrix products, for which the micro-kernel is used.

The points decide how much the sums and differences cancel. The usual 1 and 2 leave 8 times the rounding error of an
ordinary convolution; 3/4 and 3/2 are exact in binary too and leave about 3 times
(Lavin & Gray 2015, arXiv:1509.09308; Barabasz et al. 2018, arXiv:1803.10986).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TILE = 4  # outputs in a row of a tile
SPAN = 6  # inputs that they need
PRODUCTS = SPAN * SPAN
A, B = 0.75, 1.5  # the points, beside 0 and infinity


def kernel_matrix() -> NDArray[np.float64]:
    """G, (6, 3): a row for each point, over what the other points leave of its Lagrange polynomial."""
    rows = [[1 / (A * A * B * B), 0, 0]]
    for point, other in ((A, B), (-A, B), (B, A), (-B, A)):
        rows.append([power / (2 * point * point * (point * point - other * other)) for power in (1, point, point**2)])
    return np.array([*rows, [0, 0, 1]])


def transform_weights(weight: NDArray[np.floating]) -> NDArray[np.float32]:
    """``G g G.T`` of every kernel: (O, C, 3, 3) -> (36, O, C), computed in float64."""
    both = np.kron(kernel_matrix(), kernel_matrix())  # (36, 9)
    out, channels = weight.shape[:2]
    return (both @ weight.reshape(out * channels, 9).T.astype(np.float64)).astype(np.float32).reshape(-1, out, channels)

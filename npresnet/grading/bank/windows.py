"""Patches under a sliding window, with every rule as an option: what wrong convolutions and poolings are made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..part import Array


class Window(NamedTuple):
    """How a kernel slides over an image."""

    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def steps(self, size: int, kernel: int, up: bool = False) -> int:
        """Positions along an axis; rounded up, the last one may reach over the edge."""
        room = size + 2 * self.padding - self.dilation * (kernel - 1) - 1
        return (-(-room // self.stride) if up else room // self.stride) + 1


def patches(
    x: Array,
    kernel_size: tuple[int, int],
    window: Window,
    *,
    steps: tuple[int, int] | None = None,
    after_only: bool = False,
    fill: float = 0.0,
) -> Array:
    """Pixels under the window, (N, C, kh, kw, oh, ow); ``fill`` is seen on the padding and beyond.

    With ``after_only`` the image is put at the top left, all of the padding at the bottom and on the right.
    """
    (N, C, H, W), (kh, kw) = x.shape, kernel_size
    stride, padding, dilation = window
    oh, ow = steps or (window.steps(H, kh), window.steps(W, kw))
    before = 0 if after_only else padding
    canvas = np.full((N, C, *_canvas(H, W, kernel_size, window, (oh, ow))), fill, x.dtype)
    canvas[:, :, before : before + H, before : before + W] = x
    out = np.empty((N, C, kh, kw, oh, ow), x.dtype)
    for i in range(kh):
        for j in range(kw):
            rows, columns = i * dilation + stride * np.arange(oh), j * dilation + stride * np.arange(ow)
            out[:, :, i, j] = canvas[:, :, rows[:, None], columns]
    return out


def spread(cols: Array, image_size: tuple[int, int], window: Window, *, assign: bool = False) -> Array:
    """Put patches (N, C, kh, kw, oh, ow) back where they belong, on the padded image (N, C, H + 2 p, W + 2 p).

    Contributions are added, or with ``assign`` the last one stays. What falls beyond the padding is dropped.
    """
    N, C, kh, kw, oh, ow = cols.shape
    H, W = image_size
    stride, padding, dilation = window
    canvas = np.zeros((N, C, *_canvas(H, W, (kh, kw), window, (oh, ow))), cols.dtype)
    for i in range(kh):
        for j in range(kw):
            rows, columns = i * dilation + stride * np.arange(oh), j * dilation + stride * np.arange(ow)
            where: tuple[Any, ...] = (slice(None), slice(None), rows[:, None], columns)
            canvas[where] = cols[:, :, i, j] + (0 if assign else canvas[where])
    return canvas[:, :, : H + 2 * padding, : W + 2 * padding]


def without_padding(padded: Array, image_size: tuple[int, int], before: int) -> Array:
    """The image in a padded one that has ``before`` rows and columns before it."""
    H, W = image_size
    return padded[:, :, before : before + H, before : before + W]


def _canvas(H: int, W: int, kernel_size: tuple[int, int], window: Window, steps: tuple[int, int]) -> tuple[int, int]:
    """A size that holds the padded image and every patch, also those that reach over its edge."""
    stride, padding, dilation = window
    height, width = (
        max(size + 2 * padding, (count - 1) * stride + dilation * (k - 1) + 1)
        for size, k, count in zip((H, W), kernel_size, steps, strict=True)
    )
    return height, width

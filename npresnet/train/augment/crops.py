"""Cutting a piece out of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from .draws import BatchDraws, Draws
from .options import check_count, check_fill, check_size, fill_colour


@dataclass(frozen=True)
class RandomCrop:
    """A window at a random place of the image, which may be widened by a border first; torchvision's ``RandomCrop``.

    With ``size=32, padding=4`` it is the augmentation of the paper for CIFAR.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the window.
    padding : int
        Width of the border on all four sides.
    mode : {"constant", "reflect"}
        What the border shows: one colour, or the image mirrored at its outermost pixels.
    fill : int or (int, int, int)
        The colour; black by default.
    """

    size: int | tuple[int, int]
    padding: int = 0
    mode: str = "constant"
    fill: int | Sequence[int] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size("size of random_crop", self.size))
        object.__setattr__(self, "padding", check_count("padding of random_crop", self.padding, 0))
        object.__setattr__(self, "fill", check_fill("fill of random_crop", self.fill))
        if self.mode not in ("constant", "reflect"):
            raise ValueError(f"mode of random_crop must be constant or reflect, found {self.mode!r}")

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the window, (h, w, C)."""
        padded = self._pad(image[None])
        down, right = self._slack(padded)
        return self._cut(padded, [draws.integer(down + 1)], [draws.integer(right + 1)])[0]

    def batch(self, images: np.ndarray, draws: BatchDraws) -> np.ndarray:
        """Return a window of each image, (N, h, w, C)."""
        padded = self._pad(images)
        down, right = self._slack(padded)
        return self._cut(padded, draws.integer(down + 1).tolist(), draws.integer(right + 1).tolist())

    def _pad(self, images: np.ndarray) -> np.ndarray:
        if self.padding == 0:
            return images
        p = self.padding
        n, height, width, channels = images.shape
        if self.mode == "reflect":
            if p >= min(height, width):
                raise ValueError(f"a border of {p} pixels cannot mirror an image of {height} x {width}")
            return np.pad(images, ((0, 0), (p, p), (p, p), (0, 0)), mode="reflect")
        padded = np.empty((n, height + 2 * p, width + 2 * p, channels), np.uint8)
        colour = fill_colour(self.fill, channels)
        for border in (padded[:, :p], padded[:, -p:], padded[:, p:-p, :p], padded[:, p:-p, -p:]):
            border[...] = colour
        padded[:, p:-p, p:-p] = images
        return padded

    def _slack(self, padded: np.ndarray) -> tuple[int, int]:
        """Return how far down and to the right the window can begin."""
        height, width = cast("tuple[int, int]", self.size)
        down, right = padded.shape[1] - height, padded.shape[2] - width
        if min(down, right) < 0:
            p = self.padding
            raise ValueError(
                f"a window of {height} x {width} does not fit into an image of {padded.shape[1] - 2 * p} x "
                f"{padded.shape[2] - 2 * p} with a border of {p}; resize it first, or take random_resized_crop"
            )
        return down, right

    def _cut(self, padded: np.ndarray, tops: list[int], lefts: list[int]) -> np.ndarray:
        height, width = cast("tuple[int, int]", self.size)
        windows = np.empty((len(padded), height, width, padded.shape[3]), np.uint8)
        for n, (top, left) in enumerate(zip(tops, lefts, strict=True)):
            windows[n] = padded[n, top : top + height, left : left + width]
        return windows

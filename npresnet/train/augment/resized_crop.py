"""A piece of random size and shape, scaled: the augmentation of ImageNet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from .draws import Draws
from .options import RESAMPLING, check_filter, check_range, check_size
from .pictures import to_image, to_picture

_ATTEMPTS = 10


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut out a rectangle of random area and aspect ratio and scale it to ``size``; torchvision's.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the result.
    scale : (float, float)
        Area of the rectangle, as a part of the image's.
    ratio : (float, float)
        Its width by its height; uniform in the logarithm.
    interpolation : str
        As for :class:`~npresnet.train.augment.Resize`.
    """

    size: int | tuple[int, int]
    scale: Sequence[float] = (0.08, 1.0)
    ratio: Sequence[float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size("size of random_resized_crop", self.size))
        object.__setattr__(self, "scale", check_range("scale of random_resized_crop", self.scale, 0.0, 1.0))
        object.__setattr__(self, "ratio", check_range("ratio of random_resized_crop", self.ratio, 1e-3))
        check_filter("interpolation of random_resized_crop", self.interpolation)

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the piece, (h, w, C)."""
        top, left, height, width = self.rectangle(image.shape[0], image.shape[1], draws)
        new_height, new_width = cast("tuple[int, int]", self.size)
        piece = image[top : top + height, left : left + width]
        if (height, width) == (new_height, new_width):
            return piece
        return to_image(to_picture(piece).resize((new_width, new_height), RESAMPLING[self.interpolation]))

    def rectangle(self, height: int, width: int, draws: Draws) -> tuple[int, int, int, int]:
        """Return (top, left, height, width) of a piece of an image of this height and width."""
        low, high = (math.log(value) for value in self.ratio)
        for _ in range(_ATTEMPTS):
            area = height * width * draws.uniform(*self.scale)
            ratio = math.exp(draws.uniform(low, high))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return draws.integer(height - h + 1), draws.integer(width - w + 1), h, w
        # The image is too long and thin for these aspect ratios: as much of its centre as they allow.
        narrowest, widest = self.ratio
        w, h = width, height
        if width / height < narrowest:
            h = round(width / narrowest)
        elif width / height > widest:
            w = round(height * widest)
        return (height - h) // 2, (width - w) // 2, h, w

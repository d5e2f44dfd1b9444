"""Rectangles without content."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .draws import Draws
from .options import check_fill, check_probability, check_range, fill_colour

_ATTEMPTS = 10


@dataclass(frozen=True)
class RandomErasing:
    """Paint over a random rectangle of some of the images; torchvision's ``RandomErasing``.

    Parameters
    ----------
    probability : float
        Of an image being touched.
    scale : (float, float)
        Area of the rectangle, as a part of the image's.
    ratio : (float, float)
        Its height by its width; uniform in the logarithm.
    fill : int or (int, int, int)
        The colour. The default is ImageNet's mean, which normalisation turns into about zero; a recipe takes the mean
        that it normalises with.
    """

    probability: float = 0.5
    scale: Sequence[float] = (0.02, 0.33)
    ratio: Sequence[float] = (0.3, 3.3)
    fill: int | Sequence[int] = (124, 116, 104)

    def __post_init__(self) -> None:
        object.__setattr__(self, "probability", check_probability("probability of random_erasing", self.probability))
        object.__setattr__(self, "scale", check_range("scale of random_erasing", self.scale, 0.0, 1.0))
        object.__setattr__(self, "ratio", check_range("ratio of random_erasing", self.ratio, 1e-3))
        object.__setattr__(self, "fill", check_fill("fill of random_erasing", self.fill))

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the image, or a copy with a rectangle in one colour."""
        if not draws.chance(self.probability):
            return image
        height, width, channels = image.shape
        low, high = (math.log(value) for value in self.ratio)
        for _ in range(_ATTEMPTS):
            area = height * width * draws.uniform(*self.scale)
            ratio = math.exp(draws.uniform(low, high))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if h < height and w < width:
                top, left = draws.integer(height - h + 1), draws.integer(width - w + 1)
                erased = image.copy()
                erased[top : top + h, left : left + w] = fill_colour(self.fill, channels)
                return erased
        return image

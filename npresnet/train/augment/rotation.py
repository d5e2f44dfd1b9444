"""Turning an image around its centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .draws import Draws
from .options import RESAMPLING, WARPING, check_fill, check_filter, check_range, fill_colour
from .pictures import to_image, to_picture


@dataclass(frozen=True)
class Rotation:
    """Turn an image by a random angle; torchvision's ``RandomRotation``. The size stays.

    Parameters
    ----------
    degrees : float or (float, float)
        The angle is drawn between these two, or from ``-x`` to ``x``; positive is counter-clockwise.
    interpolation : {"bilinear", "bicubic", "nearest"}
    fill : int or (int, int, int)
        The colour of the corners that come from outside; black by default.
    """

    degrees: float | Sequence[float]
    interpolation: str = "bilinear"
    fill: int | Sequence[int] = 0

    def __post_init__(self) -> None:
        name = "degrees of rotation"
        if isinstance(self.degrees, Sequence):
            angles = check_range(name, self.degrees, -360.0, 360.0)
        else:
            _, angle = check_range(name, (0.0, self.degrees), 0.0, 360.0)
            angles = (-angle, angle)
        object.__setattr__(self, "degrees", angles)
        check_filter("interpolation of rotation", self.interpolation, WARPING)
        object.__setattr__(self, "fill", check_fill("fill of rotation", self.fill))

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the turned image, (H, W, C)."""
        from PIL import Image

        low, high = self.degrees  # type: ignore[misc]  # a pair since __post_init__
        colour = fill_colour(self.fill, image.shape[2])
        turned = to_picture(image).rotate(
            draws.uniform(low, high),
            Image.Resampling(RESAMPLING[self.interpolation]),
            fillcolor=colour if len(colour) == 3 else colour[0],
        )
        return to_image(turned)

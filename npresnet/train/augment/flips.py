"""Mirror images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .draws import BatchDraws, Draws
from .options import check_probability


@dataclass(frozen=True)
class Flip:
    """Mirror some of the images; torchvision's ``RandomHorizontalFlip`` and ``RandomVerticalFlip``.

    Parameters
    ----------
    probability : float
        Of being mirrored.
    direction : {"horizontal", "vertical"}
        Exchange left and right, or top and bottom.
    """

    probability: float = 0.5
    direction: str = "horizontal"

    def __post_init__(self) -> None:
        object.__setattr__(self, "probability", check_probability("probability of flip", self.probability))
        if self.direction not in ("horizontal", "vertical"):
            raise ValueError(f"direction of flip must be horizontal or vertical, found {self.direction!r}")

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the image, or a mirrored view of it."""
        return self._mirrored(image) if draws.chance(self.probability) else image

    def batch(self, images: np.ndarray, draws: BatchDraws) -> np.ndarray:
        """Return the images, (N, H, W, C), some of them mirrored."""
        result = images.copy()
        for n in np.flatnonzero(draws.chance(self.probability)):
            result[n] = self._mirrored(images[n])
        return result

    def _mirrored(self, image: np.ndarray) -> np.ndarray:
        return image[:, ::-1] if self.direction == "horizontal" else image[::-1]

"""A checkpoint's own preprocessing as a step: nothing random, what every prediction does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .draws import Draws

if TYPE_CHECKING:
    from npresnet.image import ImageProcessor


@dataclass(frozen=True)
class Preprocess:
    """Resize and crop as an image processor does, without its normalisation.

    Parameters
    ----------
    processor : ImageProcessor
    """

    processor: ImageProcessor

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the pixels that the network sees, (h, w, C)."""
        return self.processor.pixels(image)

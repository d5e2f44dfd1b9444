"""Between arrays and Pillow, which does the geometry and the colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def to_picture(image: np.ndarray) -> Image.Image:
    """Return a picture of mode ``"RGB"`` or ``"L"`` for an image, uint8 (H, W, C)."""
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image))


def to_image(picture: Image.Image) -> np.ndarray:
    """Return the pixels of a picture of mode ``"RGB"`` or ``"L"``, uint8 (H, W, C)."""
    pixels = np.asarray(picture)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels

"""Grey to colour and back, for images of any number of dimensions."""

from __future__ import annotations

import numpy as np


def to_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Return images with 3 channels (RGB) or 1 (grey).

    Parameters
    ----------
    images : ndarray, uint8, (..., C)
        C is 3 or 1.
    channels : {3, 1}

    Returns
    -------
    ndarray, uint8, (..., channels)
        Grey becomes equal red, green and blue; colours become their luma (ITU-R 601), rounded as in Pillow. Views
        where possible.
    """
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.broadcast_to(images, (*images.shape[:-1], 3))
    red, green, blue = (images[..., c].astype(np.uint32) for c in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)[..., None]

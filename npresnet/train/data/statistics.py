"""What to normalise pixels with, when neither weights nor a publication say."""

from __future__ import annotations

import numpy as np

from .channels import to_channels
from .dataset import Dataset, gather

_CHUNK = 1024  # images


def mean_and_std(dataset: Dataset, channels: int = 3) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of all pixels, divided by 255, in each channel.

    The sums are those of integers, so the result is exact and does not depend on any order.

    Parameters
    ----------
    dataset : Dataset
    channels : {3, 1}
        To which the images are converted first.

    Examples
    --------
    >>> mean_and_std(open_dataset("fashion-mnist"), channels=1)
    ((0.286...,), (0.353...,))
    """
    levels = np.zeros((channels, 256), np.int64)  # how many pixels have each value
    for start in range(0, len(dataset), _CHUNK):
        indices = np.arange(start, min(start + _CHUNK, len(dataset)))
        together = gather(dataset, indices)
        for image in [together] if together is not None else (dataset.image(int(i)) for i in indices):
            pixels = to_channels(image, channels)
            for c in range(channels):
                levels[c] += np.bincount(pixels[..., c].ravel(), minlength=256)
    values = np.arange(256)
    count, total, squares = levels.sum(1), levels @ values, levels @ values**2
    mean = total / count / 255
    # (count * squares - total**2) / count**2, in Python's integers: no digits cancel
    variance = [(int(n) * int(q) - int(t) ** 2) / int(n) ** 2 for n, t, q in zip(count, total, squares, strict=True)]
    return tuple(mean.tolist()), tuple((np.sqrt(variance) / 255).tolist())

"""Whether all images of a data set can be read: found out before the first step, not after hours."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.parallel import map_each
from .data import Dataset, DatasetError
from .data.dataset import gather, source

LISTED = 5  # files in a message


def check_images(dataset: Dataset) -> None:
    """Read every image once, as fast as that can be done; JPEG files at an eighth of their size.

    Parameters
    ----------
    dataset : Dataset
        Of one that keeps its images in memory, only the first is asked for: it then has decoded them all.

    Raises
    ------
    DatasetError
        With the first images that cannot be read, and how many there are.
    """
    if gather(dataset, np.array([0])) is not None or source(dataset, 0) is None:
        dataset.image(0)
        return
    errors = [error for error in map_each(lambda index: _error(dataset, index), range(len(dataset))) if error]
    if errors:
        more = f"\n  ... and {len(errors) - LISTED} more" if len(errors) > LISTED else ""
        raise DatasetError(
            f"{len(errors)} of {len(dataset)} images of {dataset.name} cannot be read; repair or remove them:\n  "
            + "\n  ".join(errors[:LISTED])
            + more
        )


def _error(dataset: Dataset, index: int) -> str | None:
    """What is wrong with an image; None if it can be read."""
    if _decodes(source(dataset, index)):
        return None
    try:
        dataset.image(index)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def _decodes(path: Any) -> bool:
    """Whether Pillow can read a file from beginning to end."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.draft(image.mode, (1, 1))  # the whole file is read, but hardly any pixels are computed
            image.load()
    except Exception:  # Pillow's plugins raise whatever they like; the real reading will say what it is
        return False
    return True

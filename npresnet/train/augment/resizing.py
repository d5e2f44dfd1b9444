"""Steps without chance that lead to a size: what is done before an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from .draws import Draws
from .options import RESAMPLING, check_count, check_filter, check_size
from .pictures import to_image, to_picture


@dataclass(frozen=True)
class Resize:
    """Scale an image; torchvision's ``Resize``.

    Parameters
    ----------
    size : int or (int, int)
        The length of the shorter edge, the aspect ratio kept; or (height, width).
    interpolation : {"bilinear", "bicubic", "lanczos", "box", "hamming", "nearest"}
        Antialiased, as in Pillow.
    """

    size: int | tuple[int, int]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        is_pair = isinstance(self.size, (tuple, list))
        checked = check_size("size of resize", self.size) if is_pair else check_count("size of resize", self.size, 1)
        object.__setattr__(self, "size", checked)
        check_filter("interpolation of resize", self.interpolation)

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the scaled image, or the image itself where nothing changes."""
        height, width = image.shape[:2]
        if isinstance(self.size, tuple):
            new_height, new_width = self.size
        else:
            longer = int(self.size * max(height, width) / min(height, width))
            new_height, new_width = (longer, self.size) if height > width else (self.size, longer)
        if (new_height, new_width) == (height, width):
            return image
        return to_image(to_picture(image).resize((new_width, new_height), RESAMPLING[self.interpolation]))


@dataclass(frozen=True)
class CenterCrop:
    """A window around the centre, black where the image is smaller; torchvision's ``CenterCrop``.

    Parameters
    ----------
    size : int or (int, int)
        Height and width.
    """

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size("size of center_crop", self.size))

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the window, (h, w, C)."""
        size = cast("tuple[int, int]", self.size)
        borders = [max(0, wanted - length) for wanted, length in zip(size, image.shape[:2], strict=True)]
        if any(borders):
            image = np.pad(image, [*((border // 2, border - border // 2) for border in borders), (0, 0)])
        # round: halves to even, as torchvision does
        top, left = (round((length - wanted) / 2) for wanted, length in zip(size, image.shape[:2], strict=True))
        return image[top : top + size[0], left : left + size[1]]

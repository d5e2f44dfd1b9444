"""TrivialAugment: one operation, drawn among fourteen, with a strength drawn among thirty-one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .colours import change_brightness, change_contrast, change_saturation, change_sharpness
from .draws import Draws
from .options import RESAMPLING, WARPING, check_fill, check_filter, fill_colour
from .pictures import to_image, to_picture

if TYPE_CHECKING:
    from PIL import Image

LEVELS = 31


@dataclass(frozen=True)
class TrivialAugment:
    """Do one thing to an image, neither tuned nor scheduled; torchvision's ``TrivialAugmentWide``.

    Parameters
    ----------
    interpolation : {"bilinear", "bicubic", "nearest"}
        Of shears and rotations. (torchvision's class takes the nearest pixel unless told otherwise; its recipes tell.)
    fill : int or (int, int, int)
        The colour of what comes from outside; black by default.

    References
    ----------
    Müller, Hutter: "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", 2021, the wide space.
    """

    interpolation: str = "bilinear"
    fill: int | Sequence[int] = 0

    def __post_init__(self) -> None:
        check_filter("interpolation of trivial_augment", self.interpolation, WARPING)
        object.__setattr__(self, "fill", check_fill("fill of trivial_augment", self.fill))

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the image after one operation, (H, W, C)."""
        name = _NAMES[draws.integer(len(_NAMES))]
        level, negative = draws.integer(LEVELS), bool(draws.integer(2))
        return self.apply(image, name, OPERATIONS[name].magnitude(level, negative))

    def apply(self, image: np.ndarray, name: str, magnitude: float) -> np.ndarray:
        """Return the image after the operation ``name`` of :data:`OPERATIONS`."""
        if name == "identity":
            return image
        colour = fill_colour(self.fill, image.shape[2])
        warping = _Warping(RESAMPLING[self.interpolation], colour if len(colour) == 3 else colour[0])
        return to_image(OPERATIONS[name].function(to_picture(image), magnitude, warping))


class _Warping(NamedTuple):
    """How pixels are found that lie between others, or outside."""

    filter: int
    fill: Any


class Operation(NamedTuple):
    """One of the things that can be done.

    Parameters
    ----------
    function : callable
        (picture, magnitude, warping) -> picture.
    weakest, strongest : float
        Magnitudes of the first and the last level.
    signed : bool
        Whether the magnitude may be negative as well.
    """

    function: Callable[[Image.Image, float, _Warping], Image.Image]
    weakest: float = 0.0
    strongest: float = 0.0
    signed: bool = False

    def magnitude(self, level: int, negative: bool) -> float:
        """Return the strength at one of the levels."""
        value = self.weakest + (self.strongest - self.weakest) * level / (LEVELS - 1)
        return -value if self.signed and negative else value


def _affine(picture: Image.Image, matrix: tuple[float, ...], warping: _Warping) -> Image.Image:
    """Take the pixel at (x, y) from (a x + b y + c, d x + e y + f)."""
    from PIL import Image

    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, Image.Resampling(warping.filter), fillcolor=warping.fill
    )


def _shear_x(picture: Image.Image, slope: float, warping: _Warping) -> Image.Image:
    return _affine(picture, (1, slope, 0, 0, 1, 0), warping)


def _shear_y(picture: Image.Image, slope: float, warping: _Warping) -> Image.Image:
    return _affine(picture, (1, 0, 0, slope, 1, 0), warping)


def _translate_x(picture: Image.Image, pixels: float, warping: _Warping) -> Image.Image:
    return _affine(picture, (1, 0, -int(pixels), 0, 1, 0), warping)


def _translate_y(picture: Image.Image, pixels: float, warping: _Warping) -> Image.Image:
    return _affine(picture, (1, 0, 0, 0, 1, -int(pixels)), warping)


def _rotate(picture: Image.Image, degrees: float, warping: _Warping) -> Image.Image:
    from PIL import Image

    return picture.rotate(degrees, Image.Resampling(warping.filter), fillcolor=warping.fill)


def _posterize(picture: Image.Image, bits: float, warping: _Warping) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.posterize(picture, round(bits))


def _solarize(picture: Image.Image, threshold: float, warping: _Warping) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.solarize(picture, threshold)  # type: ignore[arg-type]  # it is only compared with pixels


def _autocontrast(picture: Image.Image, magnitude: float, warping: _Warping) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.autocontrast(picture)


def _equalize(picture: Image.Image, magnitude: float, warping: _Warping) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.equalize(picture)


def _factor(change: Callable[[Image.Image, float], Image.Image]) -> Operation:
    """An operation whose magnitude is the difference of a factor from 1."""
    return Operation(lambda picture, magnitude, warping: change(picture, 1.0 + magnitude), 0.0, 0.99, True)


OPERATIONS = {
    "identity": Operation(lambda picture, magnitude, warping: picture),
    "shear_x": Operation(_shear_x, 0.0, 0.99, True),
    "shear_y": Operation(_shear_y, 0.0, 0.99, True),
    "translate_x": Operation(_translate_x, 0.0, 32.0, True),
    "translate_y": Operation(_translate_y, 0.0, 32.0, True),
    "rotate": Operation(_rotate, 0.0, 135.0, True),
    "brightness": _factor(change_brightness),
    "saturation": _factor(change_saturation),
    "contrast": _factor(change_contrast),
    "sharpness": _factor(change_sharpness),
    "posterize": Operation(_posterize, 8.0, 2.0),
    "solarize": Operation(_solarize, 255.0, 0.0),
    "autocontrast": Operation(_autocontrast),
    "equalize": Operation(_equalize),
}
_NAMES = tuple(OPERATIONS)

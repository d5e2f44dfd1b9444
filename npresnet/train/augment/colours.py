"""Changes of brightness, contrast, saturation and hue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .draws import Draws
from .options import check_range
from .pictures import to_image, to_picture

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue a little, in random order; torchvision's ``ColorJitter``.

    Parameters
    ----------
    brightness, contrast, saturation : float or (float, float)
        The factor is drawn between these two, or from ``max(0, 1 - x)`` to ``1 + x``; 0 for no change.
    hue : float or (float, float)
        The turn around the colour circle is drawn between these two, or from ``-x`` to ``x``; at most 0.5.
    """

    brightness: float | Sequence[float] = 0.0
    contrast: float | Sequence[float] = 0.0
    saturation: float | Sequence[float] = 0.0
    hue: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            object.__setattr__(self, name, _range(name, getattr(self, name), 1.0, 0.0))
        object.__setattr__(self, "hue", _range("hue", self.hue, 0.0, -0.5, 0.5))

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the image in other colours; of a grey one, brightness and contrast change."""
        changes = (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.0))
        order = draws.permutation(len(changes))
        amounts = [draws.uniform(*getattr(self, name)) for name, _ in changes]
        picture = None
        for number in order:
            name, nothing = changes[number]
            if getattr(self, name) != (nothing, nothing):
                picture = CHANGES[name](to_picture(image) if picture is None else picture, amounts[number])
        return image if picture is None else to_image(picture)


def _range(name: str, value: Any, centre: float, low: float, high: float = float("inf")) -> tuple[float, float]:
    """Return the two ends between which an amount is drawn."""
    name = f"{name} of color_jitter"
    if isinstance(value, Sequence):
        return check_range(name, value, low, high)
    _, reach = check_range(name, (0.0, value), 0.0, high)
    return (max(low, centre - reach), centre + reach)


def change_brightness(picture: Image.Image, factor: float) -> Image.Image:
    """0 is black, 1 the picture."""
    from PIL import ImageEnhance

    return ImageEnhance.Brightness(picture).enhance(factor)


def change_contrast(picture: Image.Image, factor: float) -> Image.Image:
    """0 is the mean grey of the picture, 1 the picture."""
    from PIL import ImageEnhance

    return ImageEnhance.Contrast(picture).enhance(factor)


def change_saturation(picture: Image.Image, factor: float) -> Image.Image:
    """0 is the grey picture, 1 the picture."""
    from PIL import ImageEnhance

    return ImageEnhance.Color(picture).enhance(factor)


def change_sharpness(picture: Image.Image, factor: float) -> Image.Image:
    """0 is a smoothed picture, 1 the picture."""
    from PIL import ImageEnhance

    return ImageEnhance.Sharpness(picture).enhance(factor)


def change_hue(picture: Image.Image, turn: float) -> Image.Image:
    """Turn the colours around the circle, by a half at most; 255 steps make it whole, as in torchvision."""
    from PIL import Image

    if picture.mode == "L":
        return picture
    hue, saturation, value = picture.convert("HSV").split()
    turned = np.asarray(hue) + np.uint8(int(turn * 255) % 256)  # wraps around
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")


CHANGES = {
    "brightness": change_brightness,
    "contrast": change_contrast,
    "saturation": change_saturation,
    "hue": change_hue,
}

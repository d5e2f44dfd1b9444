"""Colour jitter and TrivialAugment, compared with Pillow's enhancers and with the table of the paper."""

from __future__ import annotations

import colorsys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from npresnet.train.augment import ColorJitter, Draws, TrivialAugment, image_keys
from npresnet.train.augment.colours import change_hue
from npresnet.train.augment.trivial import LEVELS, OPERATIONS


def soft(height: int = 24, width: int = 30, channels: int = 3) -> np.ndarray:
    """Noise without hard edges, so that interpolated positions show."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    picture = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(picture if channels == 3 else picture.convert("L")).reshape(height, width, channels)


def picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "enhancer"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_one_change_is_pillows_with_a_factor_in_the_range(channels: int, name: str, enhancer: Any) -> None:
    image = soft(channels=channels)
    jitter = ColorJitter(**{name: 0.4})
    assert getattr(jitter, name) == pytest.approx((0.6, 1.4))
    fixed = ColorJitter(**{name: (0.7, 0.7)})
    expected = np.asarray(enhancer(picture(image)).enhance(0.7))
    np.testing.assert_array_equal(fixed(image, Draws(0)).squeeze(), expected)
    if name == "brightness":
        light = [jitter(image, Draws(key)).mean() / image.mean() for key in image_keys(0, 0, np.arange(200)).tolist()]
        assert 0.58 < min(light) < 0.65
        assert 1.3 < max(light) < 1.42


def test_the_four_changes_come_in_random_order() -> None:
    """With fixed amounts, every one of the orders of Pillow's operations, and nothing else."""
    from itertools import permutations

    image = soft()
    changes = {
        "brightness": lambda p: ImageEnhance.Brightness(p).enhance(1.5),
        "contrast": lambda p: ImageEnhance.Contrast(p).enhance(2.0),
        "saturation": lambda p: ImageEnhance.Color(p).enhance(0.5),
    }
    expected = set()
    for order in permutations(changes):
        result = picture(image)
        for name in order:
            result = changes[name](result)
        expected.add(result.tobytes())
    assert len(expected) == 6
    jitter = ColorJitter(brightness=(1.5, 1.5), contrast=(2, 2), saturation=(0.5, 0.5))
    found = Counter(jitter(image, Draws(key)).tobytes() for key in image_keys(0, 0, np.arange(300)).tolist())
    assert set(found) == expected
    assert min(found.values()) > 25


def test_without_a_change_the_image_stays() -> None:
    image = soft()
    assert ColorJitter()(image, Draws(0)) is image
    grey = soft(channels=1)
    np.testing.assert_array_equal(ColorJitter(saturation=0.5, hue=0.5)(grey, Draws(0)), grey)


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.1, 1 / 3, 0.5])
def test_hue_turns_around_the_circle(turn: float) -> None:
    colours = np.array([[[200, 40, 40], [40, 180, 60], [50, 60, 220], [128, 128, 128], [220, 210, 20]]], np.uint8)
    turned = np.asarray(change_hue(Image.fromarray(colours), turn))
    for before, after in zip(colours[0], turned[0], strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(before / 255))
        expected = 255 * np.array(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value))
        assert np.abs(after - expected).max() <= 12  # the circle has 255 steps of up to 6 levels; two roundings
    with pytest.raises(ValueError, match="hue of color_jitter"):
        ColorJitter(hue=0.6)


# TrivialAugment

TABLE = {  # the wide space: weakest, strongest, signed
    "identity": (0, 0, False), "shear_x": (0, 0.99, True), "shear_y": (0, 0.99, True),
    "translate_x": (0, 32, True), "translate_y": (0, 32, True), "rotate": (0, 135, True),
    "brightness": (0, 0.99, True), "saturation": (0, 0.99, True), "contrast": (0, 0.99, True),
    "sharpness": (0, 0.99, True), "posterize": (8, 2, False), "solarize": (255, 0, False),
    "autocontrast": (0, 0, False), "equalize": (0, 0, False),
}  # fmt: skip


def test_the_space_is_the_published_one() -> None:
    assert LEVELS == 31
    assert {name: (o.weakest, o.strongest, o.signed) for name, o in OPERATIONS.items()} == TABLE
    assert OPERATIONS["rotate"].magnitude(10, True) == pytest.approx(-45)
    assert OPERATIONS["solarize"].magnitude(30, True) == 0
    assert OPERATIONS["posterize"].magnitude(0, True) == 8


def shifted(image: np.ndarray, right: int, down: int) -> np.ndarray:
    result = np.zeros_like(image)
    height, width = image.shape[:2]
    rows, columns = np.arange(height) - down, np.arange(width) - right
    inside = np.ix_((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
    result[inside] = image[np.ix_(rows[(rows >= 0) & (rows < height)], columns[(columns >= 0) & (columns < width)])]
    return result


def pulled(image: np.ndarray, slope: float, axis: int) -> np.ndarray:
    """A shear with linear interpolation along one axis, pixel centres at halves; nothing beyond the edges."""
    moved = image if axis == 1 else image.swapaxes(0, 1)
    result = np.zeros(moved.shape)
    centres = np.arange(moved.shape[1]) + 0.5
    for row in range(moved.shape[0]):
        position = centres + slope * (row + 0.5)
        inside = (position >= 0) & (position < moved.shape[1])
        for c in range(image.shape[2]):
            values = np.interp(position, centres, moved[row, :, c].astype(float))
            result[row, inside, c] = values[inside]
    return result if axis == 1 else result.swapaxes(0, 1)


def by_pillow(name: str, image: np.ndarray, magnitude: float) -> np.ndarray:
    before = picture(image)
    enhancers = {
        "brightness": ImageEnhance.Brightness, "saturation": ImageEnhance.Color, "contrast": ImageEnhance.Contrast,
        "sharpness": ImageEnhance.Sharpness,
    }  # fmt: skip
    after: dict[str, Any] = {
        "identity": lambda: before,
        "translate_x": lambda: shifted(image, int(magnitude), 0).squeeze(),
        "translate_y": lambda: shifted(image, 0, int(magnitude)).squeeze(),
        "rotate": lambda: before.rotate(magnitude, Image.Resampling.BILINEAR),
        "posterize": lambda: np.asarray(before) & (0xFF << (8 - round(magnitude)) & 0xFF),
        "solarize": lambda: np.where(image >= magnitude, 255 - image, image).squeeze(),
        "autocontrast": lambda: ImageOps.autocontrast(before),
        "equalize": lambda: ImageOps.equalize(before),
    }
    return np.asarray(enhancers[name](before).enhance(1 + magnitude) if name in enhancers else after[name]())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", list(TABLE))
def test_operations(name: str, channels: int) -> None:
    image = soft(channels=channels)
    magnitudes = (0.0,)
    if TABLE[name][1] != TABLE[name][0]:
        magnitudes = tuple(OPERATIONS[name].magnitude(level, negative) for level in (4, 17) for negative in (0, 1))
    for magnitude in magnitudes:
        found = TrivialAugment().apply(image, name, magnitude)
        assert found.shape == image.shape
        assert found.dtype == np.uint8
        if name.startswith("shear"):
            expected = pulled(image, magnitude, 1 if name == "shear_x" else 0)
            assert np.abs(found - expected).max() <= 1.01  # Pillow truncates
        else:
            np.testing.assert_array_equal(found.squeeze(), by_pillow(name, image, magnitude))


def test_every_operation_level_and_sign_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: Counter[tuple[str, float]] = Counter()
    monkeypatch.setattr(TrivialAugment, "apply", lambda self, image, name, magnitude: drawn.update([(name, magnitude)]))
    augment = TrivialAugment()
    for key in image_keys(0, 0, np.arange(30_000)).tolist():
        augment(soft(2, 2), Draws(key))
    for name, (weakest, strongest, signed) in TABLE.items():
        magnitudes = {magnitude for operation, magnitude in drawn if operation == name}
        count = sum(times for (operation, _), times in drawn.items() if operation == name)
        assert abs(count - 30_000 / 14) < 5 * np.sqrt(30_000 / 14)
        if weakest != strongest:
            assert len(magnitudes) == (61 if signed else 31)
            assert max(magnitudes) == max(weakest, strongest)
            assert min(magnitudes) == (-strongest if signed else strongest)


def test_what_comes_from_outside_has_the_fill_colour() -> None:
    augment = TrivialAugment("nearest", fill=(1, 2, 3))
    moved = augment.apply(soft(), "translate_x", 8)
    assert (moved[:, :8] == (1, 2, 3)).all()
    with pytest.raises(ValueError, match="interpolation of trivial_augment must be one of"):
        TrivialAugment("lanczos")

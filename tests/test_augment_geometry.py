"""Resizing, cropping, turning and erasing, compared with Pillow and with the image processor of every prediction."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from npresnet.image import ImageProcessor
from npresnet.train.augment import (
    CenterCrop,
    Compose,
    Draws,
    Preprocess,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    Rotation,
    image_keys,
)

SHAPES = [(40, 30, 3), (30, 45, 1), (17, 90, 3), (24, 24, 3), (8, 11, 3)]


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image)


def many(count: int, seed: int = 0) -> list[Draws]:
    return [Draws(key) for key in image_keys(seed, 0, np.arange(count)).tolist()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("resize", "crop"), [(28, 24), (24, 24), (24, 30), (23, 18), (20, 31)])
def test_resize_and_center_crop_do_what_predictions_do(shape: tuple[int, ...], resize: int, crop: int) -> None:
    image = noise(shape)
    processor = ImageProcessor.torchvision(
        resize, crop, num_channels=shape[2], image_mean=(0.5,) * shape[2], image_std=(1,) * shape[2]
    )
    expected = processor.pixels(image)
    np.testing.assert_array_equal(Compose([Resize(resize), CenterCrop(crop)])(image, Draws(0)), expected)
    np.testing.assert_array_equal(Preprocess(processor)(image, Draws(0)), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interpolation", ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"])
def test_resize_to_height_and_width(shape: tuple[int, ...], interpolation: str) -> None:
    image = noise(shape)
    expected = np.asarray(picture(image).resize((12, 21), Image.Resampling[interpolation.upper()]))
    found = Resize((21, 12), interpolation)(image, Draws(0))
    assert found.shape == (21, 12, shape[2])
    np.testing.assert_array_equal(found.squeeze(), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_resized_crop_is_a_piece_of_the_image(shape: tuple[int, ...]) -> None:
    image = noise(shape)
    before = image.copy()
    crop = RandomResizedCrop((10, 12), interpolation="bicubic")
    for draws in many(20):
        top, left, height, width = crop.rectangle(*shape[:2], Draws(draws.key))
        piece = picture(image).crop((left, top, left + width, top + height)).resize((12, 10), Image.Resampling.BICUBIC)
        found = crop(image, draws)
        assert found.shape == (10, 12, shape[2])
        np.testing.assert_array_equal(found.squeeze(), np.asarray(piece))
    np.testing.assert_array_equal(image, before)


def test_area_and_aspect_ratio_are_spread_as_published() -> None:
    """Area uniform in [0.25, 0.5]; logarithm of the ratio uniform; the position uniform over all that fit."""
    crop = RandomResizedCrop(10, scale=(0.25, 0.5), ratio=(0.5, 2.0))
    found = np.array([crop.rectangle(1000, 1000, draws) for draws in many(4000)])  # top, left, height, width
    area = found[:, 2] * found[:, 3] / 1e6
    ratio = np.log2(found[:, 3] / found[:, 2])
    # A third of the rectangles, the long ones, can be too large for the image; here they fit: sqrt(0.5 * 2) = 1.
    for values, low, high in [(area, 0.25, 0.5), (ratio, -1, 1)]:
        unit = (values - low) / (high - low)
        assert -0.01 < unit.min() < 0.01
        assert 0.99 < unit.max() < 1.01
        assert abs(unit.mean() - 0.5) < 5 * math.sqrt(1 / 12 / 4000)
        assert abs(unit.var() - 1 / 12) < 0.01
    for start, length in [(0, 2), (1, 3)]:
        room = 1000 - found[:, length]
        assert (found[:, start] <= room).all()
        assert abs((found[room > 50, start] / room[room > 50]).mean() - 0.5) < 0.03


def test_where_no_piece_fits_the_middle_is_taken() -> None:
    crop = RandomResizedCrop(10, scale=(1.0, 1.0))
    assert crop.rectangle(30, 300, Draws(0)) == (0, 130, 30, 40)
    assert crop.rectangle(301, 30, Draws(0)) == (130, 0, 40, 30)
    assert RandomResizedCrop(10, scale=(1, 1), ratio=(1, 1)).rectangle(30, 30, Draws(0)) == (0, 0, 30, 30)


@pytest.mark.parametrize("channels", [1, 3])
def test_rotation_is_pillows(channels: int) -> None:
    image = noise((20, 30, channels))
    fill: Any = (9, 8, 7) if channels == 3 else 5
    rotation = Rotation((-10, 50), "bicubic", fill)
    angles = []
    for draws in many(50):
        angle = Draws(draws.key).uniform(-10, 50)
        expected = picture(image).rotate(angle, Image.Resampling.BICUBIC, fillcolor=fill)
        np.testing.assert_array_equal(rotation(image, draws).squeeze(), np.asarray(expected))
        angles.append(angle)
    assert -10 <= min(angles) < -5
    assert 45 < max(angles) <= 50
    assert Rotation(15).degrees == (-15.0, 15.0)


@pytest.mark.parametrize("channels", [1, 3])
def test_erasing_paints_one_rectangle(channels: int) -> None:
    image = np.full((40, 50, channels), 7, np.uint8)
    colour = (250, 251, 252)[:channels] if channels == 3 else 250
    erasing = RandomErasing(0.4, fill=colour)
    touched = 0
    for draws in many(500):
        erased = erasing(image, draws)
        assert (image == 7).all()
        changed = (erased != 7).any(2)
        if not changed.any():
            continue
        touched += 1
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert changed.sum() == height * width  # a full rectangle
        assert (erased[changed] == colour).all()
        assert 0.015 < changed.mean() < 0.36
        assert 0.2 < height / width < 5
    assert abs(touched - 200) < 5 * math.sqrt(500 * 0.4 * 0.6)


def test_erasing_gives_up_where_nothing_fits() -> None:
    image = noise((1, 40, 3))
    np.testing.assert_array_equal(RandomErasing(1.0)(image, Draws(0)), image)


def test_erased_pixels_are_about_zero_after_normalisation() -> None:
    erased = RandomErasing(1.0, scale=(0.3, 0.3), ratio=(1, 1))(np.zeros((32, 32, 3), np.uint8), Draws(0))
    values = ImageProcessor.torchvision(32, 32)(erased)[0]
    inside = values[:, erased[:, :, 0] > 0]
    assert np.abs(inside).max() < 0.5 / 255 / 0.224


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Resize(0), "size of resize must be an integer of at least 1, found 0"),
        (lambda: Resize((3, 0)), r"size of resize must be a positive integer or \(height, width\)"),
        (
            lambda: Resize(3, "cubic"),
            "interpolation of resize must be one of nearest, lanczos, bilinear, .* found 'cubic'",
        ),
        (lambda: CenterCrop(2.5), "size of center_crop"),
        (lambda: RandomResizedCrop(8, scale=(0.5, 0.1)), r"scale of random_resized_crop .* 0 <= a <= b <= 1, found"),
        (lambda: RandomResizedCrop(8, scale=0.5), "scale of random_resized_crop must be two numbers"),
        (lambda: RandomResizedCrop(8, ratio=(0, 1)), "ratio of random_resized_crop"),
        (lambda: Rotation(-5), "degrees of rotation"),
        (lambda: Rotation(400), "degrees of rotation"),
        (lambda: Rotation(5, "lanczos"), "interpolation of rotation must be one of nearest, bilinear, bicubic, found"),
        (lambda: RandomErasing(2), "probability of random_erasing"),
        (lambda: RandomErasing(fill="mean"), "fill of random_erasing must be an integer from 0 to 255"),
    ],
)
def test_errors(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()

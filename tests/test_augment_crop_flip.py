"""Random crops and flips, compared with Pillow's crop, expand and transpose."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageOps

from npresnet.train.augment import BatchDraws, Compose, Draws, Flip, RandomCrop, augment_batch, image_keys


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def windows(image: np.ndarray, height: int, width: int, padding: int, fill: object = 0) -> list[bytes]:
    """Every window of the image with a border, in the order of its corner; cut by Pillow."""
    padded = ImageOps.expand(Image.fromarray(image.squeeze()), padding, fill)  # type: ignore[arg-type]
    return [
        padded.crop((left, top, left + width, top + height)).tobytes()
        for top in range(padded.height - height + 1)
        for left in range(padded.width - width + 1)
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_window_is_equally_likely(channels: int) -> None:
    image = noise(6, 5, channels)
    crop = RandomCrop((4, 5), padding=1, fill=(10, 20, 30) if channels == 3 else 7)
    expected = windows(image, 4, 5, 1, (10, 20, 30) if channels == 3 else 7)
    assert len(expected) == 5 * 3
    found = Counter(crop(image, Draws(key)).tobytes() for key in image_keys(0, 0, np.arange(1500)).tolist())
    assert set(found) == set(expected)
    assert min(found.values()) > 100 - 5 * 10
    assert max(found.values()) < 100 + 5 * 10


def test_a_mirrored_border() -> None:
    image = noise(4, 6, 3)
    crop = RandomCrop((8, 10), padding=2, mode="reflect")
    rows, columns = [2, 1, 0, 1, 2, 3, 2, 1], [2, 1, 0, 1, 2, 3, 4, 5, 4, 3]
    np.testing.assert_array_equal(crop(image, Draws(0)), image[rows][:, columns])


def test_a_colour_on_a_grey_image_is_its_luma() -> None:
    crop = RandomCrop(4, padding=1, fill=(255, 0, 0))
    corners = {int(crop(np.zeros((2, 2, 1), np.uint8), Draws(0))[0, 0, 0])}
    assert corners == {Image.new("RGB", (1, 1), (255, 0, 0)).convert("L").getpixel((0, 0))}


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_flips(direction: str) -> None:
    image = noise(5, 7, 3)
    turn = Image.Transpose.FLIP_LEFT_RIGHT if direction == "horizontal" else Image.Transpose.FLIP_TOP_BOTTOM
    mirrored = np.asarray(Image.fromarray(image).transpose(turn))
    flip = Flip(0.25, direction)
    results = [flip(image, Draws(key)) for key in image_keys(0, 0, np.arange(2000)).tolist()]
    count = sum(np.array_equal(result, mirrored) for result in results)
    assert abs(count - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)
    assert sum(np.array_equal(result, image) for result in results) == 2000 - count
    np.testing.assert_array_equal(Flip(1, direction)(image, Draws(0)), mirrored)


STEPS = [
    RandomCrop(8, padding=2),
    RandomCrop((6, 7)),
    RandomCrop(8, padding=3, mode="reflect"),
    Flip(),
    Flip(0.3, "vertical"),
    Compose([RandomCrop(8, padding=2), Flip(), lambda image, draws: image + draws.integer(2)]),
]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_treated_as_its_images_are(step: RandomCrop, channels: int) -> None:
    images = noise(20, 8, 8, channels)
    before = images.copy()
    draws = BatchDraws(image_keys(3, 1, np.arange(20)))
    together = augment_batch(step, images, draws)
    apart = [step(image, draws[n]) for n, image in enumerate(images)]
    np.testing.assert_array_equal(together, np.stack(apart))
    np.testing.assert_array_equal(images, before)
    assert together.dtype == np.uint8


def test_a_step_does_not_depend_on_the_draws_of_the_others() -> None:
    image = noise(8, 8, 3)

    def thirsty(image: np.ndarray, draws: Draws) -> np.ndarray:
        draws.permutation(30)
        return image

    def idle(image: np.ndarray, draws: Draws) -> np.ndarray:
        return image

    for key in range(20):
        crop = RandomCrop(8, padding=2)
        with_draws, without = (Compose([first, crop])(image, Draws(key)) for first in (thirsty, idle))
        np.testing.assert_array_equal(with_draws, without)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RandomCrop(0), r"size of random_crop must be a positive integer or \(height, width\), found 0"),
        (lambda: RandomCrop((3, 4, 5)), "size of random_crop"),
        (lambda: RandomCrop(3, padding=-1), "padding of random_crop must be an integer of at least 0, found -1"),
        (lambda: RandomCrop(3, padding=True), "padding of random_crop"),
        (lambda: RandomCrop(3, mode="wrap"), "mode of random_crop must be constant or reflect, found 'wrap'"),
        (lambda: RandomCrop(3, fill=256), "fill of random_crop must be an integer from 0 to 255"),
        (lambda: RandomCrop(3, fill=(1, 2)), "fill of random_crop"),
        (lambda: Flip(1.5), "probability of flip must be a number from 0 to 1, found 1.5"),
        (lambda: Flip(float("nan")), "probability of flip"),
        (lambda: Flip(direction="diagonal"), "direction of flip must be horizontal or vertical, found 'diagonal'"),
        (lambda: RandomCrop(9, padding=1)(noise(6, 8, 3), Draws(0)), "9 x 9 does not fit into an image of 6 x 8 with"),
        (lambda: RandomCrop(9, padding=6, mode="reflect")(noise(6, 8, 3), Draws(0)), "cannot mirror an image of 6 x 8"),
    ],
)
def test_errors(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]

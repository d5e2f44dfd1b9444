"""Augmentations by name: from the tables of a recipe, with sizes and colours filled in and mistakes named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from npresnet.train.augment import (
    AUGMENTATIONS,
    CenterCrop,
    ColorJitter,
    Compose,
    Draws,
    Flip,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    make_augmentation,
)


def test_a_recipe_for_cifar() -> None:
    augment = make_augmentation([{"name": "random_crop", "padding": 4}, {"name": "flip"}], 32)
    assert augment == Compose([RandomCrop(32, padding=4), Flip()])
    assert augment(np.zeros((32, 32, 3), np.uint8), Draws(0)).shape == (32, 32, 3)


def test_sizes_and_colours_come_from_the_network() -> None:
    steps: list[dict[str, Any]] = [
        {"name": "random_resized_crop", "scale": [0.35, 1.0]},
        {"name": "color_jitter", "brightness": 0.4, "hue": [-0.1, 0.2]},
        {"name": "random_erasing", "probability": 0.1},
    ]
    assert make_augmentation(steps, (20, 30), mean=(0.5, 0.25, 1.0)).steps == (
        RandomResizedCrop((20, 30), (0.35, 1.0)),
        ColorJitter(brightness=0.4, hue=(-0.1, 0.2)),
        RandomErasing(0.1, fill=(128, 64, 255)),
    )
    assert make_augmentation([{"name": "random_erasing", "fill": 3}], 8, mean=(0.5,)).steps == (RandomErasing(fill=3),)
    sized = [{"name": "resize"}, {"name": "center_crop"}, {"name": "resize", "size": [4, 5]}]
    assert make_augmentation(sized, (20, 30)).steps == (Resize(30), CenterCrop((20, 30)), Resize((4, 5)))


def test_no_steps_change_nothing() -> None:
    image = np.zeros((3, 3, 3), np.uint8)
    assert make_augmentation([], 8)(image, Draws(0)) is image


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_step_works_on_grey_and_colour(name: str, channels: int) -> None:
    options = {"degrees": 10} if name == "rotation" else {}
    augment = make_augmentation([{"name": name, **options}], 16)
    image = np.random.default_rng(0).integers(0, 256, (16, 16, channels), np.uint8)
    image.flags.writeable = False
    for key in range(30):
        result = augment(image, Draws(key))
        assert result.shape == image.shape
        assert result.dtype == np.uint8
    assert hash(augment.steps[0]) == hash(make_augmentation([{"name": name, **options}], 16).steps[0])  # type: ignore[index]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (
            [{"name": "flip"}, {"name": "random_crops"}],
            "step 2 of the augmentation .* 'random_crops'.*did you mean 'random_crop'",
        ),
        ([{"name": "mosaic"}], "'mosaic', which is unknown; known are center_crop, "),
        (
            [{"name": "random_crop", "pading": 4}],
            "step 1 .*, random_crop, has no option 'pading'; did you mean 'padding'",
        ),
        ([{"name": "flip", "size": 4}], "flip, has no option 'size'"),
        ([{"name": "rotation"}], "rotation, needs the option 'degrees'"),
        ([{"name": "flip", "probability": 2}], "step 1 .*: probability of flip must be a number from 0 to 1, found 2"),
        ([{"padding": 4}], "must be a table with a name"),
        (["flip"], "must be a table with a name"),
    ],
)
def test_mistakes_are_named(steps: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_augmentation(steps, 32)

"""Augmentations by name, as the tables of a recipe speak of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from .base import Compose
from .colours import ColorJitter
from .crops import RandomCrop
from .erasing import RandomErasing
from .flips import Flip
from .options import check_size
from .resized_crop import RandomResizedCrop
from .resizing import CenterCrop, Resize
from .rotation import Rotation
from .trivial import TrivialAugment

AUGMENTATIONS: dict[str, Any] = {
    "center_crop": CenterCrop,
    "color_jitter": ColorJitter,
    "flip": Flip,
    "random_crop": RandomCrop,
    "random_erasing": RandomErasing,
    "random_resized_crop": RandomResizedCrop,
    "resize": Resize,
    "rotation": Rotation,
    "trivial_augment": TrivialAugment,
}
"""The augmentations by their names in recipes."""


def make_augmentation(
    steps: Iterable[Mapping[str, Any]],
    size: int | tuple[int, int],
    mean: Sequence[float] | None = None,
) -> Compose:
    """Return the augmentation that a recipe describes.

    Parameters
    ----------
    steps : iterable of mapping
        In order. Each has a ``name`` of :data:`AUGMENTATIONS`; the rest are options of that augmentation.
    size : int or (int, int)
        Height and width of the network's input: the ``size`` of those steps that have one and do not set it. For
        ``resize`` it is the shorter edge.
    mean : sequence of float, optional
        What normalisation will subtract, from 0 to 1 for each channel; the ``fill`` of ``random_erasing`` if that does
        not set it.

    Raises
    ------
    ValueError
        If a name or an option is unknown (the message gives the nearest), missing or out of range.

    Examples
    --------
    >>> make_augmentation([{"name": "random_crop", "padding": 4}, {"name": "flip"}], size=32)
    Compose(steps=(RandomCrop(size=(32, 32), padding=4, mode='constant', fill=(0,)), Flip(probability=0.5, ...)))
    """
    height_width = check_size("size", size)
    return Compose([_make_step(number, step, height_width, mean) for number, step in enumerate(steps, 1)])


def _make_step(number: int, step: Mapping[str, Any], size: tuple[int, int], mean: Sequence[float] | None) -> Any:
    where = f"step {number} of the augmentation"
    if not isinstance(step, Mapping) or not isinstance(step.get("name"), str):
        raise ValueError(f'{where} must be a table with a name, such as {{ name = "flip" }}; found {step!r}')
    options = {key: value for key, value in step.items() if key != "name"}
    name = step["name"]
    if name not in AUGMENTATIONS:
        raise ValueError(f"{where} has the name {name!r}, which is unknown{_nearest(name, list(AUGMENTATIONS))}")
    kind = AUGMENTATIONS[name]
    known = [field.name for field in fields(kind)]
    for key in options:
        if key not in known:
            raise ValueError(f"{where}, {name}, has no option {key!r}{_nearest(key, known)}")
    if "size" in known:
        options.setdefault("size", max(size) if kind is Resize else size)
    if kind is RandomErasing and mean is not None:
        options.setdefault("fill", tuple(min(255, max(0, round(255 * value))) for value in mean))
    missing = [field.name for field in fields(kind) if field.default is MISSING and field.name not in options]
    if missing:
        raise ValueError(f"{where}, {name}, needs the option {missing[0]!r}")
    try:
        return kind(**options)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _nearest(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(words)}"

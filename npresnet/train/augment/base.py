"""What an augmentation is, one after another, for one image and for a batch of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .draws import BatchDraws, Draws


class Augmentation(Protocol):
    """A function of an image and of its random numbers.

    The ones of this package are frozen dataclasses. One that can treat many images of one size faster together than
    one by one has a method ``batch(images, draws)`` besides, (N, H, W, C) -> (N, h, w, C), with the same results.
    """

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return a new image.

        Parameters
        ----------
        image : ndarray, uint8, (H, W, C)
            C is 3 (RGB) or 1 (grey). It must not be changed.
        draws : Draws
            The only source of randomness; it depends on the seed, the epoch, the image and the step.

        Returns
        -------
        ndarray, uint8, (h, w, C)
        """
        ...


@dataclass(frozen=True)
class Compose:
    """Several augmentations in order. Each has random numbers of its own, so that they do not depend on the others.

    Parameters
    ----------
    steps : sequence of Augmentation

    Examples
    --------
    >>> augment = Compose([RandomCrop(32, padding=4), Flip()])
    >>> augment(np.zeros((32, 32, 3), np.uint8), Draws(0)).shape
    (32, 32, 3)
    """

    steps: Iterable[Augmentation] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))

    def __call__(self, image: np.ndarray, draws: Draws) -> np.ndarray:
        """Return the image after the last step."""
        for number, step in enumerate(self.steps):
            image = step(image, draws.stream(number))
        return image

    def batch(self, images: np.ndarray, draws: BatchDraws) -> np.ndarray:
        """Return the images (N, H, W, C), all of one size, after the last step."""
        for number, step in enumerate(self.steps):
            images = augment_batch(step, images, draws.stream(number))
        return images


def augment_batch(augmentation: Augmentation, images: np.ndarray, draws: BatchDraws) -> np.ndarray:
    """Apply an augmentation to images (N, H, W, C), together if it can, one by one otherwise."""
    together = getattr(augmentation, "batch", None)
    if together is not None:
        result: np.ndarray = together(images, draws)
        return result
    return np.stack([augmentation(image, draws[n]) for n, image in enumerate(images)])

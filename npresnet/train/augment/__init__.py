"""Augmentation: what is done to an image, differently in every epoch, before a network sees it.

>>> augment = make_augmentation([{"name": "random_crop", "padding": 4}, {"name": "flip"}], size=32)
>>> augment(image, draws)  # (H, W, C) uint8 -> (32, 32, C) uint8
"""

from .base import Augmentation, Compose, augment_batch
from .crops import RandomCrop
from .draws import BatchDraws, Draws, image_key, image_keys, shuffled
from .flips import Flip

__all__ = [
    "Augmentation",
    "BatchDraws",
    "Compose",
    "Draws",
    "Flip",
    "RandomCrop",
    "augment_batch",
    "image_key",
    "image_keys",
    "shuffled",
]

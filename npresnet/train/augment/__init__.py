"""Augmentation: what is done to an image, differently in every epoch, before a network sees it.

>>> augment = make_augmentation([{"name": "random_crop", "padding": 4}, {"name": "flip"}], size=32)
>>> augment(image, draws)  # (H, W, C) uint8 -> (32, 32, C) uint8
"""

from .base import Augmentation, Compose, augment_batch
from .colours import ColorJitter
from .crops import RandomCrop
from .draws import BatchDraws, Draws, image_key, image_keys, shuffled
from .erasing import RandomErasing
from .flips import Flip
from .preprocess import Preprocess
from .resized_crop import RandomResizedCrop
from .resizing import CenterCrop, Resize
from .rotation import Rotation
from .table import AUGMENTATIONS, make_augmentation
from .trivial import TrivialAugment

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "BatchDraws",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "Draws",
    "Flip",
    "Preprocess",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "Resize",
    "Rotation",
    "TrivialAugment",
    "augment_batch",
    "image_key",
    "image_keys",
    "make_augmentation",
    "shuffled",
]

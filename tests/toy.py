"""A tiny network and four classes of tiny images that it can learn, for tests of training."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from npresnet import ResNetConfig, ResNetForImageClassification
from npresnet.train.data import ArrayDataset, Loader

CLASSES = ("north", "east", "south", "west")
FIELDS: dict[str, Any] = {
    "layer_type": "basic", "embedding_size": 4, "hidden_sizes": (4, 8), "depths": (1, 1), "stem_type": "cifar",
}  # fmt: skip
SIZE = 8


def dataset(count: int = 96, seed: int = 0) -> ArrayDataset:
    """Noise with one bright quarter, which tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    images = rng.integers(0, 100, (count, SIZE, SIZE, 3), dtype=np.uint8)
    half = SIZE // 2
    for image, label in zip(images, labels, strict=True):
        top, left = half * (label // 2), half * (label % 2)
        image[top : top + half, left : left + half] += 120
    return ArrayDataset(images, labels, CLASSES, "toy")


def model(seed: int = 1, **fields: Any) -> ResNetForImageClassification:
    """A network of some thousand parameters, for 8 x 8 pixels."""
    return ResNetForImageClassification(ResNetConfig(**{**FIELDS, "num_labels": 4, **fields}), seed=seed)


class Killing(Loader):
    """A loader that sends this process a signal before a certain batch, counted over all epochs."""

    number = signal.SIGINT
    before: int | None = None

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch."""
        for place, batch in enumerate(super().epoch(number, start), start=number * len(self) + start):
            if place == self.before:
                os.kill(os.getpid(), self.number)
            yield batch


def killing(before: int | None, number: int = signal.SIGINT, batch_size: int = 16, count: int = 96) -> Killing:
    """Return such a loader of the toy images, shuffled."""
    loader = Killing(
        dataset(count), batch_size, size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3, shuffle=True, seed=3, workers=0
    )
    loader.before, loader.number = before, signal.Signals(number)
    return loader


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}

"""What all contestants are given: a network, pictures with labels, and what one step must leave behind.

The network is that of inference: random, with the statistics of some other pictures, so that a step changes them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.config import ResNetConfig
from npresnet.resnet import ResNetForImageClassification
from npresnet.train.step import TrainingStep

from ..material import Material, calibrate, calibration_images, draw_images
from .contestants import is_cifar
from .learners import NpresnetLearner
from .outcome import save, take_step

SMALL = 1e10  # multiply-adds of a forward pass for which the right step is computed in float64


class TrainingMaterial(Material):
    """The files in a folder."""

    @property
    def labels(self) -> Path:
        """(N,) int64 as ``.npy``; a batch has the first ones."""
        return self.folder / "labels.npy"

    def first_labels(self, count: int) -> NDArray[np.int64]:
        """The labels of the first ``count`` pictures."""
        labels: NDArray[np.int64] = np.load(self.labels)[:count]
        return labels

    def outcome(self, batch: int) -> Path:
        """What is right after a step with this batch; see :mod:`.outcome`."""
        return self.folder / f"outcome-{batch}.npz"


def prepare(
    config: ResNetConfig, size: int, batches: Sequence[int], folder: Path, engines: Collection[str], seed: int = 0
) -> dict[str, Any]:
    """Write the material for a network.

    Parameters
    ----------
    config : ResNetConfig
    size : int
        Height and width of the pictures.
    batches : sequence of int
        Pictures in a step; for each of them a step is computed by the ordinary path, layer by layer.
    folder : Path
        An empty directory.
    engines : collection of str
        For which engines files are written: npresnet, torch.
    seed : int
        Of weights, pictures and labels.

    Returns
    -------
    dict
        ``macs`` of a picture's forward pass and ``params``.
    """
    material = TrainingMaterial(folder)
    model = ResNetForImageClassification(config, seed=seed)
    summary = model.summary(input_size=(config.num_channels, size, size))
    pixel_values = draw_images(max(batches), config.num_channels, size, seed + 1)
    labels = np.random.default_rng(seed + 4).integers(0, config.num_labels, max(batches))
    calibrate(model, draw_images(calibration_images(size), config.num_channels, size, seed + 2), seed + 3)
    np.save(material.images, pixel_values)
    np.save(material.labels, labels)
    model.save(material.weights)
    if "torch" in engines and not is_cifar(config):
        model.save(material.transformers)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    for batch in batches:
        model.load_state_dict(before)
        dtype = np.float64 if summary.macs * batch <= SMALL else np.float32  # a few seconds rather than minutes
        model.astype(dtype)
        learner = NpresnetLearner(model, TrainingStep(model), pixel_values[:batch].astype(dtype), labels[:batch])
        save(material.outcome(batch), take_step(learner))
        model.astype(np.float32)
    return {"macs": int(summary.macs), "params": int(summary.params)}

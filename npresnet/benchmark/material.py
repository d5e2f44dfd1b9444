"""What all contestants are given: a network, pictures, and the logits that are right.

The weights are random, but a freshly initialised network would be no test at all: its BatchNorms divide by statistics
that are not those of its activations, and its logits hardly depend on the picture. So all statistics are set to those
of a forward pass over some of the pictures, and the last BatchNorm of every residual layer is small, as in trained
networks, where a layer corrects its input a little rather than replacing it.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet.blocks import ResidualLayer, ResNetConvLayer
from npresnet.config import ResNetConfig
from npresnet.nn import BatchNorm2d
from npresnet.resnet import ResNetForImageClassification

Array = NDArray[np.floating]

CALIBRATION_IMAGES = 4
CALIBRATION_VALUES = 64  # of a channel of the last feature map; a variance of fewer is mostly chance
SMALL = 5e9  # multiply-adds for which the right logits are computed in float64


class Material(NamedTuple):
    """The files in a folder."""

    folder: Path

    @property
    def weights(self) -> Path:
        """For npresnet."""
        return self.folder / "weights.npz"

    @property
    def transformers(self) -> Path:
        """A directory with ``config.json`` and ``model.safetensors`` for Transformers."""
        return self.folder / "transformers"

    def onnx(self, precision: str) -> Path:
        """For ONNX Runtime."""
        return self.folder / f"{precision}.onnx"

    @property
    def images(self) -> Path:
        """(N, C, H, W) float32 as ``.npy``; a batch is the first ones."""
        return self.folder / "images.npy"

    @property
    def logits(self) -> Path:
        """(N, labels) as ``.npy``, what is right."""
        return self.folder / "logits.npy"

    def first_images(self, count: int) -> NDArray[np.float32]:
        """The first ``count`` pictures."""
        return np.ascontiguousarray(np.load(self.images)[:count])


def prepare(
    config: ResNetConfig, size: int, images: int, folder: Path, engines: Collection[str], seed: int = 0
) -> dict[str, Any]:
    """Write the material for a network.

    Parameters
    ----------
    config : ResNetConfig
    size : int
        Height and width of the pictures.
    images : int
        Number of pictures: the largest batch.
    folder : Path
        An empty directory.
    engines : collection of str
        For which engines files are written: npresnet, torch, onnxruntime.
    seed : int
        Of weights and pictures.

    Returns
    -------
    dict
        ``macs`` of one picture and ``params``, as in :meth:`npresnet.ResNetForImageClassification.summary`.
    """
    material = Material(folder)
    model = ResNetForImageClassification(config, seed=seed)
    summary = model.summary(input_size=(config.num_channels, size, size))
    pixel_values = draw_images(images, config.num_channels, size, seed + 1)
    calibrate(model, draw_images(calibration_images(size), config.num_channels, size, seed + 2), seed + 3)
    np.save(material.images, pixel_values)
    np.save(material.logits, right_logits(model, pixel_values, summary.macs))
    model.save(material.weights)
    if "torch" in engines:
        model.save(material.transformers)
    if "onnxruntime" in engines:
        from .onnx_export import export

        export(model, (size, size), material.onnx("float32"))
    return {"macs": int(summary.macs), "params": int(summary.params)}


def draw_images(count: int, channels: int, size: int, seed: int) -> NDArray[np.float32]:
    """Random pictures (N, C, size, size) with large patches of colour and fine grain, so that each is different."""
    rng = np.random.default_rng(seed)
    patch = max(1, math.ceil(size / 4))
    patches = rng.standard_normal((count, channels, 4, 4), np.float32)
    patches = patches.repeat(patch, axis=2).repeat(patch, axis=3)[:, :, :size, :size]
    return patches + rng.standard_normal((count, channels, size, size), np.float32)


def calibration_images(size: int) -> int:
    """How many pictures it takes for statistics worth the name; small ones leave few values in the last map."""
    return max(CALIBRATION_IMAGES, math.ceil(CALIBRATION_VALUES / math.ceil(size / 32) ** 2))


def calibrate(model: ResNetForImageClassification, pixel_values: Array, seed: int) -> None:
    """Draw weights and biases of the BatchNorms, and set their statistics to those of a batch (N, C, H, W)."""
    rng = np.random.default_rng(seed)
    norms = [module for _, module in model.named_modules() if isinstance(module, BatchNorm2d)]
    for norm in norms:
        norm.weight.data = rng.uniform(0.5, 1.5, norm.weight.shape).astype(np.float32)
        norm.bias.data = rng.normal(0, 0.1, norm.bias.shape).astype(np.float32)
    for _, module in model.named_modules():
        if isinstance(module, ResidualLayer):
            last = module.layer[-1]
            assert isinstance(last, ResNetConvLayer)
            last.normalization.weight.data *= np.float32(0.2)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum, norm.training = 1.0, True  # only the BatchNorms: nothing keeps a cache for backward
    model(pixel_values)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum, norm.training = momentum, False


def right_logits(model: ResNetForImageClassification, pixel_values: Array, macs: int) -> Array:
    """Logits (N, labels) of the ordinary forward pass, layer by layer; in float64 where that takes no minutes."""
    if macs * len(pixel_values) > SMALL:
        return np.concatenate([model(image[None]).logits for image in pixel_values])
    model.astype(np.float64)
    logits = model(pixel_values.astype(np.float64)).logits
    model.astype(np.float32)
    return logits

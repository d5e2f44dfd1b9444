"""The named models, and loading a checkpoint of any of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .resnet import ResNetForImageClassification


class ResNet18(ResNetForImageClassification):
    """18 layers, basic: 11.7 M parameters, 1.8 GMACs."""

    architecture = "resnet18"


class ResNet26(ResNetForImageClassification):
    """26 layers, bottleneck: 16.0 M parameters, 2.3 GMACs."""

    architecture = "resnet26"


class ResNet34(ResNetForImageClassification):
    """34 layers, basic: 21.8 M parameters, 3.7 GMACs."""

    architecture = "resnet34"


class ResNet50(ResNetForImageClassification):
    """50 layers, bottleneck: 25.6 M parameters, 4.1 GMACs. ``downsample_in_bottleneck=True`` is the paper's v1."""

    architecture = "resnet50"


class ResNet101(ResNetForImageClassification):
    """101 layers, bottleneck: 44.5 M parameters, 7.8 GMACs."""

    architecture = "resnet101"


class ResNet152(ResNetForImageClassification):
    """152 layers, bottleneck: 60.2 M parameters, 11.5 GMACs."""

    architecture = "resnet152"


class ResNet18D(ResNetForImageClassification):
    """ResNet-18 with deep stem and average-pooled shortcuts (He et al. 2018)."""

    architecture = "resnet18d"


class ResNet26D(ResNetForImageClassification):
    """ResNet-26-D."""

    architecture = "resnet26d"


class ResNet34D(ResNetForImageClassification):
    """ResNet-34-D."""

    architecture = "resnet34d"


class ResNet50D(ResNetForImageClassification):
    """ResNet-50-D."""

    architecture = "resnet50d"


class ResNet101D(ResNetForImageClassification):
    """ResNet-101-D."""

    architecture = "resnet101d"


class ResNet152D(ResNetForImageClassification):
    """ResNet-152-D."""

    architecture = "resnet152d"


class ResNeXt50_32x4d(ResNetForImageClassification):
    """ResNeXt-50: 32 groups of width 4 (Xie et al. 2017)."""

    architecture = "resnext50_32x4d"


class ResNeXt101_32x8d(ResNetForImageClassification):
    """ResNeXt-101: 32 groups of width 8."""

    architecture = "resnext101_32x8d"


class WideResNet50_2(ResNetForImageClassification):
    """ResNet-50 with bottlenecks twice as wide (Zagoruyko & Komodakis 2016)."""

    architecture = "wide_resnet50_2"


class WideResNet101_2(ResNetForImageClassification):
    """ResNet-101 with bottlenecks twice as wide."""

    architecture = "wide_resnet101_2"


class ResNet20(ResNetForImageClassification):
    """The paper's network for CIFAR, 20 layers: 0.27 M parameters, 41 MMACs."""

    architecture = "resnet20"


class ResNet32(ResNetForImageClassification):
    """CIFAR, 32 layers: 0.46 M parameters."""

    architecture = "resnet32"


class ResNet44(ResNetForImageClassification):
    """CIFAR, 44 layers: 0.66 M parameters."""

    architecture = "resnet44"


class ResNet56(ResNetForImageClassification):
    """CIFAR, 56 layers: 0.85 M parameters."""

    architecture = "resnet56"


class ResNet110(ResNetForImageClassification):
    """CIFAR, 110 layers: 1.7 M parameters."""

    architecture = "resnet110"


class Plain20(ResNetForImageClassification):
    """ResNet-20 without any shortcut: what the paper compares with. No weights are published."""

    architecture = "plain20"


class Plain32(ResNetForImageClassification):
    """ResNet-32 without any shortcut."""

    architecture = "plain32"


class Plain44(ResNetForImageClassification):
    """ResNet-44 without any shortcut."""

    architecture = "plain44"


class Plain56(ResNetForImageClassification):
    """ResNet-56 without any shortcut: harder to train than 20 layers, which is why there are shortcuts."""

    architecture = "plain56"


def load(
    path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32, **overrides: Any
) -> ResNetForImageClassification:
    """Read a checkpoint of any ResNet; the architecture is found from its config, metadata or tensor shapes.

    Parameters and errors are those of :meth:`~npresnet.ResNetForImageClassification.load`.

    Examples
    --------
    >>> model = npresnet.load("resnet50-11ad3fa6.pth", output_stride=8)
    """
    return ResNetForImageClassification.load(path, dtype=dtype, **overrides)


def default_weights() -> Path:
    """Return the path of the weights that ship with the package: a small ResNet trained on CIFAR-10.

    Raises
    ------
    FileNotFoundError
        If the installation is incomplete.
    """
    package = Path(__file__).parent
    for folder in (package / "weights", package.parent / "weights"):  # in an installed wheel, in a checkout
        path = folder / "default.npz"
        if path.is_file():
            return path
    raise FileNotFoundError("the default weights weights/default.npz are missing; reinstall npresnet, or give a file")

"""Layers written as pairs of forward and backward: :mod:`.module` is their base, :mod:`.layers` all of them."""

from .layers import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Sequential,
    ZeroPadShortcut,
    chain,
)
from .module import Module, Parameter

__all__ = [
    "Activation",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalPool2d",
    "Identity",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "Sequential",
    "ZeroPadShortcut",
    "chain",
]

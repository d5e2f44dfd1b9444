"""npresnet: ResNet in pure Python on NumPy and Numba. Run any published checkpoint without PyTorch, read every line.

>>> import npresnet
>>> model = npresnet.load("resnet50-11ad3fa6.pth")
>>> model.predict("cat.jpg")
[Prediction(index=281, label='tabby', score=0.62), ...]
"""

from typing import TYPE_CHECKING

from .config import PRESETS, ResNetConfig, preset
from .kernels import use_backend
from .lazy import lazy_attributes
from .outputs import Prediction
from .resnet import ResNetBackbone, ResNetForImageClassification, ResNetModel
from .zoo import (
    Plain20,
    Plain32,
    Plain44,
    Plain56,
    ResNet18,
    ResNet18D,
    ResNet20,
    ResNet26,
    ResNet26D,
    ResNet32,
    ResNet34,
    ResNet34D,
    ResNet44,
    ResNet50,
    ResNet50D,
    ResNet56,
    ResNet101,
    ResNet101D,
    ResNet110,
    ResNet152,
    ResNet152D,
    ResNeXt50_32x4d,
    ResNeXt101_32x8d,
    WideResNet50_2,
    WideResNet101_2,
    load,
)

if TYPE_CHECKING:
    from .checkpoint import CheckpointError
    from .fetching import fetch
    from .gradcheck import gradcheck
    from .image import ImageProcessor
    from .picture import ImageError
    from .train import Trainer, evaluate

__version__ = "0.1.0"

__all__ = [
    "PRESETS",
    "CheckpointError",
    "ImageError",
    "ImageProcessor",
    "Plain20",
    "Plain32",
    "Plain44",
    "Plain56",
    "Prediction",
    "ResNeXt50_32x4d",
    "ResNeXt101_32x8d",
    "ResNet18",
    "ResNet18D",
    "ResNet20",
    "ResNet26",
    "ResNet26D",
    "ResNet32",
    "ResNet34",
    "ResNet34D",
    "ResNet44",
    "ResNet50",
    "ResNet50D",
    "ResNet56",
    "ResNet101",
    "ResNet101D",
    "ResNet110",
    "ResNet152",
    "ResNet152D",
    "ResNetBackbone",
    "ResNetConfig",
    "ResNetForImageClassification",
    "ResNetModel",
    "Trainer",
    "WideResNet50_2",
    "WideResNet101_2",
    "evaluate",
    "fetch",
    "gradcheck",
    "load",
    "preset",
    "use_backend",
]

# Imported when first used, so that `import npresnet` stays light.
_LAZY = {
    "CheckpointError": "checkpoint",
    "ImageError": "picture",
    "ImageProcessor": "image",
    "Trainer": "train",
    "evaluate": "train",
    "fetch": "fetching",
    "gradcheck": "gradcheck",
}

__getattr__ = lazy_attributes(__name__, _LAZY)

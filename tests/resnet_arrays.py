"""Names and shapes of a ResNet's arrays, written out by hand: what the tests compare the package with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def golden_shapes(tag: str) -> dict[str, tuple[int, ...]]:
    """The state_dict of a torchvision or timm model: every key with its shape."""
    with np.load(GOLDEN / f"{tag}.npz") as file:
        keys = json.loads(str(file["meta"]))["keys"]
    return {key: tuple(shape) for key, shape in keys.items()}


def placeholders(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays of these shapes that take no memory."""
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}


def conv_layer(name: str, out: int, inp: int, kernel: int) -> dict[str, tuple[int, ...]]:
    """A ResNetConvLayer, or a shortcut, of Transformers."""
    return {
        f"{name}.convolution.weight": (out, inp, kernel, kernel),
        f"{name}.normalization.weight": (out,),
        f"{name}.normalization.bias": (out,),
        f"{name}.normalization.running_mean": (out,),
        f"{name}.normalization.running_var": (out,),
        f"{name}.normalization.num_batches_tracked": (),
    }


def resnet_shapes(
    depths: tuple[int, ...],
    hidden_sizes: tuple[int, ...],
    layer_type: str,
    embedding_size: int = 64,
    stem: tuple[tuple[int, int], ...] = ((64, 7),),
    groups: int = 1,
    width_factor: float = 1,
    shortcut_everywhere: bool = False,
    shortcuts: bool = True,
    num_channels: int = 3,
    num_labels: int = 1000,
    features_factor: int = 1,
) -> dict[str, tuple[int, ...]]:
    """Canonical names and shapes; ``stem`` holds (channels, kernel) of its convolutions."""
    shapes: dict[str, tuple[int, ...]] = {}
    inp = num_channels
    for i, (channels, kernel) in enumerate(stem):
        index = f".{i}" if len(stem) > 1 else ""
        shapes |= conv_layer(f"resnet.embedder.embedder{index}", channels, inp, kernel)
        inp = channels
    assert inp == embedding_size
    for s in range(len(depths)):
        out = hidden_sizes[s]
        for b in range(depths[s]):
            block = f"resnet.encoder.stages.{s}.layers.{b}"
            if b == 0 and shortcuts and (s > 0 or inp != out or shortcut_everywhere):
                shapes |= conv_layer(f"{block}.shortcut", out, inp, 1)
            if layer_type == "basic":
                shapes |= conv_layer(f"{block}.layer.0", out, inp, 3)
                shapes |= conv_layer(f"{block}.layer.1", out, out, 3)
            else:
                per_group = int(out // 4 * width_factor)
                shapes |= conv_layer(f"{block}.layer.0", per_group * groups, inp, 1)
                shapes |= conv_layer(f"{block}.layer.1", per_group * groups, per_group, 3)
                shapes |= conv_layer(f"{block}.layer.2", out, per_group * groups, 1)
            inp = out
    if num_labels:
        shapes["classifier.1.weight"] = (num_labels, inp * features_factor)
        shapes["classifier.1.bias"] = (num_labels,)
    return shapes


BOTTLENECK = {"hidden_sizes": (256, 512, 1024, 2048), "layer_type": "bottleneck"}
BASIC = {"hidden_sizes": (64, 128, 256, 512), "layer_type": "basic"}
DEEP_STEM = ((32, 3), (32, 3), (64, 3))

# The golden models, by tag, and what they are made of.
MODELS: dict[str, dict] = {
    "torchvision_resnet18": {"depths": (2, 2, 2, 2), **BASIC, "num_labels": 12},
    "torchvision_resnet50": {"depths": (3, 4, 6, 3), **BOTTLENECK, "num_labels": 12},
    "torchvision_resnet152": {"depths": (3, 8, 36, 3), **BOTTLENECK, "num_labels": 12},
    "torchvision_resnet50_dilated_os8": {"depths": (3, 4, 6, 3), **BOTTLENECK, "num_labels": 12},
    "torchvision_resnext50_32x4d": {
        "depths": (3, 4, 6, 3), **BOTTLENECK, "groups": 32, "width_factor": 4 / 64, "num_labels": 12,
    },
    "torchvision_wide_resnet101_2": {"depths": (3, 4, 23, 3), **BOTTLENECK, "width_factor": 2, "num_labels": 12},
    "timm_resnet18_catavgmax": {"depths": (2, 2, 2, 2), **BASIC, "num_labels": 12, "features_factor": 2},
    "timm_resnet18d": {"depths": (2, 2, 2, 2), **BASIC, "num_labels": 12, "stem": DEEP_STEM},
    "timm_resnet34_gray": {"depths": (3, 4, 6, 3), **BASIC, "num_labels": 12, "num_channels": 1},
    "timm_resnet50_os16": {"depths": (3, 4, 6, 3), **BOTTLENECK, "num_labels": 12},
}  # fmt: skip

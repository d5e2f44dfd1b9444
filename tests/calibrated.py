"""Networks whose numbers are as tame as those of trained ones, and what the ordinary path makes of them in float64.

A network with random weights is chaotic: rounding errors grow from layer to layer. Here every BatchNorm has the
statistics of its own input, and residual layers add a fraction of the size of what they add to.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from agreement import LARGEST

import npresnet
from npresnet.blocks import ResidualLayer
from npresnet.engine import graph as engine_graph
from npresnet.nn import BatchNorm2d

SMALL: dict[str, Any] = {
    "layer_type": "basic", "embedding_size": 16, "hidden_sizes": (16, 32), "depths": (2, 1), "num_labels": 5,
}  # fmt: skip

BOTTLENECK: dict[str, Any] = {"layer_type": "bottleneck", "hidden_sizes": (64, 128)}
NETWORKS: dict[str, dict[str, Any]] = {
    "basic": {},
    "four stages": {"hidden_sizes": (16, 32, 32, 64), "depths": (1, 1, 1, 1)},
    "bottleneck": BOTTLENECK,
    "bottleneck v1": {**BOTTLENECK, "downsample_in_bottleneck": True},
    "cifar": {"stem_type": "cifar", "shortcut_type": "zero_pad", "hidden_sizes": (16, 32, 64), "depths": (1, 1, 1)},
    "plain": {"stem_type": "cifar", "shortcut_type": "none", "hidden_sizes": (16, 32, 64), "depths": (2, 1, 1)},
    "plain bottleneck": {**BOTTLENECK, "shortcut_type": "none"},
    "zeros for odd channels": {"shortcut_type": "zero_pad", "embedding_size": 6, "hidden_sizes": (6, 21)},
    "resnet-d": {
        **BOTTLENECK, "stem_type": "deep", "stem_width": 8, "shortcut_type": "avg_down",
        "downsample_in_first_stage": True,
    },
    "tiered stem, caffe pool": {"stem_type": "deep_tiered", "stem_width": 12, "stem_pool": "caffe"},
    "32 groups of 4": {**BOTTLENECK, "groups": 32, "width_per_group": 4, "hidden_sizes": (256, 128)},
    "groups of whole blocks": {**BOTTLENECK, "groups": 2, "hidden_sizes": (128, 256)},
    "groups of 6": {**BOTTLENECK, "groups": 3, "hidden_sizes": (24, 40)},
    "3 groups of 8": {**BOTTLENECK, "groups": 3, "hidden_sizes": (32, 32)},
    "wide": {**BOTTLENECK, "width_per_group": 128},
    "output stride 8": {
        **BOTTLENECK, "output_stride": 8, "shortcut_type": "avg_down", "hidden_sizes": (32, 32, 48, 64),
        "depths": (1, 1, 2, 1),
    },
    "output stride 16": {"output_stride": 16, "hidden_sizes": (16, 16, 32, 32), "depths": (1, 1, 1, 2)},
    "max": {"global_pool": "max"},
    "avgmax": {"global_pool": "avgmax"},
    "catavgmax": {"global_pool": "catavgmax"},
    "relu6": {"hidden_act": "relu6", "loudness": 5.0},
    "linear": {"hidden_act": "identity", "depths": (3, 2)},
    "linear resnet-d": {**BOTTLENECK, "hidden_act": "identity", "shortcut_type": "avg_down"},
    "linear, output stride 8": {
        "hidden_act": "identity", "output_stride": 8, "shortcut_type": "avg_down", "hidden_sizes": (16, 16, 32, 32),
        "depths": (1, 1, 1, 1),
    },
    "gelu": {"hidden_act": "gelu", "hidden_sizes": (10, 20)},
    "silu": {**BOTTLENECK, "hidden_act": "silu", "stem_type": "deep"},
    "odd channels": {"embedding_size": 7, "hidden_sizes": (11, 33), "num_labels": 17},
    "bottleneck of odd channels": {"layer_type": "bottleneck", "embedding_size": 5, "hidden_sizes": (13, 70)},
    "grey": {"num_channels": 1},
    "five channels": {"num_channels": 5, "stem_type": "deep", "stem_width": 8},
    "no labels": {"num_labels": 0},
}  # fmt: skip
"""Arguments of :func:`calibrated` for every kind of network."""


def calibrated(
    kind: type = npresnet.ResNetForImageClassification, seed: int = 0, loudness: float = 1.0, **fields: Any
) -> Any:
    """A float32 model in evaluation mode; SMALL unless the fields say otherwise.

    Parameters
    ----------
    loudness : float
        Standard deviation of the feature maps; 1 seldom reaches the upper bound of ReLU6.
    """
    model = kind(npresnet.ResNetConfig(**{**SMALL, **fields}), seed=seed)
    rng = np.random.default_rng(seed + 1)
    calibrate(model, noise(4, model.config.num_channels), rng, loudness)
    return model


def noise(images: int = 3, channels: int = 3, height: int = 33, width: int = 30, seed: int = 5) -> np.ndarray:
    """Pixel values, (N, C, H, W) float32. Stages of a network then have 9 x 8, 5 x 4 and 3 x 2 pixels, and so on."""
    return np.random.default_rng(seed).standard_normal((images, channels, height, width)).astype(np.float32)


def calibrate(model: Any, x: np.ndarray, rng: np.random.Generator, loudness: float = 1.0) -> None:
    """Draw the parameters of every BatchNorm, and take its statistics from a batch of pixel values."""
    norms = [module for _, module in model.named_modules() if isinstance(module, BatchNorm2d)]
    for norm in norms:
        norm.weight.data = (loudness * rng.uniform(0.5, 1.5, norm.weight.shape)).astype(np.float32)
        norm.bias.data = rng.normal(0, 0.2, norm.bias.shape).astype(np.float32)
    for _, module in model.named_modules():
        if isinstance(module, ResidualLayer):
            last: Any = module.layer.layers[-1]
            last.normalization.weight.data = last.normalization.weight.data * np.float32(0.3)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()
    model(x)
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def in_float64(model: Any) -> Any:
    """The same model with float64 numbers, which the engine leaves alone."""
    double = type(model)(model.config, _initialize=False).astype(np.float64)
    double.load_state_dict(model.state_dict())
    return double.eval()


def ordinary(model: Any, x: np.ndarray, **arguments: Any) -> Any:
    """What the model says in float64, by the NumPy kernels."""
    with npresnet.use_backend("numpy"):
        return in_float64(model)(x.astype(np.float64), **arguments)


def ordinary_maps(model: Any, x: np.ndarray) -> dict[int, np.ndarray]:
    """Every map of the engine's graph, by number, as the layers of the float64 model compute it."""
    double = in_float64(model)
    with npresnet.use_backend("numpy"), double.trace() as seen:
        double(x.astype(np.float64))
    nodes = model._graph().nodes
    last = {f"{name}.layer.{len(m.layer) - 1}": name for name, m in double.named_modules() if _is_residual(m)}
    activated_apart = {node.input for node in nodes if isinstance(node, engine_graph.Ordinary)}
    convolutions = {node.output: node for node in nodes if isinstance(node, engine_graph.Convolution)}

    def value(node: Any) -> np.ndarray:
        convolution = convolutions.get(node.input if isinstance(node, engine_graph.Ordinary) else node.output)
        if convolution is None:  # a pool, or the classifier
            found = seen[node.name]
            return found[:, :, 0, 0] if isinstance(node, engine_graph.GlobalPool) else found
        block = last.get(convolution.name)
        if node.output not in activated_apart:
            return seen[block or convolution.name]
        if block and convolution.residual is not None:
            return seen[convolution.name] + seen[f"{block}.shortcut"]
        return seen[f"{convolution.name}.normalization"]

    return {node.output: value(node) for node in nodes}


def _is_residual(module: Any) -> bool:
    return isinstance(module, ResidualLayer)


def close(what: str, found: Any, expected: Any, rms: float = 6e-6, largest: float = 5e-5) -> None:
    """Assert small differences, and the same shape.

    Differences are relative to the standard deviation of the expected array: a wrong result is off by about 1.

    Parameters
    ----------
    rms : float
        Allowed root of the mean square of all differences.
    largest : float
        Allowed largest difference.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, f"{what}: shape {found.shape}, expected {expected.shape}"
    difference = np.abs(found.astype(np.float64) - expected) / max(float(expected.std()), 1e-30)
    for measure, error, allowed in (
        ("rms", float(np.sqrt((difference**2).mean())), rms), ("largest", float(difference.max()), largest)
    ):  # fmt: skip
        kind = f"{what.partition(':')[0]} ({measure})"
        LARGEST[kind] = max(error, LARGEST.get(kind, (0.0, 0.0))[0]), allowed
        assert error <= allowed, f"{what}: {measure} error {error:.1e} of a standard deviation, allowed {allowed:.0e}"

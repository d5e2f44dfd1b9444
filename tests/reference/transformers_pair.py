"""The same network in Transformers and here: random weights, random statistics, then calibrated to its input."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers

import npresnet

BASIC = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]}
BOTTLENECK = {"layer_type": "bottleneck", "hidden_sizes": [256, 512, 1024, 2048]}


class Case(NamedTuple):
    """A configuration and the size of its input."""

    fields: dict[str, Any]
    image: tuple[int, int]
    batch: int = 4


CASES = {
    "18": Case({**BASIC, "depths": [2, 2, 2, 2], "num_labels": 1000}, (96, 64)),
    "34": Case({**BASIC, "depths": [3, 4, 6, 3], "num_labels": 10}, (80, 64)),
    "50": Case({**BOTTLENECK, "depths": [3, 4, 6, 3], "num_labels": 1000}, (64, 96), 3),
    "101": Case({**BOTTLENECK, "depths": [3, 4, 23, 3], "num_labels": 10}, (64, 64), 2),
    "152": Case({**BOTTLENECK, "depths": [3, 8, 36, 3], "num_labels": 10}, (64, 64), 2),
    "grey": Case(
        {
            "layer_type": "basic", "depths": [1, 2], "hidden_sizes": [24, 40], "embedding_size": 12,
            "hidden_act": "gelu", "downsample_in_first_stage": True, "num_channels": 1, "num_labels": 1,
        },
        (75, 53),
    ),
    "four channels, v1": Case(
        {
            "layer_type": "bottleneck", "depths": [2, 1, 3], "hidden_sizes": [16, 16, 48], "embedding_size": 16,
            "hidden_act": "silu", "downsample_in_bottleneck": True, "num_channels": 4, "num_labels": 7,
        },
        (97, 65),
    ),
    "one stage, no labels": Case(
        {
            "layer_type": "bottleneck", "depths": [1], "hidden_sizes": [20], "embedding_size": 10,
            "hidden_act": "tanh", "num_labels": 0,
        },
        (33, 47),
    ),
    "five stages": Case(
        {
            "layer_type": "basic", "depths": [1, 1, 1, 1, 1], "hidden_sizes": [8, 12, 16, 20, 24],
            "embedding_size": 8, "hidden_act": "leaky_relu", "num_labels": 3,
        },
        (161, 129),
    ),
    "both strides": Case(
        {
            "layer_type": "bottleneck", "depths": [1, 2, 1, 2], "hidden_sizes": [30, 64, 50, 36],
            "embedding_size": 30, "hidden_act": "relu6", "downsample_in_first_stage": True,
            "downsample_in_bottleneck": True, "num_labels": 5,
        },
        (127, 128),
    ),
    "narrowing": Case(
        {
            "layer_type": "basic", "depths": [2, 3], "hidden_sizes": [32, 8], "embedding_size": 40,
            "num_channels": 2, "num_labels": 2,
        },
        (41, 40),
    ),
}  # fmt: skip
DEPTHS = ("18", "34", "50", "101", "152")
ODD = tuple(name for name in CASES if name not in DEPTHS)


class Evaluation(NamedTuple):
    """What Transformers computes in evaluation mode, and what it computes it from."""

    config: dict[str, Any]
    state: dict[str, np.ndarray]
    pixel_values: np.ndarray
    logits: np.ndarray
    hidden_states: list[np.ndarray]
    last_hidden_state: np.ndarray
    pooler_output: np.ndarray
    feature_maps: list[np.ndarray]


class TrainingStep(NamedTuple):
    """What Transformers computes in a forward and backward pass in training mode, and from which input."""

    pixel_values: np.ndarray
    labels: np.ndarray | None
    dlogits: np.ndarray  # the upstream gradient of a network without labels
    loss: float
    logits: np.ndarray
    gradients: dict[str, np.ndarray]
    pixel_gradient: np.ndarray
    statistics: dict[str, np.ndarray]


def randomize(model: torch.nn.Module, last: float) -> None:
    """Draw all that Transformers starts with a constant: weights, biases and statistics of the BatchNorms.

    ``last`` is the size of the weight of the last BatchNorm of every residual layer. It is small, as in trained
    networks: otherwise each layer amplifies the rounding errors of the one before.
    """
    generator = torch.Generator().manual_seed(0)
    ending = f".layer.{2 if model.config.layer_type == 'bottleneck' else 1}.normalization"
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                size = last if name.endswith(ending) else 1
                module.weight.uniform_(0.5 * size, 1.5 * size, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)


def calibrate(model: torch.nn.Module, pixel_values: torch.Tensor, passes: int = 4) -> None:
    """Let the running statistics come near those of the input; otherwise deep networks hardly depend on it."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in norms:
        module.momentum = 0.5
    model.train()
    with torch.no_grad():
        for _ in range(passes):
            model(pixel_values)
    for module in norms:
        module.momentum = 0.1
    model.eval()


def draw(name: str, dtype: str, seed: int = 2) -> np.ndarray:
    """The input of a case."""
    shape = (CASES[name].batch, CASES[name].fields.get("num_channels", 3), *CASES[name].image)
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def numpy_state(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """Copies of all parameters and buffers."""
    return {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}


@lru_cache(maxsize=1)
def build(name: str, dtype: str, last: float = 0.2) -> tuple[Any, dict[str, np.ndarray]]:
    """The model of a case in evaluation mode, calibrated to its input; and its arrays."""
    fields = CASES[name].fields
    torch.manual_seed(1)
    config = transformers.ResNetConfig(**fields, out_features=["stem", f"stage{len(fields['depths'])}"])
    model = transformers.ResNetForImageClassification(config)
    randomize(model, last)
    model.to(getattr(torch, dtype))
    calibrate(model, torch.from_numpy(draw(name, dtype)))
    return model, numpy_state(model)


@lru_cache(maxsize=1)
def evaluation(name: str, dtype: str) -> Evaluation:
    """Run all three models of Transformers on a case."""
    model, state = build(name, dtype)
    x = torch.from_numpy(draw(name, dtype))
    backbone = transformers.ResNetBackbone(model.config).to(model.dtype).eval()
    backbone.load_state_dict(model.resnet.state_dict())
    with torch.no_grad():
        out = model(x, output_hidden_states=True)
        features = model.resnet(x)
        maps = backbone(x).feature_maps
    return Evaluation(
        model.config.to_dict(), state, x.numpy(), out.logits.numpy(), [h.numpy() for h in out.hidden_states],
        features.last_hidden_state.numpy(), features.pooler_output.numpy(), [m.numpy() for m in maps],
    )  # fmt: skip


def training_step(model: Any, pixel_values: np.ndarray) -> TrainingStep:
    """Run forward and backward in Transformers."""
    rng = np.random.default_rng(3)
    classes, batch, dtype = model.config.num_labels, len(pixel_values), pixel_values.dtype
    labels = rng.standard_normal(batch).astype(dtype) if classes == 1 else rng.integers(0, max(classes, 1), batch)
    dlogits = rng.standard_normal((batch, classes or model.config.hidden_sizes[-1])).astype(dtype)
    model.train().zero_grad()
    pixels = torch.from_numpy(pixel_values).requires_grad_()
    out = model(pixels, labels=torch.from_numpy(labels) if classes else None)
    if classes:
        out.loss.backward()
    else:
        (out.logits * torch.from_numpy(dlogits)).sum().backward()
    return TrainingStep(
        pixel_values, labels if classes else None, dlogits,
        out.loss.item() if classes else 0.0, out.logits.detach().numpy(),
        {key: p.grad.numpy() for key, p in model.named_parameters()}, pixels.grad.numpy(),
        {key: value for key, value in numpy_state(model).items() if "running" in key or "tracked" in key},
    )  # fmt: skip


def same_sides(theirs: Any, mine: Any, pixel_values: np.ndarray) -> bool:
    """Whether both networks find every input of every ReLU on the same side of its kinks.

    Of millions of inputs some are so near zero that two correct float32 programs take them for different signs, and
    then the gradients of some parameters differ by percents. Such a sample says nothing.
    """
    seen: dict[str, np.ndarray] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: seen.update({name: output.numpy()}))
        for name, module in theirs.named_modules()
        if name.endswith(".activation") and not isinstance(module, torch.nn.Identity)
    ]
    with torch.no_grad():
        theirs.train()(torch.from_numpy(pixel_values))
    for hook in hooks:
        hook.remove()
    with mine.train().trace() as outputs:
        mine(pixel_values)
    assert seen
    return all(
        np.array_equal(expected > 0, outputs[name] > 0) and np.array_equal(expected < 6, outputs[name] < 6)
        for name, expected in seen.items()
    )


def ours(config: dict[str, Any], state: dict[str, np.ndarray], kind: type | None = None) -> Any:
    """The network here, with the configuration and the weights of Transformers."""
    kind = kind or npresnet.ResNetForImageClassification
    model = kind(npresnet.ResNetConfig.from_dict(config), seed=0).astype(next(iter(state.values())).dtype)
    if kind is not npresnet.ResNetForImageClassification:
        state = {name: array for name, array in state.items() if not name.startswith("classifier")}
    model.load_state_dict(state)
    return model

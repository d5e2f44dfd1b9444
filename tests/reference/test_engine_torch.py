"""The engine beside PyTorch: how far each is from float64, layer by layer, on the networks that people use.

Both sum thousands of float32 numbers, in another order. PyTorch's own error is the measure: the engine may be a few
times as far from the exact result, not more.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers
from agreement import LARGEST
from calibrated import calibrate, noise

from npresnet import ResNetForImageClassification, preset
from npresnet.engine import find_target

NAMES = {"resnet18": 2, "resnet34": 2, "resnet50": 2, "resnet101": 1, "resnet152": 1}  # images, of 224 x 224 pixels
LAYERS = ("ResNetConvLayer", "ResNetShortCut", "ResNetBasicLayer", "ResNetBottleNeckLayer")
TRANSFORMERS_FIELDS = (
    "layer_type", "embedding_size", "hidden_sizes", "depths", "hidden_act", "downsample_in_first_stage",
    "downsample_in_bottleneck", "num_labels",
)  # fmt: skip


class Pair(NamedTuple):
    """One network, and what PyTorch computes: every layer and the logits, in float32 and in float64."""

    model: Any
    other: Any
    x: np.ndarray
    single: dict[str, np.ndarray]
    double: dict[str, np.ndarray]


@contextmanager
def recorded(other: Any) -> Iterator[dict[str, np.ndarray]]:
    """The outputs of layers by name, while the model runs."""
    seen: dict[str, np.ndarray] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: seen.__setitem__(name, output.detach().numpy())

    hooks = [m.register_forward_hook(keep(n)) for n, m in other.named_modules() if type(m).__name__ in LAYERS]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def layers_of(other: Any, x: torch.Tensor) -> dict[str, np.ndarray]:
    with recorded(other) as seen, torch.inference_mode():
        seen["logits"] = other(x).logits.numpy()
    return seen


@functools.lru_cache(maxsize=1)
def pair(name: str) -> Pair:
    model = ResNetForImageClassification(preset(name), seed=0)
    calibrate(model, noise(2, 3, 224, 224, seed=1), np.random.default_rng(1))
    fields = {field: getattr(model.config, field) for field in TRANSFORMERS_FIELDS}
    other = transformers.ResNetForImageClassification(transformers.ResNetConfig(**fields)).eval()
    other.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in model.state_dict().items()})
    x = noise(NAMES[name], 3, 224, 224)
    single = layers_of(other, torch.from_numpy(x))
    double = layers_of(other.double(), torch.from_numpy(x).double())
    return Pair(model, other.float(), x, single, double)


def distance(found: np.ndarray, exact: np.ndarray) -> float:
    """Root of the mean square of the difference."""
    return float(np.sqrt(np.mean((found.astype(np.float64) - exact) ** 2)))


def note(what: str, ratio: float, allowed: float) -> None:
    """For the report of the test run."""
    LARGEST[what] = max(ratio, LARGEST.get(what, (0.0, 0.0))[0]), allowed


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_rounding_errors_are_like_those_of_pytorch(name: str, winograd: bool) -> None:
    """Seen: at most 1.7 times PyTorch's in any layer, and twice in the logits."""
    model, _, x, single, double = pair(name)
    plan = model.compile(winograd=winograd)
    graph = plan.graph
    maps = plan.run(x, [*(node.output for node in graph.convolutions), graph.end])
    assert maps is not None
    ratios = {}
    for node in graph.convolutions:
        key = node.name if node.residual is None else node.name.rpartition(".layer.")[0]
        assert maps[node.output].shape == double[key].shape
        ours, theirs = distance(maps[node.output], double[key]), distance(single[key], double[key])
        assert theirs < 1e-4 * double[key].std(), f"{key}: this network is chaotic"
        ratios[key] = ours / theirs
    worst = max(ratios, key=ratios.__getitem__)
    ours, theirs = (float(np.abs(a - double["logits"]).max()) for a in (maps[graph.end], single["logits"]))
    note("times PyTorch's error, a layer", ratios[worst], 4)
    note("times PyTorch's error, the logits", ours / theirs, 4)
    assert ratios[worst] <= 4, worst
    assert ours <= 4 * theirs
    assert (np.argsort(-maps[graph.end], axis=1)[:, :5] == np.argsort(-double["logits"], axis=1)[:, :5]).all()
    assert ("winograd" in plan.describe().lower()) == winograd


@pytest.mark.skipif(not find_target().has_bf16, reason="this processor has no bfloat16 arithmetic")
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_bfloat16_is_like_that_of_pytorch(name: str) -> None:
    model, other, x, _, double = pair(name)
    found = model.compile(precision="bfloat16")(x).logits
    with torch.inference_mode():
        theirs = other.bfloat16()(torch.from_numpy(x).bfloat16()).logits.float().numpy()
    pair.cache_clear()  # its weights are rounded now
    ratio = distance(found, double["logits"]) / distance(theirs, double["logits"])
    note("times PyTorch's error, bfloat16 logits", ratio, 2)
    assert ratio <= 2

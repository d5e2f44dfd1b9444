"""Compiled training steps beside PyTorch: how far each is from float64, parameter by parameter.

PyTorch's own error in float32 is the measure: the engine may be a few times as far from the exact gradient, not more.
No input of a ReLU is near its kink (:mod:`training_pairs`), so that all differences are rounding.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers
from agreement import LARGEST
from torch import nn
from training_pairs import Pair, Results

from npresnet import preset

torch.set_num_threads(1)

CASES = {"resnet18": (3, 64, 80), "resnet50": (2, 64, 96), "resnet20": (4, 32, 32)}  # N, H, W
SAMPLES = {"resnet18": 1, "resnet50": 1, "resnet20": 5}  # because 16 numbers can be exact by chance
TRANSFORMERS_FIELDS = ("layer_type", "embedding_size", "hidden_sizes", "depths", "hidden_act", "num_labels")


class Layer(nn.Module):
    """A residual layer of the paper's networks for CIFAR, with option A: subsampling, and zeros for new channels."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.second, self.second_norm = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.new, self.stride = out - channels, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second_norm(self.second(torch.relu(self.first_norm(self.first(x)))))
        behind = self.new // 2
        short = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, behind, self.new - behind))
        return torch.relu(y + short)


def cifar_network() -> nn.Sequential:
    """Stem and stages of ResNet-20, and the pool; arrays are in the order of ours."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    for channels, out in ((16, 16), (16, 32), (32, 64)):
        layers += [Layer(channels, out, 1 if out == 16 else 2), Layer(out, out, 1), Layer(out, out, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))


def theirs(name: str, pair: Pair) -> Any:
    """The same network in PyTorch, float32, in training mode."""
    state = {key: torch.from_numpy(np.array(array)) for key, array in pair.model().state_dict().items()}
    if name == "resnet20":
        network = cifar_network()
        keys = list(network.state_dict())
        arrays = [array for key, array in state.items() if key.startswith("resnet.")]
        network.load_state_dict(dict(zip(keys, arrays, strict=True)))
        return network.train()
    config = transformers.ResNetConfig(**{field: getattr(pair.config, field) for field in TRANSFORMERS_FIELDS})
    model = transformers.ResNetForImageClassification(config)
    model.load_state_dict(state)
    return model.resnet.train()


def step(network: Any, pair: Pair, dtype: torch.dtype) -> Results:
    """Forward and backward in PyTorch, under our names."""
    network = network.to(dtype)
    network.zero_grad()
    out = network(torch.from_numpy(pair.x).to(dtype))
    pooled = (out if isinstance(out, torch.Tensor) else out.pooler_output)[:, :, 0, 0]
    (pooled * torch.from_numpy(pair.upstream).to(dtype)).sum().backward()
    own = pair.model().resnet
    gradients = [p.grad.numpy().copy() for p in network.parameters()]
    return Results(
        pooled.detach().numpy(),
        dict(zip([name for name, _ in own.named_parameters()], gradients, strict=True)),
        dict(zip([n for n, _ in own.named_buffers()], [b.numpy().copy() for b in network.buffers()], strict=True)),
    )


class Steps(NamedTuple):
    """A network, and what PyTorch makes of it in both number formats."""

    pair: Pair
    single: Results
    double: Results


@functools.lru_cache(maxsize=1)
def steps(name: str) -> list[Steps]:
    """For some samples, each with weights of its own."""
    config = preset(name)
    fields = {field: getattr(config, field) for field in (*TRANSFORMERS_FIELDS, "stem_type", "shortcut_type")}
    found = []
    for number in range(SAMPLES[name]):
        pair = Pair(CASES[name], seed=20 * number, **fields)
        found.append(Steps(pair, *(step(theirs(name, pair), pair, dtype) for dtype in (torch.float32, torch.float64))))
    return found


def errors(found: Results, exact: Results) -> dict[str, float]:
    """Of every array, relative to the exact one, both by the root of the mean square."""
    values = {"pooled": found.pooled, **found.gradients, **found.buffers}
    result = {}
    for key, expected in {"pooled": exact.pooled, **exact.gradients, **exact.buffers}.items():
        own = values[key]
        assert own is not None
        assert expected is not None
        assert own.shape == expected.shape
        if key.endswith("tracked"):
            assert own == expected
        else:
            result[key] = float(np.linalg.norm((own - expected).ravel()) / np.linalg.norm(expected.ravel()))
    return result


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_rounding_errors_are_like_those_of_pytorch(name: str, winograd: bool) -> None:
    """Seen: at most 1.3 times PyTorch's error of any array, and 3.2 times by Winograd's algorithm."""
    allowed = 4 if winograd else 2
    ours = [errors(pair.found(winograd=winograd), double) for pair, _, double in steps(name)]
    usual = [errors(single, double) for _, single, double in steps(name)]
    ratios = {}
    for key in usual[0]:
        own, other = (np.linalg.norm([sample[key] for sample in samples]) for samples in (ours, usual))
        assert other < 1e-4, f"{key}: this network is chaotic"
        ratios[key] = float(own / other)
    worst = max(ratios, key=ratios.__getitem__)
    kind = "times PyTorch's error, a training step" + " by Winograd" * winograd
    LARGEST[kind] = max(ratios[worst], LARGEST.get(kind, (0.0, 0.0))[0]), allowed
    assert ratios[worst] <= allowed, f"{worst}: {ratios[worst]:.1f} times PyTorch's"

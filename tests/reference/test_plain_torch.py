"""Plain networks against the same ones in PyTorch: forward, backward, statistics, and the compiled plan."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small import network, pixels
from torch import nn

import npresnet
from npresnet import preset

torch.set_num_threads(1)

DEPTHS = (20, 56)


def torch_plain(n: int) -> nn.Sequential:
    """He et al. 2015, section 4.2: a 3x3 convolution, then 2n of 16, 32 and 64 filters each, a pool, a classifier."""
    layers: list[nn.Module] = []
    before = 3
    for stage, width in enumerate([16, 16, 32, 64]):
        for number in range(1 if stage == 0 else 2 * n):
            stride = 2 if stage > 1 and number == 0 else 1
            layers += [nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def pair(depth: int, dtype: str) -> tuple[Any, nn.Sequential]:
    """Both networks with the same numbers; the order of the arrays is the same, their names are not."""
    config = preset(f"plain{depth}")
    fields = {"depths": config.depths, "hidden_sizes": config.hidden_sizes, "embedding_size": 16, "num_labels": 10}
    model = network(dtype=dtype, stem_type="cifar", shortcut_type="none", **fields)
    assert model.config == config
    theirs = torch_plain((depth - 2) // 6).to(getattr(torch, dtype))
    state = [torch.from_numpy(array) for array in model.state_dict().values()]
    keys = list(theirs.state_dict())
    assert len(keys) == len(state)
    theirs.load_state_dict(dict(zip(keys, state, strict=True)))
    return model, theirs.eval()


def agree(found: np.ndarray, expected: torch.Tensor, name: str = "") -> None:
    """Equal to 1e-9 of the largest value."""
    wanted = expected.detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * max(np.abs(wanted).max(), 1e-30), err_msg=name)


@pytest.mark.parametrize("depth", DEPTHS)
def test_forward_and_backward(depth: int) -> None:
    model, theirs = pair(depth, "float64")
    x, labels = pixels(4, 3, 32, 32, dtype="float64"), np.array([3, 1, 9, 3])
    agree(model(x).logits, theirs(torch.from_numpy(x)))

    out = model.train()(x, labels)
    dx = model.backward(input_gradient=True)
    images = torch.from_numpy(x).requires_grad_()
    logits = theirs.train()(images)
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    loss.backward()
    assert out.loss == pytest.approx(loss.item(), rel=1e-10)
    agree(out.logits, logits)
    agree(dx, images.grad)
    for (name, parameter), other in zip(model.named_parameters(), theirs.parameters(), strict=True):
        agree(parameter.grad, other.grad, name)
    for (name, buffer), other in zip(model.named_buffers(), theirs.buffers(), strict=True):
        agree(buffer, other, name)


@pytest.mark.parametrize("depth", DEPTHS)
def test_compiled(depth: int) -> None:
    model, theirs = pair(depth, "float32")
    x = pixels(3, 3, 32, 32)
    found = model.compile()(x).logits
    expected = theirs.double()(torch.from_numpy(x).double()).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_weights_under_the_names_of_torch() -> None:
    model, theirs = pair(20, "float32")
    assert model.num_parameters == sum(p.numel() for p in theirs.parameters()) == npresnet.Plain20().num_parameters

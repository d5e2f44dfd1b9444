"""Every operation against torch.nn.functional, forward and backward, in float64 and float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import Array, Window, dtypes, normal, on_both_backends, seeds, shapes, windows

from npresnet import ops, use_backend
from npresnet.config import ACTIVATION_NAMES
from npresnet.nn import BatchNorm2d

torch.set_num_threads(1)


def assert_agree(found: list[Any], wanted: list[Any], dtype: type) -> None:
    """Equal to 1e-10 in float64, to 2e-5 in float32, of the largest value of each array or of 1."""
    assert len(found) == len(wanted)
    tolerance = 1e-10 if dtype == np.float64 else 2e-5
    for actual, expected in zip(found, wanted, strict=True):
        if actual is None or expected is None:
            assert actual is expected is None
            continue
        actual, expected = np.asarray(actual), np.asarray(expected)
        assert actual.shape == expected.shape
        scale = max(1.0, float(np.max(np.nan_to_num(np.abs(expected)), initial=0.0)))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def torch_gradients(function: Callable[..., torch.Tensor], arrays: list[Array], dy: Array | None = None) -> list[Array]:
    """Output of a function of tensors, and the gradients of its arguments under an upstream gradient."""
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    y = function(*tensors)
    y.backward(torch.ones_like(y) if dy is None else torch.tensor(dy))
    return [y.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)]


def upstream(seed: int, y: Array) -> Array:
    return normal(np.random.default_rng(seed + 1), y.shape, y.dtype)


@on_both_backends
@given(windows(channels=3), seeds, st.integers(1, 3), st.integers(1, 3), dtypes, st.booleans())
def test_conv2d(backend: str, window: Window, seed: int, groups: int, outputs: int, dtype: type, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    N, C, H, W = window.shape
    shape = (groups * outputs, C, *window.kernel)
    arrays = [normal(rng, (N, groups * C, H, W), dtype), normal(rng, shape, dtype)]
    arrays += [normal(rng, shape[:1], dtype)] if bias else []
    with use_backend(backend):
        y, cache = ops.conv2d(*arrays, *[None] * (not bias), *window[2:], groups)
        dy = upstream(seed, y)
        gradients = ops.conv2d_backward(dy, cache)

    def reference(x: Any, weight: Any, bias: Any = None) -> Any:
        return F.conv2d(x, weight, bias, *window[2:], groups)

    assert_agree([y, *gradients[: len(arrays)]], torch_gradients(reference, arrays, dy), dtype)


@on_both_backends
@given(shapes, seeds, dtypes, st.sampled_from([1e-5, 1e-3]), st.sampled_from([0.1, 0.5, 1.0]))
def test_batchnorm(backend: str, shape: tuple[int, ...], seed: int, dtype: type, eps: float, momentum: float) -> None:
    """Three training steps and an evaluation, and the running statistics after each."""
    assume(shape[0] * shape[2] * shape[3] >= 4)
    rng = np.random.default_rng(seed)
    ours = BatchNorm2d(shape[1], eps, momentum).astype(dtype)
    theirs = torch.nn.BatchNorm2d(shape[1], eps, momentum, dtype=torch.tensor(np.zeros(1, dtype)).dtype)
    ours.weight.data, ours.bias.data = normal(rng, shape[1:2], dtype), normal(rng, shape[1:2], dtype)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(ours.weight.data))
        theirs.bias.copy_(torch.tensor(ours.bias.data))
    for step in range(4):
        x = (normal(rng, shape) * rng.uniform(0.5, 2, (1, shape[1], 1, 1)) + rng.uniform(-2, 2)).astype(dtype)
        dy = normal(rng, shape, dtype)
        ours.train(step < 3)
        theirs.train(step < 3)
        ours.zero_grad()
        theirs.zero_grad()
        with use_backend(backend), ours.enable_grad():
            y = ours(x)
            dx = ours.backward(dy)
        wanted = torch_gradients(theirs, [x], dy)
        found = [y, dx, ours.weight.grad, ours.bias.grad, ours.running_mean, ours.running_var]
        assert theirs.running_mean is not None
        assert theirs.running_var is not None
        wanted += [theirs.weight.grad.numpy(), theirs.bias.grad.numpy()]
        wanted += [theirs.running_mean.numpy(), theirs.running_var.numpy()]
        largest = float(np.max(1 / np.sqrt(x.var(axis=(0, 2, 3)) + eps)))  # rounding of x is magnified by 1 / deviation
        assume(dtype == np.float64 or largest < 5)
        assert_agree(found, wanted, dtype)
        assert ours.num_batches_tracked == theirs.num_batches_tracked


@on_both_backends
@given(windows(pool=True), seeds, dtypes, st.booleans(), st.booleans())
def test_max_pool2d(backend: str, window: Window, seed: int, dtype: type, ceil_mode: bool, ties: bool) -> None:
    """Ties included: the first of equal pixels wins there too."""
    x = normal(np.random.default_rng(seed), window.shape, dtype)
    if ties:
        x = np.round(x)
    with use_backend(backend):
        if F.max_pool2d(torch.tensor(x), *window[1:], ceil_mode).isinf().any():  # PyTorch's largest of no pixels
            with pytest.raises(ValueError, match="sees padding only"):
                ops.max_pool2d(x, *window[1:], ceil_mode)
            return
        y, cache = ops.max_pool2d(x, *window[1:], ceil_mode)
        dy = upstream(seed, y)
        dx = ops.max_pool2d_backward(dy, cache)
    wanted = torch_gradients(lambda x: F.max_pool2d(x, *window[1:], ceil_mode), [x], dy)
    assert_agree([y, dx], wanted, dtype)


@on_both_backends
@given(windows(pool=True, dilated=False), seeds, dtypes, st.booleans(), st.booleans())
def test_avg_pool2d(
    backend: str, window: Window, seed: int, dtype: type, ceil_mode: bool, count_include_pad: bool
) -> None:
    x = normal(np.random.default_rng(seed), window.shape, dtype)
    geometry = (*window[1:4], ceil_mode, count_include_pad)
    with use_backend(backend):
        y, cache = ops.avg_pool2d(x, *geometry)
        dy = upstream(seed, y)
        dx = ops.avg_pool2d_backward(dy, cache)
    assert_agree([y, dx], torch_gradients(lambda x: F.avg_pool2d(x, *geometry), [x], dy), dtype)


@pytest.mark.parametrize("kind", ["avg", "max", "avgmax", "catavgmax"])
@given(shapes, seeds, dtypes, st.booleans())
def test_global_pool2d(kind: str, shape: tuple[int, ...], seed: int, dtype: type, ties: bool) -> None:
    x = normal(np.random.default_rng(seed), shape, dtype)
    if ties:
        x = np.round(x)
    y, cache = ops.global_pool2d(x, kind)
    dy = upstream(seed, y)

    def reference(x: torch.Tensor) -> torch.Tensor:
        mean, largest = F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)
        both = {"avg": mean, "max": largest, "avgmax": 0.5 * (mean + largest)}
        return both[kind] if kind in both else torch.cat([mean, largest], dim=1)

    assert_agree([y, ops.global_pool2d_backward(dy, cache)], torch_gradients(reference, [x], dy), dtype)


TORCH_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "elu": F.elu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x * 1,
}


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@on_both_backends
@given(shapes, seeds, dtypes, st.sampled_from([1, 3, 30]))
def test_activation(backend: str, name: str, shape: tuple[int, ...], seed: int, dtype: type, scale: float) -> None:
    x = scale * normal(np.random.default_rng(seed), shape, dtype)
    with use_backend(backend):
        y, cache = ops.activation(x, name)
        dy = upstream(seed, y)
        dx = ops.activation_backward(dy, cache)
    assert y.dtype == dx.dtype == dtype
    assert_agree([y, dx], torch_gradients(TORCH_ACTIVATIONS[name], [x], dy), dtype)


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 30), seeds, dtypes, st.booleans())
def test_linear(n: int, f: int, o: int, seed: int, dtype: type, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    arrays = [normal(rng, shape, dtype) for shape in ((n, f), (o, f), (o,))][: 3 if bias else 2]
    y, cache = ops.linear(*arrays)
    dy = upstream(seed, y)
    gradients = ops.linear_backward(dy, cache)[: len(arrays)]
    assert_agree([y, *gradients], torch_gradients(F.linear, arrays, dy), dtype)


@given(
    st.tuples(st.integers(1, 6), st.integers(1, 8)),
    seeds,
    dtypes,
    st.sampled_from([0.0, 0.1, 1.0]),
    st.booleans(),
    st.sampled_from(["hard", "ignored", "all ignored", "soft"]),
)
def test_cross_entropy(
    shape: tuple[int, int], seed: int, dtype: type, smoothing: float, weighted: bool, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    logits = 3 * normal(rng, shape, dtype)
    labels: Array = rng.integers(0, shape[1], shape[0])
    if kind == "ignored":
        labels[1:][rng.random(shape[0] - 1) < 0.4] = 99
    elif kind == "all ignored":
        labels[:] = 99
    elif kind == "soft":
        labels = rng.dirichlet(np.ones(shape[1]), shape[0]).astype(dtype)
    weights = rng.uniform(0.2, 3, shape[1]).astype(dtype) if weighted else None

    loss, cache = ops.cross_entropy(logits, labels, smoothing, weights, ignore_index=99)

    def reference(logits: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(
            logits,
            torch.tensor(labels),
            None if weights is None else torch.tensor(weights),
            ignore_index=-100 if kind == "soft" else 99,
            label_smoothing=smoothing,
        )

    wanted = torch_gradients(reference, [logits])
    assert np.isnan(loss) == (kind == "all ignored")
    assert_agree([loss, ops.cross_entropy_backward(cache)], wanted, dtype)
    np.testing.assert_allclose(ops.cross_entropy_backward(cache, 2.5), 2.5 * wanted[1], atol=1e-4)


def test_cross_entropy_of_masked_logits() -> None:
    logits = np.array([[0.0, -np.inf, 1.0], [2.0, 1.0, -np.inf]])
    loss, cache = ops.cross_entropy(logits, [0, 1])
    wanted = torch_gradients(lambda x: F.cross_entropy(x, torch.tensor([0, 1])), [logits])
    assert_agree([loss, ops.cross_entropy_backward(cache)], wanted, np.float64)


@given(st.tuples(st.integers(1, 5), st.integers(1, 5)), seeds, dtypes, st.sampled_from([1, 10, 300]))
def test_bce_and_mse(shape: tuple[int, int], seed: int, dtype: type, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x, labels = scale * normal(rng, shape, dtype), rng.uniform(0, 1, shape).astype(dtype)
    loss, cache = ops.bce_with_logits(x, labels)
    wanted = torch_gradients(lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(labels)), [x])
    assert_agree([loss, ops.bce_with_logits_backward(cache)], wanted, dtype)
    loss, mse_cache = ops.mse(x, labels)
    wanted = torch_gradients(lambda x: F.mse_loss(x, torch.tensor(labels)), [x])
    assert_agree([loss, ops.mse_backward(mse_cache)], wanted, dtype)


@given(shapes, st.integers(0, 5), st.integers(1, 3), seeds, dtypes)
def test_zero_pad_shortcut(shape: tuple[int, ...], extra: int, stride: int, seed: int, dtype: type) -> None:
    """Option A as the CIFAR reimplementations in PyTorch write it."""
    x = normal(np.random.default_rng(seed), shape, dtype)
    y, cache = ops.zero_pad_shortcut(x, shape[1] + extra, stride)
    dy = upstream(seed, y)
    pads = (0, 0, 0, 0, extra // 2, extra - extra // 2)
    wanted = torch_gradients(lambda x: F.pad(x[:, :, ::stride, ::stride], pads), [x], dy)
    assert_agree([y, ops.zero_pad_shortcut_backward(dy, cache)], wanted, dtype)

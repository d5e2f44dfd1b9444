"""Batch normalisation against its definition, channel by channel, and against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import (
    Array,
    assert_close,
    dtypes,
    frozen,
    frozen_cache,
    laid_out,
    layouts,
    normal,
    on_both_backends,
    seeds,
    shapes,
    unchanged,
)

from npresnet import use_backend
from npresnet.gradcheck import gradcheck
from npresnet.ops import (
    batchnorm2d_eval,
    batchnorm2d_eval_backward,
    batchnorm2d_train,
    batchnorm2d_train_backward,
    updated_running_statistics,
)

EPS = 1e-5


def draw_arrays(seed: int, shape: tuple[int, ...], dtype: type = np.float64) -> tuple[Array, Array, Array]:
    """x, every channel with its own mean and deviation; weight and bias."""
    rng = np.random.default_rng(seed)
    channel = (1, shape[1], 1, 1)
    x = rng.standard_normal(shape) * rng.uniform(0.5, 2, channel) + rng.uniform(-2, 2, channel)
    return frozen(x.astype(dtype)), normal(rng, shape[1:2], dtype), normal(rng, shape[1:2], dtype)


def several_values(shape: tuple[int, ...]) -> None:
    """With two or three values a channel, dx is the small difference of large numbers."""
    assume(shape[0] * shape[2] * shape[3] >= 4)


def normalised(x: Array, mean: Array, var: Array, weight: Array, bias: Array, eps: float) -> Array:
    """The definition, one channel at a time, in float64."""
    y = np.empty(x.shape)
    for c in range(x.shape[1]):
        y[:, c] = (x[:, c].astype(np.float64) - mean[c]) / np.sqrt(float(var[c]) + eps) * weight[c] + bias[c]
    return y


@on_both_backends
@given(shapes, seeds, dtypes, layouts, st.sampled_from([1e-5, 1e-3, 1.0]))
def test_train(backend: str, shape: tuple[int, ...], seed: int, dtype: type, layout: str, eps: float) -> None:
    several_values(shape)
    x, weight, bias = draw_arrays(seed, shape, dtype)
    x = laid_out(x, layout)
    assume(layout != "broadcast" or shape[2] * shape[3] >= 4)
    with use_backend(backend):
        y, cache = batchnorm2d_train(x, weight, bias, eps)
    channels = [x[:, c].astype(np.float64).ravel().tolist() for c in range(shape[1])]
    m = len(channels[0])
    mean = np.array([sum(values) / m for values in channels])
    var = np.array([sum((v - centre) ** 2 for v in values) / m for values, centre in zip(channels, mean, strict=True)])
    assert y.dtype == cache.mean.dtype == cache.var.dtype == dtype
    assert_close(cache.mean, mean, dtype)
    assert_close(cache.var, var, dtype)
    assert_close(y, normalised(x, mean, var, weight, bias, eps), dtype, factor=10)


@on_both_backends
@given(shapes, seeds, dtypes, layouts)
def test_eval(backend: str, shape: tuple[int, ...], seed: int, dtype: type, layout: str) -> None:
    x, weight, bias = draw_arrays(seed, shape, dtype)
    rng = np.random.default_rng(seed + 1)
    mean, var = normal(rng, shape[1:2], dtype), frozen(rng.uniform(0.1, 2, shape[1]).astype(dtype))
    with use_backend(backend):
        y, _ = batchnorm2d_eval(laid_out(x, layout), weight, bias, mean, var, EPS)
    assert y.dtype == dtype
    assert_close(y, normalised(laid_out(x, layout), mean, var, weight, bias, EPS), dtype, factor=10)


@on_both_backends
@given(shapes, seeds)
def test_train_gradients(backend: str, shape: tuple[int, ...], seed: int) -> None:
    several_values(shape)
    with use_backend(backend):
        report = gradcheck(
            batchnorm2d_train, batchnorm2d_train_backward, *draw_arrays(seed, shape), seed=seed, samples=20
        )
    report.raise_if_wrong()


@on_both_backends
@given(shapes, seeds)
def test_eval_gradients(backend: str, shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed + 1)
    mean, var = normal(rng, shape[1:2]), frozen(rng.uniform(0.1, 2, shape[1]))

    def forward(x: Array, weight: Array, bias: Array) -> Any:
        return batchnorm2d_eval(x, weight, bias, mean, var)

    with use_backend(backend):
        report = gradcheck(forward, batchnorm2d_eval_backward, *draw_arrays(seed, shape), seed=seed, samples=20)
    report.raise_if_wrong()


@on_both_backends
@given(shapes, seeds, layouts, st.booleans())
def test_float32_gradients(backend: str, shape: tuple[int, ...], seed: int, layout: str, train: bool) -> None:
    """Those of float64, which differences confirm, up to rounding; nothing that is read is written to."""
    several_values(shape)
    results = []
    for dtype in (np.float32, np.float64):
        x, weight, bias = draw_arrays(seed, shape, dtype)
        dy = laid_out(normal(np.random.default_rng(seed + 1), shape, np.float32), layout).astype(dtype)
        with use_backend(backend):
            if train:
                _, cache = batchnorm2d_train(x, weight, bias)
                with unchanged(cache):
                    results.append(batchnorm2d_train_backward(frozen(dy), cache))
            else:
                _, cache = batchnorm2d_eval(x, weight, bias, bias, frozen(weight**2))
                with unchanged(cache):
                    results.append(batchnorm2d_eval_backward(frozen(dy), cache))
    for single, double in zip(*results, strict=True):
        assert single.dtype == np.float32
        assert_close(single, double, np.float32, factor=30)


@given(shapes, seeds)
def test_what_the_batch_statistics_take_away(shape: tuple[int, ...], seed: int) -> None:
    """dx is orthogonal to the two things that normalisation removes: a shift and a scale of the channel.

    So an upstream gradient of ones gives no dx at all, and a gradient check with it finds no mistake.
    """
    several_values(shape)
    x, weight, bias = draw_arrays(seed, shape)
    _, cache = batchnorm2d_train(x, weight, bias, 1e-12)
    dx, _, _ = batchnorm2d_train_backward(normal(np.random.default_rng(seed + 1), shape), cache)
    scale = 1e-9 * (1 + np.abs(dx).max())
    np.testing.assert_allclose(dx.sum(axis=(0, 2, 3)), 0, atol=scale)
    np.testing.assert_allclose((dx * x).sum(axis=(0, 2, 3)), 0, atol=10 * scale)
    dx, _, dbias = batchnorm2d_train_backward(frozen(np.ones(shape)), cache)
    np.testing.assert_allclose(dx, 0, atol=1e-12 * (1 + np.abs(cache.inv_std * weight).max()))
    np.testing.assert_allclose(dbias, x.size / shape[1])


@given(shapes, seeds, dtypes, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_running_statistics(shape: tuple[int, ...], seed: int, dtype: type, momentum: float) -> None:
    """Three batches: the momentum is the weight of the new value, and the variance collected is the unbiased one."""
    several_values(shape)
    mean, var = np.zeros(shape[1], dtype), np.ones(shape[1], dtype)
    expected_mean, expected_var = np.zeros(shape[1]), np.ones(shape[1])
    for step in range(3):
        x, weight, bias = draw_arrays(seed + step, shape, dtype)
        _, cache = batchnorm2d_train(x, weight, bias)
        mean, var = updated_running_statistics(frozen(mean), frozen(var), frozen_cache(cache), momentum)
        exact = x.astype(np.float64)
        expected_mean = expected_mean + momentum * (exact.mean(axis=(0, 2, 3)) - expected_mean)
        expected_var = expected_var + momentum * (exact.var(axis=(0, 2, 3), ddof=1) - expected_var)
    assert mean.dtype == var.dtype == dtype
    assert_close(mean, expected_mean, dtype)
    assert_close(var, expected_var, dtype)


def test_two_values_by_hand() -> None:
    """Values 1 and 3: mean 2, biased variance 1, unbiased 2."""
    x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    y, cache = batchnorm2d_train(x, np.array([10.0]), np.array([5.0]), 0.0)
    np.testing.assert_array_equal(y.ravel(), [-5, 15])
    mean, var = updated_running_statistics(np.zeros(1), np.ones(1), cache, 0.1)
    np.testing.assert_allclose((mean[0], var[0]), (0.2, 0.9 + 0.1 * 2))


X, C = np.random.default_rng(0).standard_normal((2, 3, 4, 5)), np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X.astype(np.float16), C, C), TypeError, "x must be float32 or float64, found float16"),
        ((X.astype(np.uint8), C, C), TypeError, "x must be float32 or float64, found uint8"),
        ((X.astype(np.float32), C, C), TypeError, "weight is float64 but the input is float32"),
        ((X, C, C.astype(np.float32)), TypeError, "bias is float32 but the input is float64"),
        ((X[0], C, C), ValueError, r"x must have 4 dimensions \(N, C, H, W\), found shape \(3, 4, 5\)"),
        ((X[:, :, :0], C, C), ValueError, "x is empty"),
        ((X, C[:2], C), ValueError, r"weight must have shape \(3,\), found \(2,\)"),
        ((X, C, np.ones(4)), ValueError, r"bias must have shape \(3,\), found \(4,\)"),
    ],
)
def test_errors(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        batchnorm2d_train(*arguments)
    with pytest.raises(error, match=message):
        batchnorm2d_eval(*arguments, C, C)


def test_more_errors() -> None:
    with pytest.raises(ValueError, match=r"more than one value per channel, found shape \(1, 3, 1, 1\).*larger batch"):
        batchnorm2d_train(X[:1, :, :1, :1], C, C)
    batchnorm2d_eval(X[:1, :, :1, :1], C, C, C, C)  # in evaluation mode one value will do
    with pytest.raises(ValueError, match=r"var must have shape \(3,\), found \(1,\)"):
        batchnorm2d_eval(X, C, C, C, C[:1])
    for backward, (_, cache) in (
        (batchnorm2d_train_backward, batchnorm2d_train(X, C, C)),
        (batchnorm2d_eval_backward, batchnorm2d_eval(X, C, C, C, C)),
    ):
        with pytest.raises(ValueError, match=r"dy must have shape \(2, 3, 4, 5\), found \(1, 3, 4, 5\)"):
            backward(X[:1], cache)
        with pytest.raises(TypeError, match="dy is float32 but the input is float64"):
            backward(X.astype(np.float32), cache)

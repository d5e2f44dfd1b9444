"""Pooling against its definition, window by window, and against differences."""

from __future__ import annotations

from typing import Any

import formulas
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import (
    Array,
    Window,
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
    windows,
)

from npresnet import ops, use_backend
from npresnet.gradcheck import gradcheck

KINDS = ("avg", "max", "avgmax", "catavgmax")


def draw_image(seed: int, window: Window, dtype: type = np.float64, ties: bool = False) -> Array:
    """Normal numbers, or small integers with many ties."""
    rng = np.random.default_rng(seed)
    return frozen(rng.integers(-2, 2, window.shape).astype(dtype)) if ties else normal(rng, window.shape, dtype)


def some_window_is_empty(window: Window, ceil_mode: bool) -> bool:
    """Whether a dilated window steps over the whole image."""
    for a in range(2):
        size, kernel, stride, padding, dilation = (window.shape[2 + a], *(pair[a] for pair in window[1:]))
        for p in range(formulas.pool_size(size, kernel, stride, padding, dilation, ceil_mode)):
            if not any(0 <= p * stride + i * dilation - padding < size for i in range(kernel)):
                return True
    return False


@on_both_backends
@given(windows(pool=True), seeds, dtypes, layouts, st.booleans(), st.booleans())
def test_max(backend: str, window: Window, seed: int, dtype: type, layout: str, ties: bool, ceil_mode: bool) -> None:
    assume(not some_window_is_empty(window, ceil_mode))
    x = laid_out(draw_image(seed, window, dtype, ties), layout)
    with use_backend(backend):
        y, cache = ops.max_pool2d(x, *window[1:], ceil_mode)
        np.testing.assert_array_equal(y, formulas.max_pool2d(x, *window[1:], ceil_mode))
        assert y.dtype == dtype
        dy = normal(np.random.default_rng(seed + 1), y.shape, dtype)
        dx = ops.max_pool2d_backward(laid_out(dy, layout), frozen_cache(cache))
    assert dx.dtype == dtype
    assert_close(dx, max_gradient(laid_out(dy, layout), x, window, ceil_mode), dtype)


def max_gradient(dy: Array, x: Array, window: Window, ceil_mode: bool) -> Array:
    """Every window gives its gradient to the first of its largest pixels."""
    (H, W), dx = x.shape[2:], np.zeros(x.shape)
    for n, c, p, q in np.ndindex(*dy.shape):
        pixels = [
            (row, column)
            for i in range(window.kernel[0])
            for j in range(window.kernel[1])
            if 0 <= (row := p * window.stride[0] + i * window.dilation[0] - window.padding[0]) < H
            and 0 <= (column := q * window.stride[1] + j * window.dilation[1] - window.padding[1]) < W
        ]
        winner = max(pixels, key=lambda pixel: x[n, c, pixel[0], pixel[1]])  # the first, if several are largest
        dx[n, c, winner[0], winner[1]] += dy[n, c, p, q]
    return dx


@on_both_backends
@given(windows(pool=True), seeds, st.booleans())
def test_max_gradients(backend: str, window: Window, seed: int, ceil_mode: bool) -> None:
    assume(not some_window_is_empty(window, ceil_mode))
    with use_backend(backend):
        report = gradcheck(
            lambda x: ops.max_pool2d(x, *window[1:], ceil_mode), ops.max_pool2d_backward, draw_image(seed, window)
        )
    report.raise_if_wrong()


@on_both_backends
@given(windows(pool=True, dilated=False), seeds, dtypes, layouts, st.booleans(), st.booleans())
def test_average(
    backend: str, window: Window, seed: int, dtype: type, layout: str, ceil_mode: bool, count_include_pad: bool
) -> None:
    x = laid_out(draw_image(seed, window, dtype), layout)
    geometry = (*window[1:4], ceil_mode, count_include_pad)
    with use_backend(backend):
        y, cache = ops.avg_pool2d(x, *geometry)
        dy = normal(np.random.default_rng(seed + 1), y.shape, dtype)
        dx = ops.avg_pool2d_backward(laid_out(dy, layout), frozen_cache(cache))
    assert y.dtype == dx.dtype == dtype
    assert_close(y, formulas.avg_pool2d(x, *geometry), dtype)
    ones = formulas.avg_pool2d(np.ones(x.shape), *geometry)  # a linear function: sum(dx) is what ones would give
    assert_close(dx.sum(axis=(2, 3)), (laid_out(dy, layout) * ones).sum(axis=(2, 3)), dtype, factor=5)


@on_both_backends
@given(windows(pool=True, dilated=False), seeds, st.booleans(), st.booleans())
def test_average_gradients(backend: str, window: Window, seed: int, ceil_mode: bool, count_include_pad: bool) -> None:
    def forward(x: Array) -> Any:
        return ops.avg_pool2d(x, *window[1:4], ceil_mode, count_include_pad)

    with use_backend(backend):
        gradcheck(forward, ops.avg_pool2d_backward, draw_image(seed, window), samples=40).raise_if_wrong()


@pytest.mark.parametrize("kind", KINDS)
@given(shapes, seeds, dtypes, layouts)
def test_global(kind: str, shape: tuple[int, ...], seed: int, dtype: type, layout: str) -> None:
    x = laid_out(normal(np.random.default_rng(seed), shape, dtype), layout)
    y, cache = ops.global_pool2d(x, kind)
    mean = np.array([[sum(x[n, c].ravel().tolist()) / x[n, c].size for c in range(shape[1])] for n in range(shape[0])])
    largest = np.array([[max(x[n, c].ravel().tolist()) for c in range(shape[1])] for n in range(shape[0])])
    expected = {
        "avg": mean,
        "max": largest,
        "avgmax": (mean + largest) / 2,
        "catavgmax": np.concatenate([mean, largest], axis=1),
    }[kind]
    assert y.dtype == dtype
    assert_close(y, expected[:, :, None, None], dtype)
    dx = ops.global_pool2d_backward(
        laid_out(normal(np.random.default_rng(1), y.shape, dtype), layout), frozen_cache(cache)
    )
    assert dx.dtype == dtype
    assert dx.shape == shape


@pytest.mark.parametrize("kind", KINDS)
@given(shapes, seeds)
def test_global_gradients(kind: str, shape: tuple[int, ...], seed: int) -> None:
    x = normal(np.random.default_rng(seed), shape)
    gradcheck(lambda x: ops.global_pool2d(x, kind), ops.global_pool2d_backward, x, samples=30).raise_if_wrong()


def test_global_maximum_of_equal_pixels() -> None:
    """All of the gradient goes to the first, none of it to the others."""
    x = np.array([[1.0, 3.0], [3.0, 3.0]]).reshape(1, 1, 2, 2)
    dy = np.full((1, 1, 1, 1), 8.0)
    for kind, expected in {"max": [[0, 8], [0, 0]], "avgmax": [[1, 5], [1, 1]], "avg": [[2, 2], [2, 2]]}.items():
        dx = ops.global_pool2d_backward(dy, ops.global_pool2d(x, kind)[1])
        np.testing.assert_array_equal(dx[0, 0], expected)


@on_both_backends
def test_overlapping_windows_add_up(backend: str) -> None:
    """3x3 windows at stride 2, as in the stem: the largest pixel wins all four."""
    x = np.zeros((1, 1, 5, 5))
    x[0, 0, 2, 2] = 1
    with use_backend(backend):
        y, cache = ops.max_pool2d(x, 3, 2)
        dx = ops.max_pool2d_backward(np.array([[1, 10], [100, 1000]], np.float64).reshape(1, 1, 2, 2), cache)
    np.testing.assert_array_equal(y, np.ones((1, 1, 2, 2)))
    assert dx[0, 0, 2, 2] == 1111
    assert np.count_nonzero(dx) == 1


@on_both_backends
def test_padding_never_wins(backend: str) -> None:
    with use_backend(backend):
        y, _ = ops.max_pool2d(np.full((1, 1, 4, 4), -7.0), 3, 2, 1)
        np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -7.0))
        x = np.full((1, 1, 3, 3), -np.inf)
        y, cache = ops.max_pool2d(x, 3, 2, 1)
        np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -np.inf))
        assert cache.argmax.min() >= 0


@on_both_backends
def test_nan_wins(backend: str) -> None:
    x = np.array([[1.0, np.nan], [5.0, 2.0]]).reshape(1, 1, 2, 2)
    with use_backend(backend):
        assert np.isnan(ops.max_pool2d(x, 2)[0]).all()
        assert np.isnan(ops.avg_pool2d(x, 2)[0]).all()
        assert np.isnan(ops.global_pool2d(x, "max")[0]).all()


def test_sizes_of_the_stem() -> None:
    """Torchvision pads and rounds down, Caffe rounds up: 112 becomes 56 either way."""
    x = np.zeros((1, 1, 112, 112), np.float32)
    assert ops.max_pool2d(x, 3, 2, 1)[0].shape == (1, 1, 56, 56)
    assert ops.max_pool2d(x, 3, 2, 0, ceil_mode=True)[0].shape == (1, 1, 56, 56)
    assert ops.max_pool2d(x, 3, 2, 0)[0].shape == (1, 1, 55, 55)
    assert ops.avg_pool2d(x[:, :, :7, :7], 2, ceil_mode=True)[0].shape == (1, 1, 4, 4)


def test_average_by_hand() -> None:
    x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    np.testing.assert_array_equal(ops.avg_pool2d(x, 2)[0][0, 0], [[3]])
    np.testing.assert_array_equal(ops.avg_pool2d(x, 2, ceil_mode=True)[0][0, 0], [[3, 4.5], [7.5, 9]])
    padded = ops.avg_pool2d(x, 2, padding=1)[0][0, 0]
    np.testing.assert_array_equal(padded, [[1 / 4, 5 / 4], [11 / 4, 28 / 4]])
    unpadded = ops.avg_pool2d(x, 2, padding=1, count_include_pad=False)[0][0, 0]
    np.testing.assert_array_equal(unpadded, [[1, 5 / 2], [11 / 2, 28 / 4]])


X = np.ones((2, 3, 5, 6))


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (X.astype(np.float16), {}, TypeError, "x must be float32 or float64, found float16"),
        (X.astype(np.int32), {}, TypeError, "x must be float32 or float64, found int32"),
        (X[0, 0], {}, ValueError, r"x must have 4 dimensions \(N, C, H, W\), found shape \(5, 6\)"),
        (X[:, :0], {}, ValueError, "x is empty"),
        (X, {"kernel": 0}, ValueError, "kernel must be an integer >= 1"),
        (X, {"kernel": 2.0}, ValueError, "kernel must be an integer >= 1"),
        (X, {"stride": 0}, ValueError, "stride must be an integer >= 1"),
        (X, {"padding": -1}, ValueError, "padding must be an integer >= 0"),
        (X, {"padding": 2}, ValueError, r"padding \(2, 2\) of a pool may be at most half of its kernel \(3, 3\)"),
        (X, {"kernel": 6}, ValueError, "the pool spans 6 pixels but the padded image only 5.*larger image"),
    ],
)
def test_errors(x: Array, options: dict[str, Any], error: type[Exception], message: str) -> None:
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        with pytest.raises(error, match=message):
            pool(x, **{"kernel": 3, **options})


def test_more_errors() -> None:
    with pytest.raises(ValueError, match=r"sees padding only.*\(1, 1, 2, 2\).*dilation \(3, 3\)"):
        ops.max_pool2d(np.ones((1, 1, 2, 2)), 2, 1, 1, 3)
    with pytest.raises(ValueError, match="unknown global pool 'mean'; choose one of 'avg', 'max'"):
        ops.global_pool2d(X, "mean")
    with pytest.raises(TypeError, match="x must be float32 or float64"):
        ops.global_pool2d(X.astype(np.float16))
    for (_, cache), backward, shape in (
        (ops.max_pool2d(X, 3, 1), ops.max_pool2d_backward, "2, 3, 3, 4"),
        (ops.avg_pool2d(X, 3, 1), ops.avg_pool2d_backward, "2, 3, 3, 4"),
        (ops.global_pool2d(X), ops.global_pool2d_backward, "2, 3, 1, 1"),
        (ops.global_pool2d(X, "catavgmax"), ops.global_pool2d_backward, "2, 6, 1, 1"),
    ):
        with pytest.raises(ValueError, match=rf"dy must have shape \({shape}\), found \(2, 3, 5, 6\)"):
            backward(X, cache)

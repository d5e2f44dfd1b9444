"""Convolution against its definition, against SciPy, and against differences."""

from __future__ import annotations

from typing import Any

import formulas
import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    Window,
    assert_close,
    dtypes,
    frozen_cache,
    laid_out,
    layouts,
    normal,
    on_both_backends,
    pairs,
    seeds,
    shapes,
    windows,
)

from npresnet import use_backend
from npresnet.gradcheck import gradcheck
from npresnet.kernels import parallel
from npresnet.ops import conv, conv2d, conv2d_backward

groups = st.integers(1, 3)
outputs = st.integers(1, 2)  # output channels of each group


def draw_arrays(seed: int, window: Window, groups: int, outputs: int, dtype: type, layout: str = "contiguous") -> Any:
    """x, weight and bias; the window's channels are those of one group."""
    rng = np.random.default_rng(seed)
    N, C, H, W = window.shape
    x, weight = (N, groups * C, H, W), (groups * outputs, C, *window.kernel)
    arrays = (normal(rng, shape, dtype) for shape in (x, weight, weight[:1]))
    return tuple(laid_out(array, layout) for array in arrays)


@on_both_backends
@given(windows(channels=2), seeds, groups, outputs, dtypes, layouts, st.booleans())
def test_forward(
    backend: str, window: Window, seed: int, groups: int, outputs: int, dtype: type, layout: str, bias: bool
) -> None:
    x, weight, b = draw_arrays(seed, window, groups, outputs, dtype, layout)
    b = b if bias else None
    with use_backend(backend):
        y, cache = conv2d(x, weight, b, *window[2:], groups)
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    assert cache.has_bias == bias
    assert_close(y, formulas.conv2d(x, weight, b, *window[2:], groups), dtype)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 4), st.integers(0, 4), seeds)
def test_forward_is_scipys_correlation(kh: int, kw: int, more_rows: int, more_columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, weight = normal(rng, (2, 3, kh + more_rows, kw + more_columns)), normal(rng, (4, 3, kh, kw))
    expected = np.array(
        [
            [sum(scipy.signal.correlate2d(x[n, c], weight[o, c], "valid") for c in range(3)) for o in range(4)]
            for n in (0, 1)
        ]
    )
    assert_close(conv2d(x, weight)[0], expected, np.float64)


@on_both_backends
@given(windows(channels=2), seeds, groups, outputs, st.booleans())
def test_gradients(backend: str, window: Window, seed: int, groups: int, outputs: int, bias: bool) -> None:
    arrays = draw_arrays(seed, window, groups, outputs, np.float64)[: 3 if bias else 2]

    def forward(x: Any, weight: Any, bias: Any = None) -> Any:
        return conv2d(x, weight, bias, *window[2:], groups)

    with use_backend(backend):
        gradcheck(forward, conv2d_backward, *arrays, seed=seed, samples=15).raise_if_wrong()


@on_both_backends
@given(windows(channels=2), seeds, groups, outputs, layouts)
def test_float32_gradients(backend: str, window: Window, seed: int, groups: int, outputs: int, layout: str) -> None:
    """Those of float64, which differences confirm, up to rounding; nothing that is read is written to."""
    single, double = (draw_arrays(seed, window, groups, outputs, dtype) for dtype in (np.float32, np.float64))
    with use_backend(backend):
        y, cache = conv2d(*single, *window[2:], groups)
        dy = normal(np.random.default_rng(seed + 1), y.shape, np.float32)
        found = conv2d_backward(laid_out(dy, layout), frozen_cache(cache))
        again = conv2d_backward(laid_out(dy, layout), cache)
        _, cache = conv2d(*double, *window[2:], groups)
        wanted = conv2d_backward(laid_out(dy.astype(np.float64), layout), cache)
    for actual, second, expected in zip(found, again, wanted, strict=True):
        assert actual.dtype == np.float32
        assert_close(actual, expected, np.float32, factor=5)
        np.testing.assert_array_equal(actual, second)


@given(windows(channels=2), seeds, groups, st.sampled_from([2, 64, 70]), st.integers(1, 3000))
def test_any_chunks(window: Window, seed: int, groups: int, outputs: int, chunk_bytes: int) -> None:
    """However the work is cut: chunks of images, bands of rows, blocks of output channels."""
    arrays = draw_arrays(seed, window, groups, outputs, np.float64)
    whole, cache = conv2d(*arrays, *window[2:], groups)
    dy = normal(np.random.default_rng(seed + 1), whole.shape)
    whole_gradients = conv2d_backward(dy, cache)
    before, conv.CHUNK_BYTES = conv.CHUNK_BYTES, chunk_bytes
    try:
        y, cache = conv2d(*arrays, *window[2:], groups)
        gradients = conv2d_backward(dy, cache)
    finally:
        conv.CHUNK_BYTES = before
    assert_close(y, whole, np.float64)
    for actual, expected in zip(gradients, whole_gradients, strict=True):
        assert_close(actual, expected, np.float64)


@given(windows(channels=2), seeds, groups, st.integers(9, 20), st.integers(1, 3000))
def test_many_images(window: Window, seed: int, groups: int, images: int, chunk_bytes: int) -> None:
    """Several chunks in each thread's share: outputs are those of the single images, weight gradients their sum."""
    window = window._replace(shape=(images, *window.shape[1:]))
    x, weight, bias = draw_arrays(seed, window, groups, 1, np.float64)
    before, conv.CHUNK_BYTES = conv.CHUNK_BYTES, chunk_bytes
    try:
        y, cache = conv2d(x, weight, bias, *window[2:], groups)
        dy = normal(np.random.default_rng(seed + 1), y.shape)
        dx, dw, db = conv2d_backward(dy, cache)
    finally:
        conv.CHUNK_BYTES = before
    single = [conv2d(x[n : n + 1], weight, bias, *window[2:], groups) for n in range(images)]
    gradients = [conv2d_backward(dy[n : n + 1], cache) for n, (_, cache) in enumerate(single)]
    assert_close(y, np.concatenate([y for y, _ in single]), np.float64)
    assert_close(dx, np.concatenate([dx for dx, _, _ in gradients]), np.float64)
    assert_close(dw, sum(dw for _, dw, _ in gradients), np.float64)
    assert_close(db, sum(db for _, _, db in gradients), np.float64)


@on_both_backends
@given(shapes, pairs(1, 3), seeds, groups, outputs)
def test_pointwise(backend: str, shape: Any, stride: tuple[int, int], seed: int, groups: int, outputs: int) -> None:
    """A 1x1 convolution goes without columns; at a stride, the pixels it does not see have no gradient."""
    window = Window(shape, (1, 1), stride, (0, 0), (1, 1))
    arrays = draw_arrays(seed, window, groups, outputs, np.float64)
    with use_backend(backend):
        y, _ = conv2d(*arrays, *window[2:], groups)
        assert_close(y, formulas.conv2d(*arrays, *window[2:], groups), np.float64)
        report = gradcheck(lambda *a: conv2d(*a, *window[2:], groups), conv2d_backward, *arrays, seed=seed, samples=25)
    report.raise_if_wrong()


def test_numbers_by_hand() -> None:
    x = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float64).reshape(1, 1, 3, 3)
    weight = np.array([[1, 0], [0, -1]], np.float64).reshape(1, 1, 2, 2)
    y, cache = conv2d(x, weight, np.array([10.0]))
    np.testing.assert_array_equal(y[0, 0], [[6, 6], [6, 6]])  # 10 + 1 - 5, ...
    dx, dw, db = conv2d_backward(np.array([[1, 2], [3, 4]], np.float64).reshape(1, 1, 2, 2), cache)
    np.testing.assert_array_equal(dx[0, 0], [[1, 2, 0], [3, 3, -2], [0, -3, -4]])
    np.testing.assert_array_equal(dw[0, 0], [[37, 47], [67, 77]])
    np.testing.assert_array_equal(db, [10])


def test_stem_of_a_resnet() -> None:
    """(224 + 2 * 3 - 7) is odd: the size is rounded down, not refused."""
    y, _ = conv2d(np.ones((1, 3, 224, 224), np.float32), np.ones((2, 3, 7, 7), np.float32), None, 2, 3)
    assert y.shape == (1, 2, 112, 112)
    assert y[0, 0, 0, 0] == 3 * 4 * 4
    assert y[0, 0, 50, 50] == 3 * 7 * 7


def test_one_number_means_both_axes() -> None:
    rng = np.random.default_rng(0)
    x, weight = normal(rng, (1, 2, 9, 8)), normal(rng, (3, 2, 3, 3))
    y, cache = conv2d(x, weight, None, 2, 1, 2)
    assert (cache.stride, cache.padding, cache.dilation) == ((2, 2), (1, 1), (2, 2))
    np.testing.assert_array_equal(y, conv2d(x, weight, None, [2, 2], (1, 1), (2, np.int64(2)))[0])


def test_leave_out_a_gradient() -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = normal(rng, (2, 2, 5, 5)), normal(rng, (3, 2, 3, 3)), normal(rng, (3,))
    y, cache = conv2d(x, weight, bias)
    dy = normal(rng, y.shape)
    dx, dw, db = conv2d_backward(dy, cache)
    no_dx, dw_only, _ = conv2d_backward(dy, cache, input_gradient=False)
    dx_only, no_dw, db_too = conv2d_backward(dy, cache, weight_gradient=False)
    assert no_dx is None
    assert no_dw is None
    for actual, expected in ((dw_only, dw), (dx_only, dx), (db_too, db)):
        np.testing.assert_array_equal(actual, expected)
    assert conv2d_backward(dy, conv2d(x, weight)[1])[2] is None


def test_the_columns_are_not_kept() -> None:
    x = np.ones((1, 4, 8, 8))
    _, cache = conv2d(x, np.ones((1, 4, 3, 3)))
    assert sum(value.nbytes for value in cache if isinstance(value, np.ndarray)) == x.nbytes + cache.weight.nbytes


X, W = np.ones((2, 4, 5, 6)), np.ones((6, 4, 3, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X.astype(np.float16), W), TypeError, r"x must be float32 or float64, found float16.*astype"),
        ((X.astype(int), W), TypeError, "x must be float32 or float64, found int64"),
        ((X[0], W), ValueError, r"x must have 4 dimensions \(N, C, H, W\), found shape \(4, 5, 6\)"),
        ((X[:0], W), ValueError, r"x is empty: its shape is \(0, 4, 5, 6\)"),
        ((X, W[:, :, 0]), ValueError, r"weight must have 4 dimensions \(O, C / groups, kh, kw\)"),
        ((X, W[:0]), ValueError, "weight is empty"),
        ((X, W.astype(np.float32)), TypeError, "weight is float32 but the input is float64"),
        ((X, W, np.ones(6, np.float32)), TypeError, "bias is float32 but the input is float64"),
        ((X, W, np.ones(5)), ValueError, r"bias must have shape \(6,\), found \(5,\)"),
        ((X, W[:, :3]), ValueError, r"expects 3 input channels in 1 group\(s\), but x has shape \(2, 4, 5, 6\)"),
        ((X, W[:, :2], None, 1, 0, 1, 3), ValueError, "groups=3 must divide the 4 input channels and the 6 output"),
        ((X, W, None, 1, 0, 1, 2), ValueError, r"expects 8 input channels in 2 group\(s\)"),
        ((X, W, None, 1, 0, 1, 0), ValueError, "groups=0"),
        ((X, W, None, 0), ValueError, "stride must be an integer >= 1 or a pair of them, found 0"),
        ((X, W, None, 1.5), ValueError, "stride must be an integer >= 1 or a pair of them, found 1.5"),
        ((X, W, None, True), ValueError, "stride must be an integer"),
        ((X, W, None, (1, 2, 3)), ValueError, r"stride must be an integer >= 1 or a pair of them, found \(1, 2, 3\)"),
        ((X, W, None, 1, -1), ValueError, "padding must be an integer >= 0"),
        ((X, W, None, 1, 0, (1, 0)), ValueError, "dilation must be an integer >= 1"),
        ((X, W, None, 1, 0, 3), ValueError, "the kernel spans 7 pixels but the padded image only 5.*larger image"),
    ],
)
def test_errors(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        conv2d(*arguments)


def test_errors_of_the_gradient() -> None:
    y, cache = conv2d(X, W)
    with pytest.raises(ValueError, match=r"dy must have shape \(2, 6, 3, 4\), found \(2, 6, 4, 4\)"):
        conv2d_backward(np.ones((2, 6, 4, 4)), cache)
    with pytest.raises(TypeError, match="dy is float32 but the input is float64"):
        conv2d_backward(y.astype(np.float32), cache)


@given(st.integers(1, 5), st.integers(1, 70), st.integers(1, 200), seeds, dtypes)
def test_matrix_product_in_blocks(n: int, k: int, o: int, seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    a, b = normal(rng, (n, k), dtype), normal(rng, (o, k), dtype).T
    assert_close(parallel.matmul(a, b), np.einsum("nk,ko->no", a.astype(np.float64), b), dtype, factor=3)

"""The linear layer, dropout and the zero-padded shortcut."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import Array, assert_close, dtypes, frozen, frozen_cache, laid_out, layouts, normal, seeds, shapes

from npresnet import ops
from npresnet.gradcheck import gradcheck

sizes = st.integers(1, 6)

# ---------------------------------------------------------------------------------------------------------- linear


@given(sizes, sizes, sizes, seeds, dtypes, layouts, st.booleans())
def test_linear(n: int, f: int, o: int, seed: int, dtype: type, layout: str, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    x, weight, b = (laid_out(normal(rng, shape, dtype), layout) for shape in ((n, f), (o, f), (o,)))
    y, cache = ops.linear(x, weight, b if bias else None)
    expected = np.einsum("nf,of->no", x.astype(np.float64), weight) + (b if bias else 0)
    assert y.dtype == dtype
    assert_close(y, expected, dtype)
    dy = normal(rng, (n, o), dtype)
    dx, dw, db = ops.linear_backward(laid_out(dy, layout), frozen_cache(cache))
    dy = laid_out(dy, layout).astype(np.float64)
    assert dx.dtype == dw.dtype == dtype
    assert_close(dx, np.einsum("no,of->nf", dy, weight), dtype)
    assert_close(dw, np.einsum("no,nf->of", dy, x), dtype)
    assert (db is None) == (not bias)
    if bias:
        assert_close(db, np.einsum("no->o", dy), dtype)


@given(sizes, sizes, sizes, seeds, st.booleans())
def test_linear_gradients(n: int, f: int, o: int, seed: int, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    arrays = [normal(rng, shape) for shape in ((n, f), (o, f), (o,))]
    gradcheck(ops.linear, ops.linear_backward, *arrays[: 3 if bias else 2], seed=seed, samples=30).raise_if_wrong()


def test_linear_errors() -> None:
    x, weight = np.ones((2, 3)), np.ones((4, 3))
    for arguments, error, message in (
        ((x.astype(int), weight), TypeError, "x must be float32 or float64, found int64"),
        ((x[:, :, None], weight), ValueError, r"x must have 2 dimensions \(N, F\), found shape \(2, 3, 1\)"),
        ((x, weight.astype(np.float32)), TypeError, "weight is float32 but the input is float64"),
        ((x, weight.T), ValueError, r"weight must have shape \(O, 3\) for x of shape \(2, 3\), found \(3, 4\)"),
        ((x, weight, np.ones(3)), ValueError, r"bias must have shape \(4,\), found \(3,\)"),
    ):
        with pytest.raises(error, match=message):
            ops.linear(*arguments)
    with pytest.raises(ValueError, match=r"dy must have shape \(2, 4\), found \(2, 3\)"):
        ops.linear_backward(x, ops.linear(x, weight)[1])


# --------------------------------------------------------------------------------------------------------- dropout


@given(shapes, seeds, dtypes, layouts, st.sampled_from([0.0, 0.3, 0.9]))
def test_dropout(shape: tuple[int, ...], seed: int, dtype: type, layout: str, rate: float) -> None:
    """A value is lost or multiplied with 1 / (1 - rate), and its gradient likewise: by the same mask."""
    x = laid_out(normal(np.random.default_rng(seed), shape, dtype), layout)
    dy = normal(np.random.default_rng(seed + 1), shape, dtype)
    for drop in (ops.dropout, ops.stochastic_depth):
        y, cache = drop(x, rate, np.random.default_rng(seed))
        dx = ops.dropout_backward(dy, frozen_cache(cache))
        assert y.dtype == dx.dtype == dtype
        kept = np.broadcast_to(cache.mask != 0, shape)
        assert_close(y, np.where(kept, x / dtype(1 - rate), 0), dtype)
        assert_close(dx, np.where(kept, dy / dtype(1 - rate), 0), dtype)
        again, _ = drop(x, rate, np.random.default_rng(seed))
        np.testing.assert_array_equal(y, again)


@given(shapes, seeds)
def test_dropout_gradients(shape: tuple[int, ...], seed: int) -> None:
    x = normal(np.random.default_rng(seed), shape)
    for drop in (ops.dropout, ops.stochastic_depth):
        report = gradcheck(lambda x, d=drop: d(x, 0.4, np.random.default_rng(1)), ops.dropout_backward, x, samples=20)
        report.raise_if_wrong()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_how_much_is_dropped(rate: float) -> None:
    """Of n independent values, n rate are lost, give or take sqrt(n rate (1 - rate)); 5 deviations are allowed."""
    n = 100_000
    rng = np.random.default_rng(0)
    deviation = np.sqrt(rate * (1 - rate) / n)
    y, _ = ops.dropout(np.ones((n, 1)), rate, rng)
    assert abs((y == 0).mean() - rate) < 5 * deviation
    assert abs(y.mean() - 1) < 5 * deviation / (1 - rate)
    y, _ = ops.stochastic_depth(np.ones((n, 3)), rate, rng)
    assert (y == y[:, :1]).all()  # a sample goes as a whole
    assert abs((y[:, 0] == 0).mean() - rate) < 5 * deviation


def test_dropout_errors() -> None:
    rng = np.random.default_rng(0)
    for drop, rate in itertools.product((ops.dropout, ops.stochastic_depth), (-0.1, 1.0, 1.5, float("nan"))):
        with pytest.raises(ValueError, match=rf"the dropout rate is a probability in \[0, 1\), found {rate}"):
            drop(np.ones((2, 2)), rate, rng)
    with pytest.raises(TypeError, match="x must be float32 or float64, found int64"):
        ops.dropout(np.ones((2, 2), int), 0.5, rng)


# ------------------------------------------------------------------------------------------- zero-padded shortcut


def direct_shortcut(x: Array, out_channels: int, stride: int) -> Array:
    """Pixel by pixel."""
    N, C, H, W = x.shape
    before = (out_channels - C) // 2
    y = np.zeros((N, out_channels, (H - 1) // stride + 1, (W - 1) // stride + 1), x.dtype)
    for n, c, p, q in np.ndindex(N, C, *y.shape[2:]):
        y[n, before + c, p, q] = x[n, c, p * stride, q * stride]
    return y


@given(shapes, st.integers(0, 5), st.integers(1, 3), seeds, dtypes, layouts)
def test_zero_pad_shortcut(shape: Any, extra: int, stride: int, seed: int, dtype: type, layout: str) -> None:
    x = laid_out(normal(np.random.default_rng(seed), shape, dtype), layout)
    y, cache = ops.zero_pad_shortcut(x, shape[1] + extra, stride)
    np.testing.assert_array_equal(y, direct_shortcut(x, shape[1] + extra, stride))
    dx = ops.zero_pad_shortcut_backward(frozen(np.ones_like(y)), cache)
    assert y.dtype == dx.dtype == dtype
    report = gradcheck(
        lambda x: ops.zero_pad_shortcut(x, shape[1] + extra, stride),
        ops.zero_pad_shortcut_backward,
        x,
        seed=seed,
        samples=20,
    )
    report.raise_if_wrong()


def test_zero_pad_shortcut_errors() -> None:
    x = np.ones((1, 4, 5, 5))
    with pytest.raises(ValueError, match="a zero-padded shortcut cannot drop channels: 4 -> 3"):
        ops.zero_pad_shortcut(x, 3, 1)
    with pytest.raises(ValueError, match="stride must be an integer >= 1, found 0"):
        ops.zero_pad_shortcut(x, 4, 0)
    with pytest.raises(TypeError, match="x must be float32 or float64, found float16"):
        ops.zero_pad_shortcut(x.astype(np.float16), 4, 1)
    with pytest.raises(ValueError, match=r"dy must have shape \(1, 8, 3, 3\), found \(1, 8, 1, 1\)"):
        ops.zero_pad_shortcut_backward(np.ones((1, 8, 1, 1)), ops.zero_pad_shortcut(x, 8, 2)[1])

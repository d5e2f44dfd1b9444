"""Activation functions against the standard library's mathematics and against differences."""

from __future__ import annotations

import formulas
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import Array, assert_close, dtypes, frozen, frozen_cache, laid_out, layouts, on_both_backends, seeds

from npresnet import use_backend
from npresnet.config import ACTIVATION_ALIASES, ACTIVATION_NAMES
from npresnet.gradcheck import gradcheck
from npresnet.ops import activation, activation_backward

any_shape = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
names = pytest.mark.parametrize("name", ACTIVATION_NAMES)


def draw_array(seed: int, shape: tuple[int, ...], dtype: type = np.float64) -> Array:
    """Numbers on both sides of all kinks."""
    return frozen((4 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype))


@names
@on_both_backends
@given(any_shape, seeds, dtypes, layouts)
def test_forward(backend: str, name: str, shape: tuple[int, ...], seed: int, dtype: type, layout: str) -> None:
    x = laid_out(draw_array(seed, shape, dtype), layout)
    with use_backend(backend):
        y, _ = activation(x, name)
    assert y.dtype == dtype
    expected = np.array([formulas.activation(name, v) for v in x.ravel().tolist()]).reshape(shape)
    assert_close(y, expected, dtype)


@names
@on_both_backends
@given(any_shape, seeds)
def test_gradients(backend: str, name: str, shape: tuple[int, ...], seed: int) -> None:
    x = draw_array(seed, shape)
    with use_backend(backend):
        gradcheck(lambda x: activation(x, name), activation_backward, x, seed=seed, samples=20).raise_if_wrong()


@names
@on_both_backends
@given(any_shape, seeds, layouts)
def test_float32_gradients(backend: str, name: str, shape: tuple[int, ...], seed: int, layout: str) -> None:
    """Those of float64, which differences confirm, up to rounding; nothing that is read is written to."""
    results = []
    for dtype in (np.float32, np.float64):
        x, dy = draw_array(seed, shape, np.float32).astype(dtype), draw_array(seed + 1, shape, np.float32).astype(dtype)
        with use_backend(backend):
            _, cache = activation(frozen(x), name)
            results.append(activation_backward(laid_out(dy, layout), frozen_cache(cache)))
    assert results[0].dtype == np.float32
    assert_close(results[0], results[1], np.float32, factor=5)


@on_both_backends
def test_slopes_by_hand(backend: str) -> None:
    x, dy = np.array([-4.0, -1.0, 1.0, 7.0]), np.array([1.0, 10.0, 100.0, 1000.0])
    for name, expected in {
        "relu": [0, 0, 100, 1000],
        "relu6": [0, 0, 100, 0],
        "leaky_relu": [0.01, 0.1, 100, 1000],
        "hardswish": [0, 10 / 6, 500 / 6, 1000],
        "identity": [1, 10, 100, 1000],
    }.items():
        with use_backend(backend):
            np.testing.assert_allclose(activation_backward(dy, activation(x, name)[1]), expected)


@on_both_backends
def test_relu_at_a_fork(backend: str) -> None:
    """The gradient of a skip connection is the very array that ReLU's backward receives: it must survive."""
    dy = np.array([1.0, 2.0, 3.0])
    with use_backend(backend):
        _, cache = activation(np.array([-1.0, 0.0, 1.0]), "relu")
        dx = activation_backward(dy, cache)
    np.testing.assert_array_equal(dx, [0, 0, 3])  # the slope at zero is zero, as in PyTorch
    np.testing.assert_array_equal(dy, [1, 2, 3])


def test_relu_keeps_its_output_only() -> None:
    y, cache = activation(np.array([-1.0, 2.0]), "relu")
    assert cache.value is y


@pytest.mark.parametrize(("alias", "name"), [*ACTIVATION_ALIASES.items(), ("swish", "silu"), ("linear", "identity")])
def test_aliases(alias: str, name: str) -> None:
    x = draw_array(0, (3, 4))
    y, cache = activation(x, alias)
    assert cache.name == name
    np.testing.assert_array_equal(y, activation(x, name)[0])


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown activation 'rellu'; choose one of relu, relu6"):
        activation(np.ones(3), "rellu")
    with pytest.raises(TypeError, match="x must be float32 or float64, found float16"):
        activation(np.ones(3, np.float16), "relu")
    with pytest.raises(TypeError, match="x must be float32 or float64, found int64"):
        activation([1, 2], "relu")
    with pytest.raises(ValueError, match="x is empty"):
        activation(np.ones((2, 0)), "relu")
    _, cache = activation(np.ones((2, 3)), "relu")
    with pytest.raises(ValueError, match=r"dy must have shape \(2, 3\), found \(3, 2\)"):
        activation_backward(np.ones((3, 2)), cache)
    with pytest.raises(TypeError, match="dy is float32 but the input is float64"):
        activation_backward(np.ones((2, 3), np.float32), cache)

"""The compiled kernels against the NumPy reference: the same names, the same signatures, the same values."""

from __future__ import annotations

import inspect
import math
import types
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import Array, Window, assert_close, dtypes, frozen, laid_out, layouts, normal, seeds, shapes, windows

import npresnet
from npresnet import kernels, ops
from npresnet.kernels import fast, reference

UNARY = ("relu", "relu6", "leaky_relu", "gelu", "gelu_tanh", "silu", "elu", "mish", "hardswish", "tanh", "sigmoid")
GEOMETRIC = ("im2col", "col2im", "max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward")
STATISTICAL = ("batchnorm_statistics", "batchnorm_normalize", "batchnorm_sums", "batchnorm_backward")
TESTED = {*GEOMETRIC, *STATISTICAL, "add", *UNARY, *(f"{name}_backward" for name in UNARY)}


def public_functions(module: types.ModuleType) -> dict[str, Any]:
    """Those that belong to it, not what it imported from elsewhere."""
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and not name.startswith("_") and value.__module__.startswith("npresnet.kernels")
    }


def both(name: str, *arguments: Any) -> tuple[Any, Any]:
    """Results of both twins."""
    return getattr(fast, name)(*arguments), getattr(reference, name)(*arguments)


def assert_same(name: str, dtype: type, *arguments: Any) -> None:
    """Equal results, as tuples or single arrays, in dtype and value."""
    results = both(name, *arguments)
    pair = [r if isinstance(r, tuple) else (r,) for r in results]
    assert len(pair[0]) == len(pair[1])
    for actual, expected in zip(*pair, strict=True):
        assert actual.dtype == expected.dtype
        assert_close(actual, expected, dtype)


def test_same_names() -> None:
    assert set(public_functions(fast)) == set(public_functions(reference)) == set(fast.__all__)


def test_every_kernel_is_tested_here() -> None:
    assert set(public_functions(reference)) == TESTED


@pytest.mark.parametrize("name", sorted(TESTED))
def test_same_signature(name: str) -> None:
    def parameters(module: types.ModuleType) -> list[tuple[str, Any, Any]]:
        return [(p.name, p.kind, p.default) for p in inspect.signature(getattr(module, name)).parameters.values()]

    assert parameters(fast) == parameters(reference)


@given(windows(), seeds, dtypes, st.data())
def test_im2col(window: Window, seed: int, dtype: type, data: st.DataObject) -> None:
    x = normal(np.random.default_rng(seed), window.shape, dtype)
    geometry = window[1:]
    assert_same("im2col", dtype, x, *geometry)
    oh, ow = window.output()
    first = data.draw(st.integers(0, oh - 1))
    last = data.draw(st.integers(first + 1, oh))
    assert_same("im2col", dtype, x, *geometry, (first, last))
    everything, band = fast.im2col(x, *geometry), fast.im2col(x, *geometry, (first, last))
    np.testing.assert_array_equal(band, everything[:, :, first * ow : last * ow])


@given(windows(), seeds, dtypes)
def test_col2im(window: Window, seed: int, dtype: type) -> None:
    (N, C, H, W), kernel = window.shape, window.kernel
    cols = normal(np.random.default_rng(seed), (N, C * math.prod(kernel), math.prod(window.output())), dtype)
    assert_same("col2im", dtype, cols, (C, H, W), *window[1:])


@given(windows(), seeds)
@pytest.mark.parametrize("module", [fast, reference])
def test_col2im_is_the_transpose_of_im2col(module: types.ModuleType, window: Window, seed: int) -> None:
    """<im2col(x), c> = <x, col2im(c)> for all x and c defines a transpose."""
    rng = np.random.default_rng(seed)
    x = normal(rng, window.shape)
    cols = module.im2col(x, *window[1:])
    c = normal(rng, cols.shape)
    np.testing.assert_allclose(np.vdot(cols, c), np.vdot(x, module.col2im(c, window.shape[1:], *window[1:])))


@given(windows(pool=True, dilated=False), seeds, dtypes, st.booleans())
def test_pools(window: Window, seed: int, dtype: type, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    x = normal(rng, window.shape, dtype)
    if ties:
        x = frozen(rng.integers(-1, 2, window.shape).astype(dtype))
    image, output = window.shape[2:], window.output()
    assert_same("max_pool2d", dtype, x, *window[1:], output)
    _, argmax = reference.max_pool2d(x, *window[1:], output)
    dy = normal(rng, argmax.shape, dtype)
    assert_same("max_pool2d_backward", dtype, dy, frozen(argmax), image)
    divisor = frozen(rng.integers(1, 9, output).astype(np.float64))
    assert_same("avg_pool2d", dtype, x, *window[1:4], divisor)
    assert_same("avg_pool2d_backward", dtype, dy, image, *window[1:4], divisor)


@given(windows(pool=True), seeds)
def test_max_pool_prefers_nan(window: Window, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(window.shape)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.2] = -np.inf
    (y, argmax), expected = both("max_pool2d", frozen(x), *window[1:], window.output())
    np.testing.assert_array_equal(y, expected[0])
    np.testing.assert_array_equal(argmax, expected[1])


@given(shapes, seeds, dtypes)
def test_batchnorm(shape: tuple[int, ...], seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    x, dy = normal(rng, shape, dtype), normal(rng, shape, dtype)
    weight, bias = normal(rng, shape[1:2], dtype), normal(rng, shape[1:2], dtype)
    # What one kernel made for the next may be written to, as inside the operations: no other variant is compiled.
    mean, dbias, dweight = rng.standard_normal((3, shape[1])).astype(dtype)
    inv_std = rng.uniform(0.5, 2, shape[1]).astype(dtype)
    assert_same("batchnorm_statistics", dtype, x)
    assert_same("batchnorm_normalize", dtype, x, mean, inv_std, weight, bias)
    assert_same("batchnorm_sums", dtype, dy, x, mean, inv_std)
    assert_same("batchnorm_backward", dtype, dy, x, mean, inv_std, weight, dbias, dweight)


def test_batchnorm_statistics_far_from_zero() -> None:
    """A mean a thousand times the deviation costs the variance no digits: two passes, summed in float64."""
    numbers = np.random.default_rng(0).standard_normal((4, 2, 9, 9))
    for dtype, offset, tolerance in ((np.float32, 1e3, 1e-6), (np.float64, 1e6, 1e-9)):
        x = frozen((numbers + offset).astype(dtype))
        exact = x.astype(np.float64)
        for module in (fast, reference):
            mean, var = module.batchnorm_statistics(x)
            np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=tolerance)
            np.testing.assert_allclose(var, exact.var(axis=(0, 2, 3)), rtol=tolerance)


@pytest.mark.parametrize("name", [name for name in sorted(TESTED) if name not in (*GEOMETRIC, *STATISTICAL)])
@given(shapes, seeds, dtypes, layouts)
def test_elementwise(name: str, shape: tuple[int, ...], seed: int, dtype: type, layout: str) -> None:
    rng = np.random.default_rng(seed)
    count = len(inspect.signature(getattr(reference, name)).parameters)
    assert_same(name, dtype, *(laid_out(frozen(3 * normal(rng, shape, dtype)), layout) for _ in range(count)))


@pytest.mark.parametrize("name", [*UNARY, *(f"{name}_backward" for name in UNARY)])
def test_elementwise_at_the_ends(name: str) -> None:
    """Infinities, NaN and what overflows an exponential."""
    with np.errstate(all="ignore"):
        for dtype in (np.float32, np.float64):
            x = np.array([-np.inf, -1000, -100, -90, -3, 0, 3, 6, 90, 100, 1000, np.inf, np.nan], dtype)
            upstream = (np.ones_like(x),) if name.endswith("backward") else ()
            assert_same(name, dtype, *upstream, x)


def test_no_warnings_from_compiled_activations() -> None:
    """An ordinary large number is not worth an overflow warning, and neither is a NaN."""
    for dtype in (np.float32, np.float64):
        x = np.array([-1e30, -1000, -100, -3, 0, 3, 100, 1000, 1e30, np.nan], dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for name in UNARY:
                getattr(fast, name)(x)


@pytest.mark.parametrize("module", [fast, reference])
def test_relu_keeps_nan(module: types.ModuleType) -> None:
    x = np.array([np.nan, -1.0, 2.0])
    np.testing.assert_array_equal(module.relu(x), [np.nan, 0, 2])
    np.testing.assert_array_equal(module.relu6(x), [np.nan, 0, 2])


@pytest.mark.parametrize("module", [fast, reference])
def test_large_arrays_in_pieces(module: types.ModuleType) -> None:
    """Large enough to be shared out among threads; prime sizes, so that the pieces are unequal."""
    rng = np.random.default_rng(1)
    x: Array = frozen(rng.standard_normal((2, 31, 47, 53)).astype(np.float32))
    np.testing.assert_array_equal(module.relu(x), np.where(x > 0, x, 0))
    np.testing.assert_array_equal(module.add(x, x), 2 * x)
    y, argmax = module.max_pool2d(x, (3, 3), (2, 2), (1, 1), (1, 1), (24, 27))
    winners = np.take_along_axis(x.reshape(2, 31, -1), argmax.reshape(2, 31, -1), axis=2)
    np.testing.assert_array_equal(winners.reshape(y.shape), y)
    mean, var = module.batchnorm_statistics(x)
    assert_close(mean, x.mean(axis=(0, 2, 3), dtype=np.float64), np.float32)
    assert_close(var, x.var(axis=(0, 2, 3), dtype=np.float64), np.float32)


# ------------------------------------------------------------------------------------------------------ the switch


def test_numba_is_the_default() -> None:
    assert kernels.active_backend() == "numba"
    assert kernels.backend() is fast


def test_use_backend_as_context() -> None:
    with npresnet.use_backend("numpy"):
        assert kernels.backend() is reference
        with npresnet.use_backend("numba"):
            assert kernels.backend() is fast
        assert kernels.backend() is reference
    assert kernels.backend() is fast


def test_use_backend_as_function() -> None:
    try:
        npresnet.use_backend("numpy")
        assert kernels.active_backend() == "numpy"
    finally:
        npresnet.use_backend("numba")
    assert kernels.active_backend() == "numba"


def test_use_backend_switches_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), npresnet.use_backend("numpy"):
        raise ZeroDivisionError
    assert kernels.active_backend() == "numba"


def test_use_backend_again() -> None:
    switch = npresnet.use_backend("numpy")
    with switch:
        pass
    assert kernels.active_backend() == "numba"
    with switch:
        assert kernels.active_backend() == "numpy"
    assert kernels.active_backend() == "numba"


@pytest.mark.parametrize("name", ["Numba", "cuda", ""])
def test_use_backend_wrong_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown backend '{name}'.*'numba', 'numpy'"):
        npresnet.use_backend(name)
    assert kernels.active_backend() == "numba"


def test_operations_use_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(reference, "relu", lambda x: called.append("numpy") or x)
    monkeypatch.setattr(fast, "relu", lambda x: called.append("numba") or x)
    for name in ("numpy", "numba"):
        with npresnet.use_backend(name):
            ops.activation(np.ones(3), "relu")
    assert called == ["numpy", "numba"]

"""Clipping by the common norm: formula, float64 sums, what is not finite, and what is left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from npresnet.kernels import parallel
from npresnet.nn import Parameter
from npresnet.train import clip_gradients, gradient_norm, pieces

SHAPES = ((6, 4, 3, 3), (700, 300), (5,), ())


def parameters(dtype: str = "float64") -> list[Parameter]:
    rng = np.random.default_rng(0)
    result = []
    for shape in SHAPES:
        parameter = Parameter(np.zeros(shape, dtype))
        parameter.grad = np.asarray(rng.standard_normal(shape), dtype)
        result.append(parameter)
    result.append(Parameter(np.zeros(3, dtype)))  # without a gradient
    return result


def gradients(own: list[Parameter]) -> list[np.ndarray]:
    return [parameter.grad.copy() for parameter in own if parameter.grad is not None]


def exact_norm(arrays: list[np.ndarray]) -> float:
    return math.sqrt(math.fsum(float(x) ** 2 for array in arrays for x in array.ravel()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("max_norm", [1e-3, 100.0])
def test_a_norm_that_is_too_large(max_norm: float, dtype: str) -> None:
    own = parameters(dtype)
    before = gradients(own)
    arrays = [parameter.grad for parameter in own]
    norm = clip_gradients(iter(own), max_norm)
    assert type(norm) is float
    assert norm == pytest.approx(exact_norm(before), rel=1e-13)
    tolerance = 1e-13 if dtype == "float64" else 1e-6
    for old, new in zip(before, gradients(own), strict=True):
        np.testing.assert_allclose(new, old * (max_norm / (norm + 1e-6)), rtol=tolerance)
        assert new.dtype == dtype
    assert gradient_norm(own) == pytest.approx(max_norm, rel=1e-6)
    assert all(parameter.grad is array for parameter, array in zip(own, arrays, strict=True))  # in place
    assert own[-1].grad is None


@pytest.mark.parametrize("max_norm", [1e4, math.inf])
def test_a_norm_that_is_small_enough(max_norm: float) -> None:
    own = parameters()
    before = gradients(own)
    assert clip_gradients(own, max_norm) == pytest.approx(exact_norm(before), rel=1e-13)
    assert all(np.array_equal(old, new) for old, new in zip(before, gradients(own), strict=True))


def test_sums_are_made_in_float64() -> None:
    """In float32 the square of each of these numbers would be rounded in the same direction."""
    parameter = Parameter(np.zeros((2000, 100), np.float32))
    parameter.grad = np.full(parameter.shape, 1.1, np.float32)
    assert gradient_norm([parameter]) == pytest.approx(float(np.float32(1.1)) * math.sqrt(200_000), rel=1e-14)
    parameter.grad[:] = 1e30  # whose square is infinity in float32
    assert gradient_norm([parameter]) == pytest.approx(float(np.float32(1e30)) * math.sqrt(200_000), rel=1e-14)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_reported_and_left_to_be_found(bad: float) -> None:
    own = parameters()
    assert own[1].grad is not None
    own[1].grad[5, 7] = bad
    before = gradients(own)
    norm = clip_gradients(own, 1.0)
    assert norm == math.inf if math.isinf(bad) else math.isnan(norm)
    assert all(np.array_equal(old, new, equal_nan=True) for old, new in zip(before, gradients(own), strict=True))


def test_no_gradients() -> None:
    assert clip_gradients([], 1.0) == clip_gradients([Parameter(np.zeros(3))], 1.0) == 0.0
    own = parameters()
    for parameter in own:
        parameter.grad = np.zeros(parameter.shape)
    assert clip_gradients(own, 1.0) == 0.0
    assert not any(gradient.any() for gradient in gradients(own))


def test_read_only_gradients_and_any_memory_layout() -> None:
    own = parameters()
    shared = own[1].grad = np.asfortranarray(own[1].grad)
    shared.flags.writeable = False
    kept = shared.copy()
    norm = clip_gradients(own, 1.0)
    assert np.array_equal(shared, kept)
    np.testing.assert_allclose(own[1].grad, kept / (norm + 1e-6), rtol=1e-13)


def test_threads_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    norms = set()
    for threads in (1, 3, 4):
        with parallel._Pool(threads) as pool:
            monkeypatch.setattr(parallel, "num_threads", lambda threads=threads: threads)
            monkeypatch.setattr(parallel, "_pool", lambda workers, pool=pool: pool)
            monkeypatch.setattr(pieces, "PIECE", 1000)
            norms.add(gradient_norm(parameters("float32")))
            monkeypatch.undo()
    assert len(norms) == 1


@pytest.mark.parametrize("max_norm", [0, -1.0, math.nan])
def test_wrong_norm(max_norm: float) -> None:
    with pytest.raises(ValueError, match="max_norm must be positive, found"):
        clip_gradients(parameters(), max_norm)

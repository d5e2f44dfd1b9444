"""Losses against their definitions, sample by sample, and against differences."""

from __future__ import annotations

import math
from typing import Any

import formulas
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import Array, dtypes, frozen, frozen_cache, normal, seeds

from npresnet.gradcheck import gradcheck
from npresnet.ops import (
    bce_with_logits,
    bce_with_logits_backward,
    cross_entropy,
    cross_entropy_backward,
    mse,
    mse_backward,
)

logit_shapes = st.tuples(st.integers(1, 5), st.integers(1, 6))
smoothings = st.sampled_from([0.0, 0.1, 0.7, 1.0])
IGNORED = -100


def precision(dtype: type) -> float:
    return 1e-5 if dtype == np.float32 else 1e-12


def draw_logits(seed: int, shape: tuple[int, int], dtype: type = np.float64) -> Array:
    return frozen(3 * normal(np.random.default_rng(seed), shape, dtype))


def draw_labels(seed: int, shape: tuple[int, int], ignored: bool) -> Array:
    """Classes; with ``ignored`` about a third of them do not count, but the first one does."""
    rng = np.random.default_rng(seed + 1)
    labels = rng.integers(0, shape[1], shape[0])
    if ignored:
        labels[1:] = np.where(rng.random(shape[0] - 1) < 0.3, IGNORED, labels[1:])
    return frozen(labels)


def draw_weights(seed: int, classes: int, weighted: bool) -> Array | None:
    return frozen(np.random.default_rng(seed + 2).uniform(0.2, 3, classes)) if weighted else None


def hard_loss(logits: Array, labels: Array, smoothing: float, weights: Array | None) -> float:
    """Of every counted sample: -(1 - s) w_y log p_y - s / K sum_k w_k log p_k; divided by the sum of all w_y."""
    K = logits.shape[1]
    w = np.ones(K) if weights is None else weights
    total, divisor = 0.0, 0.0
    for row, y in zip(logits, labels, strict=True):
        if y != IGNORED:
            log_p = [math.log(p) for p in formulas.softmax(row)]
            uniform = sum(float(w[k]) * log_p[k] for k in range(K)) / K
            total -= (1 - smoothing) * float(w[y]) * log_p[y] + smoothing * uniform
            divisor += float(w[y])
    return total / divisor


def soft_loss(logits: Array, target: Array, smoothing: float, weights: Array | None) -> float:
    """Mean over the samples of -sum_k w_k q_k log p_k, where q is the smoothed target."""
    (N, K), total = logits.shape, 0.0
    w = np.ones(K) if weights is None else weights
    for row, q in zip(logits, target, strict=True):
        for k, p in enumerate(formulas.softmax(row)):
            total -= float(w[k]) * ((1 - smoothing) * float(q[k]) + smoothing / K) * math.log(p)
    return total / N


@given(logit_shapes, seeds, dtypes, smoothings, st.booleans(), st.booleans())
def test_cross_entropy(
    shape: tuple[int, int], seed: int, dtype: type, smoothing: float, weighted: bool, ignored: bool
) -> None:
    logits, labels = draw_logits(seed, shape, dtype), draw_labels(seed, shape, ignored)
    weights = draw_weights(seed, shape[1], weighted)
    loss, cache = cross_entropy(logits, labels, smoothing, weights)
    assert isinstance(loss, float)
    np.testing.assert_allclose(loss, hard_loss(logits, labels, smoothing, weights), precision(dtype), precision(dtype))
    gradient = cross_entropy_backward(frozen_cache(cache))
    assert gradient.dtype == dtype
    assert gradient.shape == shape
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=precision(dtype))  # a shift of all logits changes nothing
    np.testing.assert_array_equal(gradient[labels == IGNORED], 0)


@given(logit_shapes, seeds, dtypes, smoothings, st.booleans())
def test_cross_entropy_of_probabilities(
    shape: tuple[int, int], seed: int, dtype: type, smoothing: float, weighted: bool
) -> None:
    logits, weights = draw_logits(seed, shape, dtype), draw_weights(seed, shape[1], weighted)
    target = frozen(np.random.default_rng(seed + 1).dirichlet(np.ones(shape[1]), shape[0]).astype(dtype))
    loss, _ = cross_entropy(logits, target, smoothing, weights)
    np.testing.assert_allclose(loss, soft_loss(logits, target, smoothing, weights), precision(dtype), precision(dtype))


@given(logit_shapes, seeds, smoothings, st.booleans(), st.booleans(), st.booleans())
def test_cross_entropy_gradients(
    shape: tuple[int, int], seed: int, smoothing: float, weighted: bool, ignored: bool, soft: bool
) -> None:
    labels = draw_labels(seed, shape, ignored)
    if soft:
        labels = np.random.default_rng(seed + 1).dirichlet(np.ones(shape[1]), shape[0])

    def forward(logits: Array) -> Any:
        return cross_entropy(logits, labels, smoothing, draw_weights(seed, shape[1], weighted))

    def backward(dloss: float, cache: Any) -> Array:
        return cross_entropy_backward(cache, dloss)

    gradcheck(forward, backward, draw_logits(seed, shape), seed=seed).raise_if_wrong()


def test_cross_entropy_by_hand() -> None:
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    loss, cache = cross_entropy(logits, [0, 2])
    np.testing.assert_allclose(loss, (math.log(2) + math.log(1.25)) / 2)
    np.testing.assert_allclose(cross_entropy_backward(cache, 2.0), [[-0.5, 0.25, 0.25], [0.1, 0.1, -0.2]])


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weights": [1.0, 2.0, 3.0]}])
def test_all_labels_ignored(options: dict[str, Any]) -> None:
    """As in PyTorch: the loss of nothing is NaN, and nothing learns from it."""
    loss, cache = cross_entropy(np.ones((2, 3)), [IGNORED, IGNORED], **options)
    assert math.isnan(loss)
    np.testing.assert_array_equal(cross_entropy_backward(cache), np.zeros((2, 3)))


def test_another_ignore_index() -> None:
    logits = draw_logits(0, (3, 4))
    for ignored in (-1, 2, 255):
        loss, _ = cross_entropy(logits, [1, ignored, 3], ignore_index=ignored)
        np.testing.assert_allclose(loss, cross_entropy(logits[[0, 2]], [1, 3])[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint64])
def test_labels_of_any_integer_type(dtype: type) -> None:
    logits = draw_logits(0, (3, 4))
    assert cross_entropy(logits, np.array([3, 0, 2], dtype))[0] == cross_entropy(logits, [3, 0, 2])[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits(dtype: type) -> None:
    """No exponential overflows, and a class masked with -inf costs nothing unless it is the right one."""
    loss, cache = cross_entropy(np.array([[1e4, -1e4, 0]], dtype), [0])
    assert loss == 0
    np.testing.assert_array_equal(cross_entropy_backward(cache), [[0, 0, 0]])
    assert cross_entropy(np.array([[1e4, -1e4, 0]], dtype), [1])[0] == 2e4
    loss, cache = cross_entropy(np.array([[0, -np.inf, 0]], dtype), [2])
    np.testing.assert_allclose(loss, math.log(2), 1e-6)
    np.testing.assert_allclose(cross_entropy_backward(cache), [[0.5, 0, -0.5]])
    assert cross_entropy(np.array([[0, -np.inf, 0]], dtype), [1])[0] == np.inf
    assert math.isnan(cross_entropy(np.array([[0, np.nan, 0]], dtype), [0])[0])


@given(logit_shapes, seeds, dtypes)
def test_binary_cross_entropy(shape: tuple[int, int], seed: int, dtype: type) -> None:
    logits = draw_logits(seed, shape, dtype)
    labels = frozen(np.random.default_rng(seed + 1).uniform(0, 1, shape).astype(dtype))
    expected = 0.0
    for x, y in zip(logits.ravel().tolist(), labels.ravel().tolist(), strict=True):
        p = 1 / (1 + math.exp(-x))
        expected -= (y * math.log(p) + (1 - y) * math.log(1 - p)) / logits.size
    loss, cache = bce_with_logits(logits, labels)
    np.testing.assert_allclose(loss, expected, precision(dtype))
    assert bce_with_logits_backward(frozen_cache(cache)).dtype == dtype
    report = gradcheck(
        lambda x: bce_with_logits(x, labels), lambda dy, cache: bce_with_logits_backward(cache, dy), logits, seed=seed
    )
    report.raise_if_wrong()


def test_binary_cross_entropy_of_extreme_logits() -> None:
    loss, cache = bce_with_logits(np.array([[1000.0, -1000.0], [-1000.0, 1000.0]]), [[1, 0], [1, 0]])
    assert loss == 500
    np.testing.assert_array_equal(bce_with_logits_backward(cache), [[0, 0], [-0.25, 0.25]])


@given(logit_shapes, seeds, dtypes)
def test_mean_squared_error(shape: tuple[int, int], seed: int, dtype: type) -> None:
    predictions = draw_logits(seed, shape, dtype)
    targets = normal(np.random.default_rng(seed + 1), shape, dtype)
    pairs = zip(predictions.ravel().tolist(), targets.ravel().tolist(), strict=True)
    loss, cache = mse(predictions, targets)
    np.testing.assert_allclose(loss, sum((p - t) ** 2 for p, t in pairs) / predictions.size, precision(dtype))
    assert mse_backward(frozen_cache(cache)).dtype == dtype
    report = gradcheck(lambda x: mse(x, targets), lambda dy, cache: mse_backward(cache, dy), predictions, seed=seed)
    report.raise_if_wrong()


L = np.ones((2, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((L.astype(np.float16), [0, 1]), TypeError, "logits must be float32 or float64, found float16"),
        ((L.astype(int), [0, 1]), TypeError, "logits must be float32 or float64, found int64"),
        ((L[0], [0]), ValueError, r"logits must have 2 dimensions \(N, K\), found shape \(3,\)"),
        ((L[:0], []), ValueError, "logits is empty"),
        ((L, [0, 3]), ValueError, "label 3 of sample 1 is not one of the 3 classes 0 to 2"),
        ((L, [-1, 0]), ValueError, r"label -1 of sample 0 is not one of the 3 classes .*ignore_index=-100"),
        ((L, [0, 1, 2]), ValueError, r"labels must have shape \(2,\), found \(3,\)"),
        ((L, [0.0, 1.0]), ValueError, r"labels must have 2 dimensions \(N, K\) probabilities, or \(N,\) integers"),
        ((L, np.ones((2, 4))), ValueError, r"labels must have shape \(2, 3\), found \(2, 4\)"),
        ((L, [0, 1], 1.5), ValueError, r"label_smoothing must be in \[0, 1\], found 1.5"),
        ((L, [0, 1], 0.0, np.ones(2)), ValueError, r"class_weights must have shape \(3,\), found \(2,\)"),
    ],
)
def test_errors(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cross_entropy(*arguments)


def test_more_errors() -> None:
    with pytest.raises(ValueError, match=r"labels must have shape \(2, 3\), found \(2,\)"):
        bce_with_logits(L, [0, 1])
    with pytest.raises(ValueError, match=r"targets must have shape \(2, 3\), found \(2, 1\)"):
        mse(L, np.ones((2, 1)))  # would broadcast
    for loss in (bce_with_logits, mse):
        with pytest.raises(TypeError, match="must be float32 or float64, found int64"):
            loss(L.astype(int), L)

"""Losses, each the mean over the batch, each with its gradient directly below."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _check

Array = NDArray[np.floating]


class CrossEntropyCache(NamedTuple):
    """Everything the gradient needs."""

    log_p: Array  # (N, K), log softmax of the logits
    target: Array  # (N, K), weighted target distribution; a row of zeros for an ignored sample
    total: float  # what the summed loss was divided by


def cross_entropy(
    logits: Array,
    labels: ArrayLike,
    label_smoothing: float = 0.0,
    class_weights: ArrayLike | None = None,
    ignore_index: int = -100,
) -> tuple[float, CrossEntropyCache]:
    """Softmax cross-entropy, as ``torch.nn.functional.cross_entropy`` with the mean over the batch.

    Parameters
    ----------
    logits : (N, K) float32 or float64
    labels : (N,) integers, or (N, K) probabilities
        Integers equal to ``ignore_index`` do not count.
    label_smoothing : float
        Mix the target with the uniform distribution (Szegedy et al. 2016).
    class_weights : (K,), optional
        Weight of each class; with integer labels the mean is weighted likewise.

    Returns
    -------
    loss : float
        NaN when every label is ignored, as in PyTorch.
    cache : CrossEntropyCache

    Raises
    ------
    ValueError
        If a label is not a class, or shapes do not fit.
    """
    logits = _check.float_array(logits, 2, "(N, K)", "logits")
    N, K = logits.shape
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], found {label_smoothing!r}")
    weights = np.ones(K, logits.dtype) if class_weights is None else np.asarray(class_weights, logits.dtype)
    _check.shape(weights, (K,), "class_weights")
    labels = np.asarray(labels)

    if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer):
        _check.shape(labels, (N,), "labels")
        counted = labels != ignore_index
        wrong = counted & ((labels < 0) | (labels >= K))
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"label {labels[place]} of sample {place} is not one of the {K} classes 0 to {K - 1}"
                f" (and not ignore_index={ignore_index})"
            )
        target = np.zeros((N, K), logits.dtype)
        target[np.flatnonzero(counted), labels[counted]] = 1
        total = float(weights[labels[counted]].sum(dtype=np.float64))
    else:
        target = _check.float_array(labels.astype(logits.dtype), 2, "(N, K) probabilities, or (N,) integers", "labels")
        _check.shape(target, (N, K), "labels")
        counted = np.ones(N, bool)
        total = float(N)
    target = (1 - label_smoothing) * target + label_smoothing / K * counted[:, None].astype(logits.dtype)
    target = target * weights
    log_p = _log_softmax(logits)
    terms = np.multiply(target, log_p, out=np.zeros_like(log_p), where=target != 0)  # 0 log 0 = 0
    loss = -float(np.sum(terms, dtype=np.float64)) / total if total else float("nan")
    return loss, CrossEntropyCache(log_p, target, total)


def cross_entropy_backward(cache: CrossEntropyCache, dloss: float = 1.0) -> Array:
    """Gradient with respect to the logits, (N, K): softmax times the target's mass, minus the target.

    An ignored sample's row is zero, also when all are ignored and the loss is NaN.
    """
    log_p, target, total = cache
    if not total:
        return np.zeros_like(log_p)
    return (np.exp(log_p) * target.sum(axis=1, keepdims=True) - target) * log_p.dtype.type(dloss / total)


class BCECache(NamedTuple):
    """Logits and targets."""

    logits: Array
    labels: Array


def bce_with_logits(logits: Array, labels: ArrayLike) -> tuple[float, BCECache]:
    """Binary cross-entropy of every logit, mean over all: ``max(x, 0) - x y + log(1 + exp(-|x|))``.

    logits and labels have one shape (N, K); labels are probabilities in [0, 1].
    """
    logits = _check.float_array(logits, np.ndim(logits), "(N, K)", "logits")
    labels = np.asarray(labels, logits.dtype)
    _check.shape(labels, logits.shape, "labels")
    each = np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))
    return float(each.mean(dtype=np.float64)), BCECache(logits, labels)


def bce_with_logits_backward(cache: BCECache, dloss: float = 1.0) -> Array:
    """Gradient with respect to the logits: ``(sigmoid(x) - y) / size``."""
    return (_sigmoid(cache.logits) - cache.labels) * cache.logits.dtype.type(dloss / cache.logits.size)


class MSECache(NamedTuple):
    """Difference of prediction and target."""

    difference: Array


def mse(predictions: Array, targets: ArrayLike) -> tuple[float, MSECache]:
    """Mean squared error over all values; both have one shape."""
    predictions = _check.float_array(predictions, np.ndim(predictions), "of any shape", "predictions")
    targets = np.asarray(targets, predictions.dtype)
    _check.shape(targets, predictions.shape, "targets")
    difference = predictions - targets
    return float(np.mean(difference.astype(np.float64) ** 2)), MSECache(difference)


def mse_backward(cache: MSECache, dloss: float = 1.0) -> Array:
    """Gradient with respect to the predictions: ``2 (prediction - target) / size``."""
    return cache.difference * cache.difference.dtype.type(2 * dloss / cache.difference.size)


def _log_softmax(x: Array) -> Array:
    shifted = x - x.max(axis=1, keepdims=True)  # exp cannot overflow, and the largest term is exactly 1
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))  # exp cannot overflow
    return np.where(x >= 0, 1, e) / (1 + e)

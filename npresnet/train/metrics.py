"""Measures of a classifier, collected batch by batch: loss, top-1 and top-5, confusion matrix, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]

BINS = 15
"""Of the calibration, as in Guo et al. 2017."""

TOP = 5


class Calibration(NamedTuple):
    """How far the confidence of a classifier, the probability of its best class, can be believed.

    Attributes
    ----------
    counts : (BINS,) int64
        Images whose confidence lies in ``(b / BINS, (b + 1) / BINS]``.
    confidence, accuracy : (BINS,) float64
        Mean confidence of these images, and the share of them that are right; NaN where there are none.
    error : float
        Expected calibration error (Guo et al. 2017, arXiv:1706.04599): the mean distance of the two, over all images.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    error: float

    @property
    def mean_confidence(self) -> float:
        """Over all images."""
        return float(np.nansum(self.confidence * self.counts) / self.counts.sum())


@dataclass(frozen=True)
class Evaluation:
    """How good a classifier is on some images.

    Attributes
    ----------
    labels : tuple of str
        Names of the K classes.
    images : int
    loss : float
        Mean cross-entropy.
    top1 : float
        Share of images whose best class is the right one, in [0, 1].
    top5 : float or None
        Share of images whose right class is among the five best; None with 5 classes or less.
    confusion : (K, K) int64
        Images of class ``row`` that were taken for class ``column``.
    calibration : Calibration
    data, weights : str
        What was evaluated on what, for people.
    """

    labels: tuple[str, ...]
    images: int
    loss: float
    top1: float
    top5: float | None
    confusion: NDArray[np.int64]
    calibration: Calibration
    data: str = ""
    weights: str = ""

    @property
    def support(self) -> NDArray[np.int64]:
        """Images of each class, (K,)."""
        return self.confusion.sum(axis=1)

    @property
    def class_accuracy(self) -> NDArray[np.float64]:
        """Share of the images of each class that are right (recall), (K,); NaN for a class without images."""
        return _ratio(self.confusion.diagonal(), self.support)

    @property
    def class_precision(self) -> NDArray[np.float64]:
        """Share of the images taken for each class that belong to it, (K,); NaN for a class that is never given."""
        return _ratio(self.confusion.diagonal(), self.confusion.sum(axis=0))

    def most_confused(self, count: int = 5) -> list[tuple[str, str, int]]:
        """Return ``(right class, what it was taken for, images)`` of the most frequent mistakes."""
        mistakes = self.confusion.copy()
        np.fill_diagonal(mistakes, 0)
        order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
        pairs = [np.unravel_index(place, mistakes.shape) for place in order]
        return [(self.labels[i], self.labels[j], int(mistakes[i, j])) for i, j in pairs if mistakes[i, j]]

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain types, for JSON; None stands for NaN."""
        calibration = self.calibration
        return {
            "weights": self.weights,
            "data": self.data,
            "images": self.images,
            "loss": self.loss,
            "top1": self.top1,
            "top5": self.top5,
            "calibration_error": calibration.error,
            "mean_confidence": calibration.mean_confidence,
            "classes": [
                {"label": label, "images": int(images), "accuracy": _plain(accuracy), "precision": _plain(precision)}
                for label, images, accuracy, precision in zip(
                    self.labels, self.support, self.class_accuracy, self.class_precision, strict=True
                )
            ],
            "calibration": [
                {"images": int(images), "confidence": _plain(confidence), "accuracy": _plain(accuracy)}
                for images, confidence, accuracy in zip(
                    calibration.counts, calibration.confidence, calibration.accuracy, strict=True
                )
            ],
            "confusion": self.confusion.tolist(),
        }

    def __str__(self) -> str:
        from .report import format_evaluation

        return format_evaluation(self)


class Metrics:
    """Collects what an :class:`Evaluation` needs.

    Parameters
    ----------
    num_classes : int

    Attributes
    ----------
    images : int
        Seen so far.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.images = 0
        self._loss = 0.0
        self._top = 0
        self._confusion = np.zeros((num_classes, num_classes), np.int64)
        self._confidence = np.zeros(BINS)  # sums over the images of each bin
        self._right = np.zeros(BINS, np.int64)
        self._counts = np.zeros(BINS, np.int64)

    def update(self, logits: Array, labels: ArrayLike) -> None:
        """Take one batch.

        Parameters
        ----------
        logits : (N, K)
        labels : (N,) integers from 0 to K - 1

        Raises
        ------
        ValueError
            If shapes do not fit, or a label is no class.
        """
        labels = np.asarray(labels)
        expected = (len(labels), self.num_classes)
        if labels.ndim != 1 or np.shape(logits) != expected:
            raise ValueError(f"expected logits {expected} and labels (N,), found {np.shape(logits)} and {labels.shape}")
        check_labels(labels, self.num_classes)
        if not len(labels):
            return
        rows = np.arange(len(labels))
        z = np.asarray(logits, np.float64)
        z = z - z.max(axis=1, keepdims=True)
        exponentials = np.exp(z)
        total = exponentials.sum(axis=1)
        predicted = z.argmax(axis=1)
        self._loss += float((np.log(total) - z[rows, labels]).sum())

        # In the order of predict, a class is before the right one if its logit is larger, or equal and it comes first.
        own = z[rows, labels][:, None]
        before = (z > own) | ((z == own) & (np.arange(self.num_classes) < labels[:, None]))
        finite = np.isfinite(total)  # of NaN nothing is larger, but no class is right either
        self._top += int((finite & (before.sum(axis=1) < TOP)).sum())
        predicted = np.where(finite, predicted, (labels + 1) % self.num_classes)
        np.add.at(self._confusion, (labels, predicted), 1)

        confidence = np.where(finite, 1 / total, 1.0)  # the largest exponential is 1
        bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self._counts += np.bincount(bins, minlength=BINS)
        self._right += np.bincount(bins[predicted == labels], minlength=BINS)
        self._confidence += np.bincount(bins, weights=confidence, minlength=BINS)
        self.images += len(labels)

    @property
    def loss(self) -> float:
        """Mean cross-entropy; NaN if the model gave numbers that are not finite, or without images."""
        return self._loss / self.images if self.images else float("nan")

    @property
    def top1(self) -> float:
        """Share of images whose best class is the right one."""
        return int(self._confusion.trace()) / self.images if self.images else float("nan")

    @property
    def top5(self) -> float | None:
        """Share of images whose right class is among the five best; None with 5 classes or less."""
        if self.num_classes <= TOP:
            return None
        return self._top / self.images if self.images else float("nan")

    def evaluation(self, labels: Sequence[str], data: str = "", weights: str = "") -> Evaluation:
        """Return the result so far; ``labels`` are the names of the classes.

        Raises
        ------
        ValueError
            If there was no image.
        """
        if not self.images:
            raise ValueError("there are no images to evaluate")
        confidence, accuracy = _ratio(self._confidence, self._counts), _ratio(self._right, self._counts)
        error = float(np.abs(self._confidence - self._right).sum() / self.images)
        calibration = Calibration(self._counts.copy(), confidence, accuracy, error)
        return Evaluation(
            tuple(labels), self.images, self.loss, self.top1, self.top5, self._confusion.copy(), calibration, data,
            weights,
        )  # fmt: skip


def check_labels(labels: NDArray[np.integer], num_classes: int, where: str = "") -> None:
    """Raise for labels that are no classes.

    Raises
    ------
    ValueError
        With the first of them.
    """
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{where}labels must be integers, found {labels.dtype}")
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if wrong.size:
        raise ValueError(
            f"{where}label {labels[wrong[0]]} of image {wrong[0]} is not one of the {num_classes} classes 0 to "
            f"{num_classes - 1} ({wrong.size} labels are not)"
        )


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole != 0)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

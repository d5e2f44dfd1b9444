"""Mix the images of a batch, and their labels in the same proportion: Mixup and CutMix."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..config_fields import check_integer, check_number
from .checks import check_not_negative

Array = NDArray[np.floating]


def mix(
    pixel_values: Array,
    labels: ArrayLike,
    num_classes: int,
    rng: np.random.Generator,
    mixup_alpha: float = 0.0,
    cutmix_alpha: float = 0.0,
    probability: float = 1.0,
) -> tuple[Array, NDArray[np.float32]]:
    """Mix every image with the one before it in the batch, by one draw for the whole batch.

    Mixup (Zhang et al. 2018, arXiv:1710.09412) adds ``λ`` of the image and ``1 - λ`` of the other; CutMix (Yun et al.
    2019, arXiv:1905.04899) puts a rectangle of the other, ``1 - λ`` of the area, into the image. ``λ`` is drawn from
    Beta(alpha, alpha). A rectangle that reaches over the edge is cut off, and ``λ`` becomes what is really left.

    Parameters
    ----------
    pixel_values : (N, C, H, W)
        Left as they are.
    labels : (N,) integers
        From 0 to ``num_classes - 1``.
    num_classes : int
    rng : numpy.random.Generator
    mixup_alpha, cutmix_alpha : float
        0 leaves the method out; of two that are positive, each is chosen half of the time.
    probability : float
        That the batch is mixed at all.

    Returns
    -------
    pixel_values : (N, C, H, W)
        A new array; where nothing was mixed, the same one.
    soft_labels : (N, num_classes) float32
        Rows that sum to 1.

    Raises
    ------
    ValueError
        If shapes do not fit together, a label is no class, or a number is out of range.
    """
    pixel_values = np.asarray(pixel_values)
    if pixel_values.ndim != 4 or not np.issubdtype(pixel_values.dtype, np.floating):
        raise ValueError(
            f"pixel_values must be floats (N, C, H, W), found {pixel_values.dtype} of shape {pixel_values.shape}"
        )
    soft = one_hot(labels, num_classes)
    if len(soft) != len(pixel_values):
        raise ValueError(f"expected one label for each of {len(pixel_values)} images, found {len(soft)}")
    mixup_alpha = check_not_negative("mixup_alpha", mixup_alpha)
    cutmix_alpha = check_not_negative("cutmix_alpha", cutmix_alpha)
    probability = check_number("probability", probability)
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must be in [0, 1], found {probability!r}")

    if rng.random() >= probability or not (mixup_alpha or cutmix_alpha):
        return pixel_values, soft
    cuts = cutmix_alpha > 0 and (not mixup_alpha or rng.random() < 0.5)
    alpha = cutmix_alpha if cuts else mixup_alpha
    kept = float(rng.beta(alpha, alpha))  # λ
    if cuts:
        height, width = pixel_values.shape[2:]
        top, bottom, left, right = _rectangle(height, width, kept, rng)
        mixed = pixel_values.copy()
        mixed[:, :, top:bottom, left:right] = np.roll(pixel_values[:, :, top:bottom, left:right], 1, axis=0)
        kept = 1 - (bottom - top) * (right - left) / (height * width)
    else:
        mixed = np.roll(pixel_values, 1, axis=0)
        mixed *= 1 - kept
        mixed += pixel_values * kept
    return mixed, np.float32(kept) * soft + np.float32(1 - kept) * np.roll(soft, 1, axis=0)


def one_hot(labels: ArrayLike, num_classes: int) -> NDArray[np.float32]:
    """Return a row for each label, with a 1 at its class and 0 elsewhere: (N,) -> (N, num_classes) float32."""
    num_classes = check_integer("num_classes", num_classes, 1)
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers (N,), found {labels.dtype} of shape {labels.shape}")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if wrong.size:
        raise ValueError(f"label {wrong[0]} is no class: with num_classes={num_classes} they end at {num_classes - 1}")
    rows = np.zeros((len(labels), num_classes), np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def _rectangle(height: int, width: int, kept: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw (top, bottom, left, right): ``1 - kept`` of the area around a random pixel, cut off at the edges."""
    half = math.sqrt(1 - kept) / 2  # of a side
    half_height, half_width = int(half * height), int(half * width)
    row, column = int(rng.integers(height)), int(rng.integers(width))
    return (
        max(row - half_height, 0), min(row + half_height, height),
        max(column - half_width, 0), min(column + half_width, width),
    )  # fmt: skip

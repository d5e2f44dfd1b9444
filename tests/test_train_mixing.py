"""Mixup and CutMix: what every pixel and every label is made of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from npresnet.train import mix

N, C, H, W, K = 6, 3, 9, 14, 4
LABELS = np.array([0, 1, 2, 3, 3, 1])


def batch(dtype: str = "float32") -> np.ndarray:
    """No two numbers alike, and all far from zero."""
    return np.random.default_rng(0).permutation(np.arange(1, N * C * H * W + 1)).reshape(N, C, H, W).astype(dtype)


def mixed(seed: int, x: np.ndarray | None = None, **arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    return mix(batch() if x is None else x, LABELS, K, np.random.default_rng(seed), **arguments)


def kept(soft: np.ndarray) -> float:
    """The part of each image that is its own, read from the first label, 0, whose other is of class 1."""
    return float(soft[0, 0])


def check_labels(soft: np.ndarray) -> None:
    """Each row is made of the image's class and of that of the image before it."""
    lam = kept(soft)
    expected = np.zeros((N, K))
    for row in range(N):
        expected[row, LABELS[row]] += lam
        expected[row, LABELS[row - 1]] += 1 - lam
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft, expected, atol=1e-6)
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mixup(dtype: str) -> None:
    x = batch(dtype)
    for seed in range(20):
        y, soft = mixed(seed, x, mixup_alpha=0.8)
        check_labels(soft)
        lam = kept(soft)
        assert y.dtype == dtype
        for row in range(N):
            np.testing.assert_allclose(y[row], lam * x[row] + (1 - lam) * x[row - 1], rtol=1e-4)
    assert np.array_equal(x, batch(dtype))  # as it was


def test_cutmix() -> None:
    x = batch()
    areas, touches = set(), {"edge": 0, "inside": 0}
    for seed in range(60):
        y, soft = mixed(seed, x, cutmix_alpha=1.0)
        check_labels(soft)
        own = (y == x).all(axis=(0, 1))  # (H, W): the same rectangle in all images and channels
        other = (y == np.roll(x, 1, axis=0)).all(axis=(0, 1))
        assert np.array_equal(own, ~other)
        rows, columns = np.flatnonzero(other.any(axis=1)), np.flatnonzero(other.any(axis=0))
        assert other.sum() == len(rows) * len(columns)
        if len(rows):
            assert other[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            inside = rows[0] > 0 and rows[-1] < H - 1 and columns[0] > 0 and columns[-1] < W - 1
            touches["inside" if inside else "edge"] += 1
        assert kept(soft) == pytest.approx(1 - other.sum() / (H * W), abs=1e-6)  # what is left, cut off at the edges
        areas.add(int(other.sum()))
    assert len(areas) > 20
    assert min(touches.values()) > 3
    assert np.array_equal(x, batch())


def test_the_rectangle_has_the_drawn_area_and_place() -> None:
    """Where nothing is cut off, its sides are sqrt(1 - λ) of the image's, rounded down to even numbers of pixels."""
    side = 64
    x = np.zeros((2, 1, side, side), np.float32)
    x[1] = 1
    centres = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        y, _ = mix(x, [0, 1], 2, np.random.default_rng(seed), cutmix_alpha=1.0)
        rng.random()  # whether to mix
        lam = rng.beta(1.0, 1.0)
        rows, columns = (np.flatnonzero(y[0, 0].any(axis=axis)) for axis in (1, 0))
        length = 2 * int(math.sqrt(1 - lam) / 2 * side)
        if not len(rows) or rows[0] == 0 or columns[0] == 0 or rows[-1] == side - 1 or columns[-1] == side - 1:
            assert len(rows) <= length
            continue
        assert len(rows) == len(columns) == length
        centres.append((rows.mean(), columns.mean()))
    assert len(centres) > 30
    assert np.std(centres, axis=0).min() > 5


def test_lambda_is_drawn_from_the_beta_distribution() -> None:
    """Mean 1/2 and variance 1 / (4 (2 alpha + 1)); 500 draws tell both to 5 percent."""
    x = np.ones((2, 1, 1, 1))
    rng = np.random.default_rng(0)
    for alpha in (0.2, 1.0, 5.0):
        lams = [mix(x, [0, 1], 2, rng, mixup_alpha=alpha)[1][0, 0] for _ in range(500)]
        assert np.mean(lams) == pytest.approx(0.5, abs=0.06)
        assert np.var(lams) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.2)


def test_both_take_turns_with_a_probability() -> None:
    x = batch()
    seen = {"nothing": 0, "mixup": 0, "cutmix": 0}
    for seed in range(400):
        y, soft = mixed(seed, x, mixup_alpha=1.0, cutmix_alpha=1.0, probability=0.6)
        if y is x:
            assert kept(soft) == 1.0
            seen["nothing"] += 1
        else:
            seen["cutmix" if np.isin(y, x).all() else "mixup"] += 1
    assert seen["nothing"] == pytest.approx(160, abs=40)
    assert seen["mixup"] == pytest.approx(120, abs=35)


def test_nothing_to_mix() -> None:
    x = batch()
    for arguments in ({}, {"mixup_alpha": 1.0, "probability": 0.0}):
        y, soft = mixed(0, x, **arguments)
        assert y is x
        assert soft.dtype == np.float32
        assert np.array_equal(soft, np.eye(K)[LABELS])


def test_the_same_seed_the_same_batch() -> None:
    arguments = {"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "probability": 0.8}
    results = {seed: [mixed(seed, **arguments) for _ in range(2)] for seed in range(5)}
    for (first, labels), (second, same) in results.values():
        assert np.array_equal(first, second)
        assert np.array_equal(labels, same)
    assert len({first.tobytes() for (first, _), _ in results.values()}) > 2


def test_one_image_is_mixed_with_itself() -> None:
    x = batch()[:1]
    for arguments in ({"mixup_alpha": 1.0}, {"cutmix_alpha": 1.0}):
        y, soft = mix(x, [2], K, np.random.default_rng(0), **arguments)
        np.testing.assert_allclose(y, x, rtol=1e-6)
        np.testing.assert_allclose(soft, np.eye(K)[[2]], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_values": np.zeros((6, 3, 4))}, r"pixel_values must be floats \(N, C, H, W\), found float64 of shape"),
        ({"pixel_values": np.zeros((6, 3, 4, 4), np.uint8)}, r"pixel_values must be floats .* found uint8 of shape"),
        ({"labels": np.zeros(6)}, r"labels must be integers \(N,\), found float64 of shape \(6,\)"),
        ({"labels": np.zeros((6, 4), int)}, r"labels must be integers \(N,\), found int64 of shape \(6, 4\)"),
        ({"labels": [0, 1]}, "expected one label for each of 6 images, found 2"),
        ({"labels": [0, 1, 2, 3, 4, 0]}, "label 4 is no class: with num_classes=4 they end at 3"),
        ({"labels": [0, 1, 2, 3, -100, 0]}, "label -100 is no class"),
        ({"num_classes": 0}, "num_classes must be an integer >= 1, found 0"),
        ({"mixup_alpha": -0.1}, "mixup_alpha must not be negative, found -0.1"),
        ({"cutmix_alpha": math.nan}, "cutmix_alpha must be a finite number, found nan"),
        ({"probability": 1.5}, r"probability must be in \[0, 1\], found 1.5"),
    ],
)
def test_wrong_arguments(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "pixel_values": batch(), "labels": LABELS, "num_classes": K, "rng": np.random.default_rng(0)
    } | changes  # fmt: skip
    with pytest.raises(ValueError, match=message):
        mix(**arguments)

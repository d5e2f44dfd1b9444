"""Setting images aside in proportion, and the statistics of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_data import noise

from npresnet.train.data import ArrayDataset, DatasetError, mean_and_std, split_dataset


def dataset(labels: list[int]) -> ArrayDataset:
    return ArrayDataset(noise(len(labels), 3, 3), labels, [str(n) for n in range(6)])


LABELS = [0] * 50 + [1] * 20 + [2] * 3 + [3] + [4] * 2


def test_every_class_is_divided_in_proportion() -> None:
    whole = dataset(list(np.random.default_rng(0).permutation(LABELS)))
    rest, held_out = split_dataset(whole, 0.2, seed=1)
    assert np.bincount(held_out.labels, minlength=6).tolist() == [10, 4, 1, 0, 1, 0]
    assert sorted([*rest.indices, *held_out.indices]) == list(range(len(LABELS)))
    for part in (rest, held_out):
        assert part.indices.tolist() == sorted(part.indices)
        assert part.class_names == whole.class_names
        np.testing.assert_array_equal(part.labels, whole.labels[part.indices])


def test_the_seed_and_nothing_else_decides() -> None:
    whole = dataset(LABELS)
    first, again, other = (split_dataset(whole, 0.3, seed)[1].indices.tolist() for seed in (1, 1, 2))
    assert first == again != other
    chosen = np.zeros(50)
    for seed in range(300):
        indices = split_dataset(whole, 0.2, seed)[1].indices
        chosen[indices[indices < 50]] += 1
    assert abs(chosen - 60).max() < 5 * np.sqrt(300 * 0.2 * 0.8)  # every image as often as the others


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1, 2])
def test_fractions(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction must lie between 0 and 1"):
        split_dataset(dataset(LABELS), fraction)


def test_both_parts_have_images() -> None:
    rest, held_out = split_dataset(dataset([0, 0]), 0.999)
    assert len(rest) == len(held_out) == 1
    with pytest.raises(DatasetError, match="no class has two images"):
        split_dataset(dataset([0, 1, 2]), 0.5)


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics(channels: int) -> None:
    images = noise(2500, 4, 5, channels) // np.array([2, 3, 1][:channels], np.uint8)
    mean, std = mean_and_std(ArrayDataset(images, np.zeros(2500, int)), channels)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-12)


def test_statistics_of_files_and_other_channels() -> None:
    images = noise(3, 4, 5, 1)

    class Files:
        name, labels, class_names = "files", np.zeros(3, np.int64), ("a",)

        def __len__(self) -> int:
            return 3

        def image(self, index: int) -> np.ndarray:
            return images[index, : index + 1]

    mean, std = mean_and_std(Files(), 3)
    pixels = np.concatenate([images[n, : n + 1].ravel() for n in range(3)]) / 255
    np.testing.assert_allclose(mean, [pixels.mean()] * 3, rtol=1e-12)
    np.testing.assert_allclose(std, [pixels.std()] * 3, rtol=1e-12)
